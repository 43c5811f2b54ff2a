// Runs before each generated script. `fuzz.made` counts a call, `fuzz.internal` reports an error that is a bug.

// The host objects that calls have returned, by class.
const pool = new Map();
// Calls that nobody has waited for so far.
const pending = [];

function report(name, failure) {
    try {
        if (failure.kind === "internal") {
            fuzz.internal(name, `${failure.message}`);
        }
    } catch {
        // What was thrown is a hostile value.
    }
}

// Makes one call. `cls` is the class of the object it returns, if any.
async function call(name, cls, f) {
    fuzz.made(name);
    try {
        const value = await f();
        if (cls && typeof value === "object") {
            pool.set(cls, [...(pool.get(cls) ?? []), value]);
        }
    } catch (failure) {
        report(name, failure);
    }
}

function object(cls, number) {
    const found = pool.get(cls);
    return found && found[number % found.length];
}

function nested(depth, value) {
    for (let i = 0; i < depth; i++) {
        value = [value];
    }
    return value;
}

function lying(length, value) {
    return new Proxy([value], { get: (target, name) => (name === "length" ? length : target[name]) });
}

function thrower(value) {
    throw value;
}

function own(value, names) {
    return Object.fromEntries(names.map((name) => [name, value]));
}

function array(change) {
    const made = [];
    change(made);
    return made;
}

// An array of billions of holes. It is no text and no items to natives, which walk through all of them and cannot be
// interrupted: what counts here is how it crosses to the host.
function sparse(change) {
    const own = (value) => ({ value, configurable: true });
    const hidden = { join: own(() => "sparse"), toString: own(() => "sparse"), [Symbol.iterator]: own(undefined) };
    return Object.defineProperties(array(change), hidden);
}

function revoked(target) {
    const { proxy, revoke } = Proxy.revocable(target, {});
    revoke();
    return proxy;
}

function detached(made) {
    made.buffer.transfer();
    return made;
}

// A getter that answers differently each time.
function fickle(...answers) {
    let calls = 0;
    return { configurable: true, enumerable: true, get: () => answers[calls++ % answers.length] };
}

class Sub extends Array {}
class Lying extends Array {
    get length() {
        return 2 ** 31;
    }
}
class Plain {
    #hidden = 1;
    field = 1;
    get got() {
        return this.#hidden;
    }
}

// Values that are not what they seem. Each function takes a value to hide in one.
const values = [
    // Lengths.
    (v) => sparse((a) => ((a[0] = v), (a.length = 2 ** 31))),
    (v) => sparse((a) => ((a[0] = v), (a.length = 2 ** 32 - 1))),
    (v) => sparse((a) => (a[2 ** 32 - 2] = v)),
    (v) => array((a) => (a[200000] = v)),
    (v) => [, v, , v],
    (v) => lying(2 ** 31, v),
    (v) => lying(2 ** 53, v),
    (v) => lying(200000, v),
    (v) => lying(-1, v),
    (v) => lying(1.5, v),
    (v) => lying(NaN, v),
    (v) => lying(Infinity, v),
    (v) => lying("3", v),
    (v) => lying(3n, v),
    (v) => lying({ valueOf: () => 3 }, v),
    (v) => lying(Symbol("3"), v),
    (v) => lying(undefined, v),
    (v) => Sub.of(v, v),
    (v) => Lying.of(v),
    (v) => Object.setPrototypeOf([v], null),
    (v) => Object.setPrototypeOf([v], { get length() { return thrower(v); } }),
    (v) => ({ length: 2 ** 31, 0: v }),
    (v) => ({ byteLength: 2 ** 31, byteOffset: -1, buffer: v, length: 2 ** 31 }),
    (v) => Object.defineProperties({ set() {} }, { byteLength: fickle(1, 1e15), length: fickle(1, v) }),
    (v) => Object.defineProperty([1, v, v], 0, { enumerable: true, get() { this.length = 0; return v; } }),
    (v) => Object.defineProperty([1, v], 0, { enumerable: true, get() { this.push(v); return v; } }),
    // Proxies.
    () => revoked({}),
    () => revoked([]),
    () => revoked(() => 1),
    (v) => new Proxy([], { get: () => thrower(v) }),
    (v) => new Proxy({}, { get: () => thrower(v), ownKeys: () => thrower(v) }),
    (v) => new Proxy({}, { ownKeys: () => ["a", "b"], getOwnPropertyDescriptor: () => ({ value: v, enumerable: true, configurable: true }) }),
    (v) => new Proxy({ a: v }, { getOwnPropertyDescriptor: () => undefined }),
    (v) => new Proxy({ a: v }, { getPrototypeOf: () => thrower(v) }),
    (v) => new Proxy(() => v, {}),
    (v) => new Proxy(() => v, { apply: () => thrower(v) }),
    (v) => new Proxy(new Uint8Array(4), { get: () => v }),
    (v) => new Proxy(new Map([[v, v]]), {}),
    () => {
        const endless = () => new Proxy({ a: 1 }, { get: endless });
        return endless();
    },
    // Getters.
    (v) => Object.defineProperty({}, "a", { enumerable: true, get: () => thrower(v) }),
    (v) => Object.defineProperties({}, { name: fickle("a", v), url: fickle("b", v), role: fickle("user", v), length: fickle(1, v) }),
    (v) => ({ get a() { return json.encode([v]); } }),
    (v) => ({ get a() { delete this.b; return v; }, b: v, get c() { this.d = v; return v; } }),
    (v) => ({ get then() { return thrower(v); } }),
    (v) => ({ then: (resolve) => resolve(v) }),
    (v) => ({ then: v }),
    (v) => ({ toJSON: () => v }),
    (v) => ({ toString: () => thrower(v), valueOf: () => thrower(v) }),
    (v) => ({ [Symbol.toPrimitive]: () => v, [Symbol.iterator]: () => thrower(v), [Symbol()]: v }),
    // Names.
    (v) => own(v, ["__proto__", "constructor", "toString", "hasOwnProperty", "__index", "$ref"]),
    (v) => JSON.parse(`{"__proto__": 1, "then": 2}`, (_, item) => item ?? v),
    (v) => own(v, ["max_tokens", "maxTokens", "name", "Name", ""]),
    (v) => ({ "\ud800": v, "\0": v }),
    (v) => Object.create(null, { a: { value: v, enumerable: true } }),
    (v) => Object.create({ a: v }),
    () => Object.assign(new Plain(), { extra: 1 }),
    (v) => Object.freeze([Object.freeze({ v })]),
    // Shapes.
    (v) => array((a) => a.push(v, a)),
    (v) => {
        const o = { v };
        o.self = { o };
        return o;
    },
    (v) => nested(126, v),
    (v) => nested(127, v),
    (v) => nested(128, v),
    (v) => nested(5000, v),
    (v) => {
        let t = [v];
        for (let i = 0; i < 10; i++) {
            t = [t, t];
        }
        return t;
    },
    (v) => new Array(5000).fill(v),
    // Typed arrays.
    () => new Uint8Array(0),
    () => new Uint8Array(70000),
    () => new Uint8Array([97, 255, 98]),
    () => detached(new Uint8Array(8)),
    () => detached(new Float64Array(8)),
    () => {
        const buffer = new ArrayBuffer(8, { maxByteLength: 16 });
        const view = new Uint8Array(buffer, 4);
        buffer.resize(2);
        return view;
    },
    () => new ArrayBuffer(8).transfer(0),
    () => new DataView(new ArrayBuffer(8), 2),
    () => new BigInt64Array(2),
    () => new (class extends Uint8Array {})(3),
    (v) => Object.defineProperty(new Uint8Array(3), "length", { value: v }),
    (v) => Object.defineProperties(new Uint8Array(3), { buffer: { value: v }, byteLength: { value: 2 ** 31 } }),
    () => Object.setPrototypeOf(new Uint8Array(3), null),
    // Boxed and built-in.
    () => new String("boxed"),
    () => new Number(1),
    () => new Boolean(false),
    () => Object(1n),
    () => Object(Symbol()),
    () => Symbol("s"),
    () => new Date(NaN),
    () => new Date(8.64e15),
    (v) => new Map([[v, v]]),
    (v) => new Set([v]),
    () => new WeakMap(),
    () => /a+/g,
    (v) => Object.assign(new Error("e", { cause: v }), { kind: v, stack: v }),
    (v) => Object.assign(new SpellError("s"), { kind: "limit.cpu", message: v }),
    () => globalThis,
    () => Math,
    () => json,
    () => {
        for (const [cls] of pool) {
            return object(cls, 0);
        }
    },
    (v) => {
        for (const [cls] of pool) {
            return Object.create(object(cls, 0), { name: { value: v } });
        }
    },
    // Things of the web, of hostile parts.
    (v) => new TextDecoder().decode(v),
    (v) => new TextDecoder().decode(new Uint8Array([0xe2, 0x82]), { stream: v }),
    (v) => new TextEncoder().encodeInto(v, { length: 2 ** 31, set() {} }),
    (v) => Object.assign(new URL("http://a.example/b?c#d"), own(v, ["host", "port", "protocol", "search", "hash"])),
    (v) => new URL("http://a.example/b").searchParams.append(v, v),
    (v) => AbortSignal.any([AbortSignal.abort(v)]),
    // Functions and promises.
    (v) => () => v,
    (v) => () => thrower(v),
    (v) => async () => v,
    (v) => async () => thrower(v),
    (v) => () => ({ then: (resolve) => resolve(v) }),
    (v) => promise.delay(0.001, v),
    (v) => () => promise.delay(0.001, v),
    (v) => (...given) => json.encode([v, ...given]),
    (v) => function* () { yield v; },
    () => class {},
    () => fs.read,
    () => storage.update.bind(null),
    (v) => Promise.resolve(v),
    (v) => {
        const rejected = Promise.reject(v);
        rejected.catch(() => {});
        return rejected;
    },
    () => new Promise(() => {}),
    // Texts.
    () => "",
    () => "\0",
    () => "\ud800",
    () => "a\udfffb",
    () => "\u202e\u{1f600}\u0301",
    () => "a\r\nb: c",
    () => "x".repeat(1000000),
    () => "\u{1f600}".repeat(1000),
    () => "(".repeat(5000),
    () => "[".repeat(5000),
    () => "{".repeat(5000),
    () => "{{".repeat(1000),
    () => "<b>".repeat(2000),
    () => "-".repeat(3000),
    () => "../".repeat(100),
    () => "a/".repeat(2000),
    () => "**/{a,b}*[",
    () => "{{ x|indent(1000000000) }}{% for a in range(1000000000) %}{% endfor %}",
    () => "%Y%%%999999999d%Z%Q%:::z%N%3f",
    () => "9999-12-31T23:59:59.999999999+25:59",
    () => "http://[::1]:99999/%ff?#",
    // Numbers.
    () => NaN,
    () => Infinity,
    () => -Infinity,
    () => -0,
    () => 0.1,
    () => -1,
    () => 2 ** 16,
    () => 2 ** 31,
    () => 2 ** 32,
    () => 2 ** 53,
    () => 2 ** 53 + 2,
    () => 2 ** 63,
    () => 2 ** 64,
    () => -(2 ** 63),
    () => 1e308,
    () => 5e-324,
    () => 2n ** 63n - 1n,
    () => 2n ** 63n,
    () => -(2n ** 63n),
    () => 10n ** 1000n,
    () => null,
    () => undefined,
    () => false,
];

function hostile(number, value) {
    return values[number % values.length](value);
}

