// Gathers checks and runs them. Each is a function that returns, or promises, whether something is so.

const checks = [];

export const check = (title, f) => checks.push([title, f]);

/** Many at once: each title is the source of what must be so. */
export function all(area, list) {
    list.forEach((f, at) => check(`${area} ${at + 1}: ${f.toString().replace(/\s+/g, " ").slice(0, 120)}`, f));
}

const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";

/** Whether two values are the same, and lists and objects the same all the way down, holes included. */
export function same(a, b) {
    if (Object.is(a, b)) return true;
    if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false;
    const keys = Reflect.ownKeys(a);
    if (keys.length !== Reflect.ownKeys(b).length) return false;
    return keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

/** Whether a call throws exactly this kind of error. */
export function throws(kind, f) {
    try {
        f();
    } catch (error) {
        return isObject(error) && error.constructor === kind;
    }
    return false;
}

/** Whether a promise is rejected, with just this where it is given. */
export const rejects = (promise, reason) =>
    Promise.resolve(promise).then(
        () => false,
        (found) => reason === undefined || same(found, reason) || (typeof reason === "function" && found instanceof reason),
    );

const isConstructor = (f) => {
    try {
        Reflect.construct(Object, [], f);
        return true;
    } catch {
        return false;
    }
};

const hasFlags = (descriptor, writable, enumerable, configurable) =>
    descriptor.writable === writable && descriptor.enumerable === enumerable && descriptor.configurable === configurable;

/** What holds of each function that the specification puts somewhere: `{name: length}`. */
export function functions(where, owner, lengths) {
    for (const key of Reflect.ownKeys(lengths)) {
        const name = typeof key === "symbol" ? `[${key.description}]` : key;
        const of = (what, f) => check(`${where}.${name} ${what}`, f);
        const descriptor = Object.getOwnPropertyDescriptor(owner, key);
        const f = descriptor?.value;
        const own = (property) => Object.getOwnPropertyDescriptor(f, property);
        of("is there", () => typeof f === "function");
        of("can be replaced and is not listed", () => hasFlags(descriptor, true, false, true));
        of("has its length", () => f.length === lengths[key] && hasFlags(own("length"), false, false, true));
        of("has its name", () => f.name === name && hasFlags(own("name"), false, false, true));
        of("is no constructor", () => !isConstructor(f) && !Object.hasOwn(f, "prototype") && throws(TypeError, () => new f()));
        of("is extensible and a plain function", () => Object.isExtensible(f) && Object.getPrototypeOf(f) === Function.prototype);
        of("has no other properties", () => same(Reflect.ownKeys(f).sort(), ["length", "name"]));
        of("is written as native", () => /^\s*function[^{]*\{\s*\[native code\]\s*\}\s*$/.test(Function.prototype.toString.call(f)));
    }
}

/** What holds of each getter without a setter. */
export function getters(where, owner, keys) {
    for (const key of keys) {
        const name = typeof key === "symbol" ? `[${key.description}]` : key;
        const descriptor = Object.getOwnPropertyDescriptor(owner, key);
        check(`${where}.${name} is a getter alone`, () => typeof descriptor.get === "function" && descriptor.set === undefined);
        check(`${where}.${name} is not listed`, () => !descriptor.enumerable && descriptor.configurable);
        check(`${where}.${name} has its name`, () => descriptor.get.name === `get ${name}` && descriptor.get.length === 0);
    }
}

/** Runs all checks one after the other. The JSON of `[title, what is wrong]`, which is nothing where it is so. */
export async function run() {
    const told = [];
    for (const [title, f] of checks) {
        let wrong = "";
        try {
            if ((await f()) !== true) wrong = "it is not so";
        } catch (error) {
            wrong = `it throws ${error}`;
        }
        told.push([title, wrong]);
    }
    return JSON.stringify(told);
}
