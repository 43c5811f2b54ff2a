// `URL`, `Headers`, `Response` and `fetch`. Requests go through the bridge `http` and need its permissions.
export default function ({ bring, bytesOf, define, host, natives, SpellError }) {
    const global = globalThis;
    const { TextDecoder } = bring("web");

    // URLs.

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
    const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
    for (let i = 0; i < PARTS.length; i++) {
        const name = PARTS[i];
        natives.defineProperty(URL.prototype, name, {
            __proto__: null,
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

    // Requests.

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

    return { Headers, Response, URL, URLSearchParams, fetch };
}
