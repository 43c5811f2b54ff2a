/** What the spell was called with, typed and defaulted by its manifest. */
declare const params: { [name: string]: any };

/** What went wrong in the host. Methods throw it, and promises are rejected with it. */
declare class SpellError extends Error {
    constructor(message?: string, options?: { cause?: unknown });
    /** What sort of error it is: `auth`, `rate_limited`, `parse`, `stopped`, …. */
    kind: string;
    /** Whether the same call may work later. */
    retryable: boolean;
    /** What to do about it. */
    hint?: string;
    /** The provider that failed. */
    provider?: string;
    /** The HTTP status, if one came. */
    status?: number;
    /** The provider's own id of the request. */
    requestId?: string;
    /** How often the call was tried. */
    attempts?: number;
    /** Seconds that the provider asked to wait. */
    retryAfter?: number;
    /** The model's context window in tokens, if the request exceeded it. */
    limitTokens?: number;
    /** The length of the prompt in tokens, if it exceeded the context window. */
    promptTokens?: number;
    /** The beginning of an answer that was refused. */
    body?: string;
    /** The text that had arrived before a stream failed. */
    partial?: string;
    /** What the failed call used. */
    usage?: { [name: string]: any };
    /** Where an answer does not fit its schema: `$.items[0].name`, lists counted from 0. */
    path?: string;
    /** What would fit there. */
    expected?: string;
    /** What is there. */
    got?: string;
    /** The beginning of the answer as the model wrote it. */
    raw?: string;
}

interface SpellConsole {
    /** Writes a line to the spell's output. */
    log(...values: any[]): void;
    /** The same as `log`. */
    info(...values: any[]): void;
    /** Logs a line that helps to find mistakes. */
    debug(...values: any[]): void;
    /** Logs a line that is worth a look. */
    warn(...values: any[]): void;
    /** Logs a line about what went wrong. */
    error(...values: any[]): void;
    /** Logs an error when the condition does not hold. */
    assert(condition?: boolean, ...values: any[]): void;
}

interface SpellCrypto {
    /** Fills an array with random bytes. */
    getRandomValues<T extends ArrayBufferView>(array: T): T;
    /** A random id. */
    randomUUID(): string;
}

/** Several things at once, besides what the language's own `Promise` does. */
declare const promise: {
    /** Runs a function with the values that follow, and makes a promise of what it returns. */
    spawn<A extends any[], T>(f: (...values: A) => T | Promise<T>, ...values: A): Promise<T>;
    /** A promise that is fulfilled with `value` after so many seconds. */
    delay<T = undefined>(seconds: number, value?: T): Promise<T>;
    /** Calls a function with each item of a list, so many at once, and gives what it returns in their order. */
    map<T, U>(
        list: Iterable<T>,
        f: (item: T, index: number) => U | Promise<U>,
        options?: { concurrency?: number },
    ): Promise<U[]>;
    /** A promise of the same value that is rejected with the kind `timeout` after so many seconds. */
    timeout<T>(waited: T | Promise<T>, seconds: number): Promise<T>;
    /** Calls a function until it succeeds, and gives up with its last error. */
    retry<T>(
        f: (attempt: number) => T | Promise<T>,
        options?: { attempts?: number; delay?: number; factor?: number },
    ): Promise<T>;
};

declare function setTimeout<A extends any[]>(f: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function setInterval<A extends any[]>(f: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function clearTimeout(id?: number): void;
declare function clearInterval(id?: number): void;
declare function queueMicrotask(f: () => void): void;
declare function structuredClone<T>(value: T): T;
declare function btoa(text: string): string;
declare function atob(text: string): string;

declare class AbortSignal {
    readonly aborted: boolean;
    readonly reason: any;
    onabort: ((event: { type: "abort"; target: AbortSignal }) => void) | null;
    throwIfAborted(): void;
    addEventListener(type: "abort", listener: (event: { type: "abort"; target: AbortSignal }) => void): void;
    removeEventListener(type: "abort", listener: (event: { type: "abort"; target: AbortSignal }) => void): void;
    static abort(reason?: any): AbortSignal;
    static timeout(milliseconds: number): AbortSignal;
    static any(signals: Iterable<AbortSignal>): AbortSignal;
}

declare class AbortController {
    readonly signal: AbortSignal;
    abort(reason?: any): void;
}

declare class TextEncoder {
    readonly encoding: "utf-8";
    encode(text?: string): Uint8Array;
    encodeInto(text: string, target: Uint8Array): { read: number; written: number };
}

declare class TextDecoder {
    constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
    readonly encoding: "utf-8";
    decode(data?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
}

declare class URLSearchParams {
    constructor(given?: string | Iterable<[string, string]> | Record<string, string>);
    readonly size: number;
    append(name: string, value: string): void;
    delete(name: string, value?: string): void;
    get(name: string): string | null;
    getAll(name: string): string[];
    has(name: string, value?: string): boolean;
    set(name: string, value: string): void;
    sort(): void;
    forEach(f: (value: string, name: string, params: URLSearchParams) => void): void;
    keys(): IterableIterator<string>;
    values(): IterableIterator<string>;
    entries(): IterableIterator<[string, string]>;
    [Symbol.iterator](): IterableIterator<[string, string]>;
    toString(): string;
}

declare class URL {
    constructor(text: string | URL, base?: string | URL);
    static canParse(text: string | URL, base?: string | URL): boolean;
    static parse(text: string | URL, base?: string | URL): URL | null;
    href: string;
    readonly origin: string;
    protocol: string;
    username: string;
    password: string;
    host: string;
    hostname: string;
    port: string;
    pathname: string;
    search: string;
    readonly searchParams: URLSearchParams;
    hash: string;
    toString(): string;
    toJSON(): string;
}

declare class Headers {
    constructor(given?: Iterable<[string, string]> | Record<string, string>);
    append(name: string, value: string): void;
    delete(name: string): void;
    get(name: string): string | null;
    has(name: string): boolean;
    set(name: string, value: string): void;
    forEach(f: (value: string, name: string, headers: Headers) => void): void;
    keys(): IterableIterator<string>;
    values(): IterableIterator<string>;
    entries(): IterableIterator<[string, string]>;
    [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class Response {
    constructor(
        body?: string | ArrayBuffer | ArrayBufferView | null,
        init?: { status?: number; statusText?: string; headers?: ConstructorParameters<typeof Headers>[0] },
    );
    static json(value: any, init?: { status?: number; headers?: Record<string, string> }): Response;
    readonly status: number;
    readonly statusText: string;
    readonly ok: boolean;
    readonly headers: Headers;
    readonly url: string;
    readonly bodyUsed: boolean;
    text(): Promise<string>;
    json(): Promise<any>;
    bytes(): Promise<Uint8Array>;
    arrayBuffer(): Promise<ArrayBuffer>;
    clone(): Response;
}

/** Makes a request to a host that the spell was granted, over `http.request`. */
declare function fetch(
    input: string | URL,
    init?: {
        method?: string;
        headers?: ConstructorParameters<typeof Headers>[0];
        body?: string | URLSearchParams | ArrayBuffer | ArrayBufferView | null;
        signal?: AbortSignal;
        redirect?: "follow" | "manual" | "error";
    },
): Promise<Response>;
