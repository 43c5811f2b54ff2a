// The core of the prelude: closes the sandbox, and makes the globals and the host's helpers. Runs before the spell, and
// keeps the built-ins that it needs out of the spell's reach. `host` holds the primitives that are written in Rust.
export default function (host) {
    const { apply, construct, defineProperty, deleteProperty } = Reflect;
    const { getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;
    const { create, freeze } = Object;
    const { imul } = Math;
    const { isArray } = Array;
    const { isOver, outOfMemory, poll, prelude } = host;
    const NativeDate = Date;
    const NativeError = Error;
    const NativeString = String;
    const NativeTypeError = TypeError;
    const NativeWeakRef = WeakRef;
    const global = globalThis;
    const internalError = InternalError.prototype;
    const nativeError = Error.prototype;
    const objectPrototype = Object.prototype;

    // Makes a method a function whose first argument is `this`. It works even after a script replaced the method.
    const unbound = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);
    const weakGet = unbound(WeakMap.prototype.get);
    const weakSet = unbound(WeakMap.prototype.set);
    const mapGet = unbound(Map.prototype.get);
    const mapSet = unbound(Map.prototype.set);
    const deref = unbound(WeakRef.prototype.deref);
    const toWellFormed = unbound(String.prototype.toWellFormed);

    function define(object, name, value, enumerable) {
        defineProperty(object, name, { __proto__: null, value, writable: true, configurable: true, enumerable });
        return object;
    }

    // Removes everything that makes code from text, shares memory between threads, or shows when garbage is collected.

    for (const name of ["eval", "SharedArrayBuffer", "Atomics", "WeakRef", "FinalizationRegistry"]) {
        deleteProperty(global, name);
    }

    function refuse() {
        throw new TypeError("a spell cannot make code from text");
    }
    const makers = [
        function () {},
        async function () {},
        function* () {},
        async function* () {},
    ];
    for (let i = 0; i < makers.length; i++) {
        const prototype = getPrototypeOf(makers[i]);
        const maker = function Function() {
            refuse();
        };
        defineProperty(maker, "prototype", { value: prototype });
        defineProperty(prototype, "constructor", { value: maker, writable: false, configurable: false });
        if (i === 0) {
            define(global, "Function", maker, false);
        }
    }
    deleteProperty(ArrayBuffer.prototype, "constructor");
    define(ArrayBuffer.prototype, "constructor", ArrayBuffer, false);

    // `Math.random`: predictable, and the same in each run (mulberry32). `crypto` has secure randomness.

    let state = 1;
    function draw() {
        state = (state + 0x6d2b79f5) | 0;
        let mixed = imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return (mixed ^ (mixed >>> 14)) >>> 0;
    }
    define(
        Math,
        "random",
        function random() {
            return ((draw() >>> 5) * 67108864 + (draw() >>> 6)) / 9007199254740992;
        },
        false,
    );

    // Natives that take long for long values. They poll the meter, as QuickJS interrupts once in ten thousand calls.

    const LONG = 1000;

    function watch(object, name, isLong) {
        const native = object[name];
        const watched = {
            [name](...values) {
                const result = apply(native, this, values);
                if (isLong(this, values)) {
                    poll();
                }
                return result;
            },
        }[name];
        defineProperty(watched, "length", { value: native.length });
        define(object, name, watched, false);
    }

    const isLongText = (value) => typeof value !== "string" || value.length > LONG;
    const isLongList = (value) => !isArray(value) || value.length > LONG;
    const isLongArgument = (_, values) => isLongText(values[0]);
    const always = () => true;

    watch(JSON, "parse", isLongArgument);
    watch(JSON, "stringify", always);
    for (const name of ["padEnd", "padStart", "repeat"]) {
        watch(String.prototype, name, (_, values) => !(values[0] < LONG));
    }
    const TEXT = ["indexOf", "includes", "lastIndexOf", "localeCompare", "normalize", "replace", "replaceAll", "split"];
    for (const name of [...TEXT, "toLowerCase", "toUpperCase", "toWellFormed", "concat", "match"]) {
        watch(String.prototype, name, isLongText);
    }
    const LIST = ["concat", "copyWithin", "fill", "flat", "includes", "indexOf", "join", "lastIndexOf", "reverse", "slice"];
    for (const name of [...LIST, "sort", "splice", "toReversed", "toSorted", "toSpliced", "toString", "unshift", "shift"]) {
        watch(Array.prototype, name, isLongList);
    }
    watch(Array, "from", (_, values) => isLongList(values[0]));
    watch(Object, "assign", always);
    for (const name of ["entries", "fromEntries", "keys", "values"]) {
        watch(Object, name, always);
    }

    // Stacks, in the engine's own format and without the prelude's frames. An error that the engine makes because
    // memory ran out trips the meter, so that no script can catch it.

    // Returns how many of the innermost calls are constructors of the error. The stack begins after them.
    function constructors(error, sites) {
        let count = 0;
        let prototype = getPrototypeOf(error);
        const names = { __proto__: null };
        while (prototype && prototype !== nativeError) {
            const maker = getOwnPropertyDescriptor(prototype, "constructor");
            const name = maker && typeof maker.value === "function" && getOwnPropertyDescriptor(maker.value, "name");
            if (name && typeof name.value === "string") {
                names[name.value] = true;
            }
            prototype = getPrototypeOf(prototype);
        }
        while (count < sites.length && names[sites[count].getFunctionName()]) {
            count++;
        }
        return count;
    }

    // Keeps the hidden class of an InternalError alive, so that the engine can make one when memory has run out.
    const spare = create(internalError);

    let skew = 0;
    let isHosts = false;

    function trace(error, sites) {
        const native = !isHosts && getPrototypeOf(error) === internalError ? error.message : "";
        if (native === "out of memory") {
            outOfMemory();
        }
        // The interrupt cannot end a script here. If a script catches errors in a loop, every interrupt may fall here,
        // in step with the loop. A pseudo-random number of extra steps breaks that rhythm.
        if (native !== "interrupted" && !isHosts && isOver()) {
            skew = (imul(skew, 1103515245) + 12345) | 0;
            // A call is one step, an iteration of a loop is two.
            if (skew & 0x10000) {
                isOver();
            }
            for (let i = (skew >>> 17) & 1; i > 0; i--);
            return "";
        }
        let text = "";
        for (let i = constructors(error, sites); i < sites.length; i++) {
            const site = sites[i];
            const file = site.getFileName();
            if (file === prelude || file === "<input>") {
                continue;
            }
            const where = site.isNative() ? "native" : `${file}:${site.getLineNumber()}:${site.getColumnNumber()}`;
            text += `    at ${site.getFunctionName() || "<anonymous>"} (${where})\n`;
        }
        return text;
    }
    NativeError.prepareStackTrace = trace;
    deleteProperty(NativeError, "prepareStackTrace");

    // Host errors.

    class SpellError extends NativeError {
        constructor(message, options) {
            super(message, options);
            define(this, "kind", "runtime", true);
            define(this, "retryable", false, true);
        }
    }
    define(SpellError.prototype, "name", "SpellError", false);
    define(global, "SpellError", SpellError, false);

    const seals = new WeakMap();
    const things = new Map();

    const FIELDS = [
        "kind",
        "retryable",
        "hint",
        "provider",
        "status",
        "requestId",
        "attempts",
        "retryAfter",
        "body",
        "partial",
        "usage",
        "path",
        "expected",
        "got",
        "raw",
    ];

    function failure(fields, stack, seal) {
        const error = construct(SpellError, [fields.message]);
        for (let i = 0; i < FIELDS.length; i++) {
            const value = fields[FIELDS[i]];
            if (value !== undefined && value !== null) {
                define(error, FIELDS[i], value, true);
            }
        }
        if (stack !== undefined && stack !== null) {
            define(error, "stack", stack, false);
        }
        weakSet(seals, error, seal);
        return error;
    }

    // Host objects. A script gets the same object for a host object as long as it holds it.

    const ENTRIES = {
        get(target, name) {
            if (typeof name === "string" && !(name in target.thing)) {
                return target.entries[toLowerCase(name)];
            }
            return target.thing[name];
        },
        has(target, name) {
            return name in target.thing || (typeof name === "string" && toLowerCase(name) in target.entries);
        },
        ownKeys(target) {
            return ownKeys(target.entries);
        },
        getOwnPropertyDescriptor(target, name) {
            const found = getOwnPropertyDescriptor(target.entries, name);
            return found && { __proto__: null, value: found.value, enumerable: true, configurable: true };
        },
        getPrototypeOf(target) {
            return getPrototypeOf(target.thing);
        },
        set: () => false,
        defineProperty: () => false,
        deleteProperty: () => false,
        setPrototypeOf: () => false,
        preventExtensions: () => false,
        __proto__: null,
    };
    const toLowerCase = unbound(String.prototype.toLowerCase);
    const NativeProxy = Proxy;

    function thing(address, prototype, seal, entries) {
        const known = mapGet(things, address);
        const held = known && deref(known);
        if (held) {
            return held;
        }
        let made = freeze(create(prototype));
        if (entries) {
            define(entries, "__proto__", undefined, false);
            deleteProperty(entries, "__proto__");
            made = new NativeProxy({ __proto__: null, thing: made, entries }, ENTRIES);
        }
        weakSet(seals, made, seal);
        mapSet(things, address, new NativeWeakRef(made));
        return made;
    }

    // Makes the `Symbol.asyncIterator` method of a host class. Each loop continues where the last one ended. QuickJS
    // calls `return` even when the items ended by themselves or with an error, and `stop` must not run then.
    function iterate(next, stop) {
        return function () {
            const items = this;
            let ended = false;
            return {
                async next() {
                    try {
                        const value = await apply(next, items, []);
                        ended = value === undefined;
                        return { done: ended, value };
                    } catch (error) {
                        ended = true;
                        throw error;
                    }
                },
                async return(value) {
                    if (stop && !ended) {
                        apply(stop, items, []);
                    }
                    return { done: true, value };
                },
            };
        };
    }

    // Recognises built-in classes by a method or getter that throws on any other object.
    const KINDS = [
        ["Map", unbound(getOwnPropertyDescriptor(Map.prototype, "size").get)],
        ["Set", unbound(getOwnPropertyDescriptor(Set.prototype, "size").get)],
        ["Date", unbound(Date.prototype.getTime)],
        ["typed array", unbound(getOwnPropertyDescriptor(getPrototypeOf(Uint8Array.prototype), "buffer").get)],
        ["DataView", unbound(getOwnPropertyDescriptor(DataView.prototype, "buffer").get)],
        ["WeakMap", (value) => unbound(WeakMap.prototype.has)(value, objectPrototype)],
        ["WeakSet", (value) => unbound(WeakSet.prototype.has)(value, objectPrototype)],
        ["RegExp", (value) => getPrototypeOf(value) !== RegExp.prototype && refuse()],
    ];

    function kind(value) {
        for (let i = 0; i < KINDS.length; i++) {
            try {
                KINDS[i][1](value);
                return KINDS[i][0];
            } catch {
                // Not an object of this class.
            }
        }
        return undefined;
    }

    function describe(value) {
        try {
            return typeof value === "symbol" ? "a symbol" : NativeString(value);
        } catch {
            return "[object Object]";
        }
    }

    function harden(value) {
        if (typeof value === "function") {
            // Its own properties are only `name` and `length`, which need no hardening.
            freeze(value);
        } else if (typeof value === "object" && value !== null) {
            freeze(value);
            const keys = ownKeys(value);
            for (let i = 0; i < keys.length; i++) {
                harden(getOwnPropertyDescriptor(value, keys[i]).value);
            }
        }
        return value;
    }

    // The number of bytes that are converted at once. It is limited by the number of arguments of a call.
    const SOME = 8192;
    const { fromCharCode } = String;
    const NativeBytes = Uint8Array;
    const { isView } = ArrayBuffer;
    const lengthOf = unbound(getOwnPropertyDescriptor(getPrototypeOf(NativeBytes.prototype), "length").get);

    function letters(array) {
        const bytes = isView(array) ? array : new NativeBytes(array);
        const length = lengthOf(bytes);
        let text = "";
        for (let at = 0; at < length; at += SOME) {
            const count = length - at < SOME ? length - at : SOME;
            const some = new NativeBytes(count);
            for (let i = 0; i < count; i++) {
                some[i] = bytes[at + i];
            }
            define(some, "length", count, false);
            text += apply(fromCharCode, undefined, some);
        }
        return text;
    }

    function halt() {
        for (;;);
    }

    function here() {
        isHosts = true;
        const { stack } = new NativeError();
        isHosts = false;
        return stack;
    }

    // Bridges. Each is created when a script first reads it.

    function announce(name) {
        let made;
        const get = () => (made ??= host.bridge(name));
        const set = () => {
            throw new NativeTypeError(`'${name}' is read-only`);
        };
        defineProperty(global, name, { __proto__: null, get, set, enumerable: true, configurable: false });
    }

    // The pieces with their globals. A piece runs when a global of it is first read. Bridges of that name add members.

    const PIECES = {
        __proto__: null,
        console: ["console"],
        date: ["Date"],
        net: ["Headers", "Response", "URL", "URLSearchParams", "fetch"],
        web: [
            "AbortController",
            "AbortSignal",
            "TextDecoder",
            "TextEncoder",
            "atob",
            "btoa",
            "clearInterval",
            "clearTimeout",
            "crypto",
            "promise",
            "setInterval",
            "setTimeout",
            "structuredClone",
        ],
    };
    const bytesOf = (data) =>
        data instanceof ArrayBuffer
            ? new Uint8Array(data)
            : isView(data)
              ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
              : data;

    const named = (name, message) => {
        const error = new Error(message);
        define(error, "name", name, false);
        return error;
    };

    // The unchanged built-ins for the pieces. The script may have changed all others before a piece runs.
    const natives = {
        Error: NativeError,
        Map,
        Promise,
        RegExp,
        Set,
        apply,
        construct,
        defineProperty,
        freeze,
        getOwnPropertyDescriptor,
        getPrototypeOf,
        is: Object.is,
        isArray,
        isView,
        ownKeys,
        stringify: JSON.stringify,
        toPrimitive: Symbol.toPrimitive,
        TypedArray: getPrototypeOf(NativeBytes),
    };
    const kit = { bring, bytesOf, define, harden, host, named, natives, NativeDate, SpellError, unbound };
    const brought = create(null);

    function bring(piece) {
        if (brought[piece]) {
            return brought[piece];
        }
        const made = host.load(piece)(kit);
        brought[piece] = made;
        const names = PIECES[piece];
        for (let i = 0; i < names.length; i++) {
            const name = names[i];
            const value = made[name];
            const members = host.bridge(name);
            if (members) {
                const keys = ownKeys(members);
                for (let k = 0; k < keys.length; k++) {
                    if (!(keys[k] in value)) {
                        define(value, keys[k], members[keys[k]], true);
                    }
                }
            }
            const descriptor = getOwnPropertyDescriptor(global, name);
            if (descriptor && descriptor.get && weakGet(lazy, descriptor.get)) {
                define(global, name, value, false);
            }
        }
        return made;
    }

    const lazy = new WeakMap();
    for (const piece of ["console", "date", "net", "web"]) {
        for (const name of PIECES[piece]) {
            const get = () => bring(piece)[name];
            weakSet(lazy, get, true);
            const set = (value) => define(global, name, value, false);
            defineProperty(global, name, { get, set, configurable: true, enumerable: false });
        }
    }

    return {
        announce,
        describe,
        failure,
        halt,
        harden,
        here,
        iterate,
        kind,
        letters,
        objectPrototype,
        spare,
        sealOf: (value) => weakGet(seals, value),
        thing,
        wellFormed: toWellFormed,
    };
}
