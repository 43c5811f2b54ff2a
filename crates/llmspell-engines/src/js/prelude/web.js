// The parts of the web platform that scripts expect, on top of the host's primitives, and `promise`.
export default function ({ bytesOf, define, host, named, natives, SpellError }) {
    const { apply, freeze, getPrototypeOf, isView, ownKeys } = natives;
    const { sleep } = host;

    // Timers.

    const timers = new natives.Map();
    let lastTimer = 0;

    function start(repeats, f, milliseconds, values) {
        if (typeof f !== "function") {
            throw new TypeError("a timer runs a function, and no text");
        }
        const id = ++lastTimer;
        const time = Math.max(0, Number(milliseconds) || 0) / 1000;
        const wait = () => {
            const [done, cancel] = host.withCancel(() => sleep(time));
            timers.set(id, cancel);
            done.then(() => {
                if (repeats) {
                    wait();
                } else {
                    timers.delete(id);
                }
                apply(f, undefined, values);
            });
        };
        wait();
        return id;
    }

    function clear(id) {
        const cancel = timers.get(id);
        timers.delete(id);
        if (cancel) {
            cancel();
        }
    }

    const setTimeout = (f, milliseconds, ...values) => start(false, f, milliseconds, values);
    const setInterval = (f, milliseconds, ...values) => start(true, f, milliseconds, values);
    const clearTimeout = (id) => clear(id);
    const clearInterval = (id) => clear(id);

    // AbortController and AbortSignal.

    class AbortSignal {
        #reason;
        #aborted = false;
        #listeners = new Set();
        onabort = null;

        get aborted() {
            return this.#aborted;
        }

        get reason() {
            return this.#reason;
        }

        throwIfAborted() {
            if (this.#aborted) {
                throw this.#reason;
            }
        }

        addEventListener(type, listener) {
            if (type === "abort") {
                this.#listeners.add(listener);
            }
        }

        removeEventListener(type, listener) {
            if (type === "abort") {
                this.#listeners.delete(listener);
            }
        }

        static abort(reason) {
            const controller = new AbortController();
            controller.abort(reason);
            return controller.signal;
        }

        static timeout(milliseconds) {
            const controller = new AbortController();
            setTimeout(() => controller.abort(named("TimeoutError", "the signal timed out")), milliseconds);
            return controller.signal;
        }

        static any(signals) {
            const controller = new AbortController();
            for (const signal of signals) {
                if (signal.aborted) {
                    controller.abort(signal.reason);
                }
                signal.addEventListener("abort", () => controller.abort(signal.reason));
            }
            return controller.signal;
        }

        static trip(signal, reason) {
            if (signal.#aborted) {
                return;
            }
            signal.#aborted = true;
            signal.#reason = reason === undefined ? named("AbortError", "this was aborted") : reason;
            const event = { type: "abort", target: signal };
            if (typeof signal.onabort === "function") {
                signal.onabort(event);
            }
            for (const listener of signal.#listeners) {
                listener(event);
            }
            signal.#listeners.clear();
        }
    }

    const { trip } = AbortSignal;
    delete AbortSignal.trip;

    class AbortController {
        signal = new AbortSignal();

        abort(reason) {
            trip(this.signal, reason);
        }
    }

    // Text encoding and base64.

    class TextEncoder {
        encoding = "utf-8";

        encode(text = "") {
            return host.encodeText(`${text}`);
        }

        encodeInto(text, target) {
            const bytes = host.encodeText(`${text}`);
            let written = Math.min(bytes.length, target.length);
            while (written > 0 && written < bytes.length && (bytes[written] & 0xc0) === 0x80) {
                written--;
            }
            target.set(bytes.subarray(0, written));
            return { read: new TextDecoder().decode(bytes.subarray(0, written)).length, written };
        }
    }

    class TextDecoder {
        encoding = "utf-8";
        #left = new Uint8Array();

        constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
            if (!/^\s*(?:utf-?8|unicode-1-1-utf-8)\s*$/i.test(label)) {
                throw new RangeError(`the encoding ${label} is not known; there is utf-8`);
            }
            this.fatal = fatal;
            this.ignoreBOM = ignoreBOM;
        }

        decode(data = new Uint8Array(), { stream = false } = {}) {
            const more = bytesOf(data);
            const bytes = new Uint8Array(this.#left.length + more.length);
            bytes.set(this.#left);
            bytes.set(more, this.#left.length);
            const [text, used] = host.decodeText(bytes, stream);
            this.#left = bytes.slice(used);
            if (this.fatal && text.includes("\ufffd") && !host.isText(bytes.subarray(0, used))) {
                throw new TypeError("the bytes are no utf-8 text");
            }
            return !this.ignoreBOM && text[0] === "\ufeff" ? text.slice(1) : text;
        }
    }

    function btoa(text) {
        const written = `${text}`;
        if (/[^\0-\xff]/.test(written)) {
            throw named("InvalidCharacterError", "a letter past U+00FF is no byte");
        }
        return host.toBase64(written);
    }

    function atob(text) {
        const decoded = host.fromBase64(`${text}`.replace(/[\t\n\f\r ]/g, ""));
        if (decoded === undefined) {
            throw named("InvalidCharacterError", "the text is no base64");
        }
        return decoded;
    }

    // structuredClone.

    function copy(value, seen) {
        if (typeof value === "function" || typeof value === "symbol") {
            throw named("DataCloneError", `a ${typeof value} cannot be copied`);
        }
        if (typeof value !== "object" || value === null) {
            return value;
        }
        if (seen.has(value)) {
            return seen.get(value);
        }
        const keep = (made) => {
            seen.set(value, made);
            return made;
        };
        if (value instanceof Date) {
            return keep(new Date(value.getTime()));
        }
        if (value instanceof RegExp) {
            return keep(new RegExp(value.source, value.flags));
        }
        if (value instanceof ArrayBuffer) {
            return keep(value.slice(0));
        }
        if (isView(value)) {
            const buffer = copy(value.buffer, seen);
            return keep(new value.constructor(buffer, value.byteOffset, value.length));
        }
        if (value instanceof Map) {
            const made = keep(new Map());
            for (const [key, item] of value) {
                made.set(copy(key, seen), copy(item, seen));
            }
            return made;
        }
        if (value instanceof Set) {
            const made = keep(new Set());
            for (const item of value) {
                made.add(copy(item, seen));
            }
            return made;
        }
        if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) {
            throw named("DataCloneError", "what is copied holds what cannot be");
        }
        const isError = value instanceof Error;
        const made = keep(isError ? Object.create(getPrototypeOf(value)) : Array.isArray(value) ? [] : {});
        for (const key of isError ? ["name", "message", "stack", "cause"] : ownKeys(value)) {
            if (typeof key === "string" && (isError ? key in value : Object.prototype.propertyIsEnumerable.call(value, key))) {
                define(made, key, copy(value[key], seen), !isError);
            }
        }
        if (Array.isArray(value)) {
            made.length = value.length;
        }
        return made;
    }

    const structuredClone = (value) => copy(value, new Map());

    // Cryptographically secure randomness.

    const crypto = {
        getRandomValues(array) {
            if (array.byteLength > 65536) {
                throw named("QuotaExceededError", "at most 65536 bytes are filled at once");
            }
            bytesOf(array).set(host.randomBytes(array.byteLength));
            return array;
        },
        randomUUID() {
            const bytes = host.randomBytes(16);
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
            return digits.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
        },
    };

    // `promise`: helpers for concurrency, with the names of Luau's.

    const promise = {
        spawn: (f, ...values) => new Promise((resolve) => resolve(f(...values))),
        delay: (seconds, value) => new Promise((resolve) => setTimeout(resolve, seconds * 1000, value)),
        async map(list, f, { concurrency = Infinity } = {}) {
            const isWhole = concurrency === Infinity || concurrency % 1 === 0;
            if (typeof concurrency !== "number" || !isWhole || concurrency < 1) {
                throw new TypeError("promise.map: `concurrency` is a whole number from 1");
            }
            const items = [...list];
            const results = new Array(items.length);
            let next = 0;
            let failed = false;
            const work = async () => {
                while (next < items.length && !failed) {
                    const at = next++;
                    try {
                        results[at] = await f(items[at], at);
                    } catch (error) {
                        failed = true;
                        throw error;
                    }
                }
            };
            await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, work));
            return results;
        },
        timeout(waited, seconds) {
            return new Promise((resolve, reject) => {
                const late = () => {
                    const error = new SpellError(`nothing came of it in ${seconds} seconds`);
                    reject(define(error, "kind", "timeout", true));
                };
                const timer = setTimeout(late, seconds * 1000);
                Promise.resolve(waited)
                    .then(resolve, reject)
                    .finally(() => clearTimeout(timer));
            });
        },
        async retry(f, { attempts = 3, delay = 1, factor = 2 } = {}) {
            for (let attempt = 1, wait = delay; ; attempt++, wait *= factor) {
                try {
                    return await f(attempt);
                } catch (error) {
                    if (attempt >= attempts) {
                        throw error;
                    }
                    await promise.delay(wait);
                }
            }
        },
    };
    freeze(promise);

    return {
        AbortController,
        AbortSignal,
        TextDecoder,
        TextEncoder,
        atob,
        btoa,
        clearInterval,
        clearTimeout,
        crypto,
        promise,
        setInterval,
        setTimeout,
        structuredClone,
    };
}
