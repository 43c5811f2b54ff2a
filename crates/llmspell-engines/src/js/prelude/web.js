// What a script expects of every place where JavaScript runs, made of what the host has.
(function ({ define, host, SpellError }) {
    const { apply, ownKeys, getPrototypeOf } = Reflect;
    const { sleep } = host;
    const { isView } = ArrayBuffer;
    const global = globalThis;

    const named = (name, message) => {
        const error = new Error(message);
        define(error, "name", name, false);
        return error;
    };

    // Timers.

    const timers = new Map();
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

    // Stopping what is under way.

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

    // Texts and bytes.

    const bytesOf = (data) =>
        data instanceof ArrayBuffer
            ? new Uint8Array(data)
            : isView(data)
              ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
              : data;

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

    // Addresses.

    const PAIR = (text) => encodeURIComponent(text).replace(/%20/g, "+").replace(/[!'()~]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);
    const UNPAIR = (text) => {
        const plain = text.replace(/\+/g, " ");
        try {
            return decodeURIComponent(plain);
        } catch {
            return plain;
        }
    };

    class URLSearchParams {
        #pairs = [];
        #changed = () => {};

        constructor(given = "") {
            if (typeof given === "object" && given !== null) {
                const pairs = Symbol.iterator in given ? [...given] : Object.entries(given);
                this.#pairs = pairs.map(([name, value]) => [`${name}`, `${value}`]);
            } else {
                this.#read(`${given}`);
            }
        }

        #read(text) {
            this.#pairs = text
                .replace(/^\?/, "")
                .split("&")
                .filter((pair) => pair !== "")
                .map((pair) => {
                    const [name, ...rest] = pair.split("=");
                    return [UNPAIR(name), UNPAIR(rest.join("="))];
                });
        }

        static of(text, changed) {
            const params = new URLSearchParams(text);
            params.#changed = changed;
            return params;
        }

        get size() {
            return this.#pairs.length;
        }

        append(name, value) {
            this.#pairs.push([`${name}`, `${value}`]);
            this.#changed(this.toString());
        }

        delete(name, value) {
            this.#pairs = this.#pairs.filter((pair) => pair[0] !== name || (value !== undefined && pair[1] !== value));
            this.#changed(this.toString());
        }

        get(name) {
            const found = this.#pairs.find((pair) => pair[0] === name);
            return found ? found[1] : null;
        }

        getAll(name) {
            return this.#pairs.filter((pair) => pair[0] === name).map((pair) => pair[1]);
        }

        has(name, value) {
            return this.#pairs.some((pair) => pair[0] === name && (value === undefined || pair[1] === value));
        }

        set(name, value) {
            const at = this.#pairs.findIndex((pair) => pair[0] === name);
            this.#pairs = this.#pairs.filter((pair, place) => pair[0] !== name || place === at);
            if (at < 0) {
                this.#pairs.push([`${name}`, `${value}`]);
            } else {
                this.#pairs[at] = [`${name}`, `${value}`];
            }
            this.#changed(this.toString());
        }

        sort() {
            this.#pairs.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
            this.#changed(this.toString());
        }

        forEach(f) {
            for (const [name, value] of this.#pairs) {
                f(value, name, this);
            }
        }

        *keys() {
            for (const [name] of this.#pairs) {
                yield name;
            }
        }

        *values() {
            for (const [, value] of this.#pairs) {
                yield value;
            }
        }

        *entries() {
            for (const [name, value] of this.#pairs) {
                yield [name, value];
            }
        }

        [Symbol.iterator]() {
            return this.entries();
        }

        toString() {
            return this.#pairs.map(([name, value]) => `${PAIR(name)}=${PAIR(value)}`).join("&");
        }
    }
    const paramsOf = URLSearchParams.of;
    delete URLSearchParams.of;

    class URL {
        #parts;
        #params;

        constructor(text, base) {
            const parts = host.parseUrl(`${text}`, base === undefined ? undefined : `${base}`);
            if (parts === undefined) {
                throw new TypeError(`\`${text}\` is no URL`);
            }
            this.#parts = parts;
        }

        static canParse(text, base) {
            return host.parseUrl(`${text}`, base === undefined ? undefined : `${base}`) !== undefined;
        }

        static parse(text, base) {
            return URL.canParse(text, base) ? new URL(text, base) : null;
        }

        static part(url, name) {
            return url.#parts[name];
        }

        static change(url, name, value) {
            if (name === "href" && !URL.canParse(value)) {
                throw new TypeError(`\`${value}\` is no URL`);
            }
            url.#parts = host.changeUrl(url.#parts.href, name, `${value}`) ?? url.#parts;
            url.#params = undefined;
        }

        get searchParams() {
            this.#params ??= paramsOf(this.#parts.search, (text) => {
                this.#parts = host.changeUrl(this.#parts.href, "search", text);
            });
            return this.#params;
        }

        get origin() {
            return this.#parts.origin;
        }

        toString() {
            return this.#parts.href;
        }

        toJSON() {
            return this.#parts.href;
        }
    }
    const { part, change } = URL;
    delete URL.part;
    delete URL.change;
    for (const name of ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]) {
        Object.defineProperty(URL.prototype, name, {
            configurable: true,
            enumerable: true,
            get() {
                return part(this, name);
            },
            set(value) {
                change(this, name, value);
            },
        });
    }

    // Requests, over the bridge `http` and with its permissions.

    class Headers {
        #entries = new Map();

        constructor(given = []) {
            const pairs = Symbol.iterator in Object(given) ? given : Object.entries(given);
            for (const [name, value] of pairs) {
                this.append(name, value);
            }
        }

        append(name, value) {
            const known = this.get(name);
            this.set(name, known === null ? value : `${known}, ${value}`);
        }

        delete(name) {
            this.#entries.delete(`${name}`.toLowerCase());
        }

        get(name) {
            return this.#entries.get(`${name}`.toLowerCase()) ?? null;
        }

        has(name) {
            return this.#entries.has(`${name}`.toLowerCase());
        }

        set(name, value) {
            this.#entries.set(`${name}`.toLowerCase(), `${value}`.trim());
        }

        forEach(f) {
            for (const [name, value] of this) {
                f(value, name, this);
            }
        }

        keys() {
            return [...this].map(([name]) => name).values();
        }

        values() {
            return [...this].map(([, value]) => value).values();
        }

        entries() {
            return [...this.#entries].sort(([left], [right]) => (left < right ? -1 : 1)).values();
        }

        [Symbol.iterator]() {
            return this.entries();
        }
    }

    class Response {
        #body;
        bodyUsed = false;
        url = "";

        constructor(body = "", { status = 200, statusText = "", headers = [] } = {}) {
            this.#body = typeof body === "string" || body === null ? (body ?? "") : bytesOf(body);
            this.status = status;
            this.statusText = statusText;
            this.headers = new Headers(headers);
            this.ok = status >= 200 && status < 300;
        }

        static json(value, init = {}) {
            const headers = { "content-type": "application/json", ...Object.fromEntries(new Headers(init.headers)) };
            return new Response(JSON.stringify(value), { ...init, headers });
        }

        #take() {
            if (this.bodyUsed) {
                throw new TypeError("the body has been read already");
            }
            this.bodyUsed = true;
            return this.#body;
        }

        async text() {
            const body = this.#take();
            return typeof body === "string" ? body : new TextDecoder().decode(body);
        }

        async json() {
            return JSON.parse(await this.text());
        }

        async bytes() {
            const body = this.#take();
            return typeof body === "string" ? host.encodeText(body) : body;
        }

        async arrayBuffer() {
            return (await this.bytes()).slice().buffer;
        }

        clone() {
            const copy = new Response(this.#body, this);
            copy.url = this.url;
            return copy;
        }
    }

    function orAborted(signal, begin) {
        return new Promise((resolve, reject) => {
            signal.throwIfAborted();
            const [done, cancel] = host.withCancel(begin);
            const stop = () => {
                cancel();
                reject(signal.reason);
            };
            signal.addEventListener("abort", stop);
            done.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
        });
    }

    async function fetch(input, { method = "GET", headers, body, signal, redirect = "follow" } = {}) {
        const { http } = global;
        if (!http || !http.request) {
            throw define(new SpellError("this runtime has no network"), "kind", "unsupported", true);
        }
        const request = {
            url: `${input}`,
            method: `${method}`.toUpperCase(),
            headers: Object.fromEntries(new Headers(headers)),
            follow: redirect === "follow",
        };
        if (body !== undefined && body !== null) {
            const isForm = body instanceof URLSearchParams;
            request.body = typeof body === "string" || isForm ? `${body}` : bytesOf(body);
            if (isForm && !("content-type" in request.headers)) {
                request.headers["content-type"] = "application/x-www-form-urlencoded;charset=UTF-8";
            }
        }
        const answer = signal
            ? await orAborted(signal, () => http.request(request))
            : await http.request(request);
        const response = new Response(answer.body, { status: answer.status, headers: { ...answer.headers } });
        response.url = answer.url ?? request.url;
        if (redirect === "error" && answer.status >= 300 && answer.status < 400) {
            throw new TypeError(`${request.url} leads elsewhere`);
        }
        return response;
    }

    // Copies.

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

    // Randomness that nobody can guess.

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

    // Several things at once, as Luau's `promise` has them.

    const promise = {
        spawn: (f, ...values) => new Promise((resolve) => resolve(f(...values))),
        delay: (seconds, value) => new Promise((resolve) => setTimeout(resolve, seconds * 1000, value)),
        async map(list, f, { concurrency = Infinity } = {}) {
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
            const workers = Math.max(1, Math.min(concurrency, items.length));
            await Promise.all(Array.from({ length: workers }, work));
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
    Object.freeze(promise);

    return {
        AbortController,
        AbortSignal,
        Headers,
        Response,
        TextDecoder,
        TextEncoder,
        URL,
        URLSearchParams,
        atob,
        btoa,
        clearInterval,
        clearTimeout,
        crypto,
        fetch,
        promise,
        setInterval,
        setTimeout,
        structuredClone,
    };
});
