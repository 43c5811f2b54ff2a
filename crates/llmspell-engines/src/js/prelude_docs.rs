//! The documentation of the prelude's globals, for the reference. Their types are in `globals.d.ts` of the `llmspell`
//! crate's reference.

mod web;

use llmspell_core::PreludeDocs;
use llmspell_core::prelude_docs::{FunctionDoc, TypeSyntax};

/// The documented globals of the prelude.
pub(super) const FURNITURE: &[PreludeDocs] = &[PreludeDocs {
    name: "javascript",
    written: TypeSyntax::TypeScript,
    doc: r#"What a script in JavaScript or TypeScript has beside the language and the bridges.

It is what such scripts expect of the web, over the spell's own capabilities: `fetch` goes through `http`, `console.log`
prints, `console.error` logs, and the clock and the randomness are the run's. There is no `eval`, no `Function` from text,
no `require`, and nothing of Node or of a page."#,
    functions: FUNCTIONS,
    classes: web::CLASSES,
}];

/// Describes a function without type parameters.
const fn plain(
    name: &'static str,
    params: &'static [&'static str],
    returns: &'static str,
    doc: &'static str,
) -> FunctionDoc {
    FunctionDoc { name, generics: "", params, returns, doc }
}

const FUNCTIONS: &[FunctionDoc] = &[
    plain(
        "console.log",
        &["...values: any[]"],
        "void",
        r#"Writes a line to the spell's output: texts as they are, and other values as they would be written.

`console.info` is the same.

```js
console.log("found", { words: 3, list: [1, 2] });
```"#,
    ),
    plain(
        "console.error",
        &["...values: any[]"],
        "void",
        r#"Logs a line about what went wrong, apart from the output.

`console.warn` and `console.debug` log with their levels; `log` has lines with fields.

```js
console.error("cannot read", "a.txt");
console.warn("going on without it");
```"#,
    ),
    plain(
        "console.assert",
        &["condition?: boolean", "...values: any[]"],
        "void",
        r#"Logs an error when the condition does not hold; the spell goes on.

```js
console.assert(1 + 1 === 2, "the world is as it was");
```"#,
    ),
    FunctionDoc {
        name: "promise.spawn",
        generics: "<A extends any[], T>",
        params: &["f: (...values: A) => T | Promise<T>", "...values: A"],
        returns: "Promise<T>",
        doc: r#"Runs a function with the values that follow, and makes a promise of what it returns.

What the function throws rejects the promise.

```js
const sum = await promise.spawn((a, b) => a + b, 1, 2);
if (sum !== 3) throw new Error(sum);
```"#,
    },
    FunctionDoc {
        name: "promise.delay",
        generics: "<T>",
        params: &["seconds: number", "value?: T"],
        returns: "Promise<T>",
        doc: r#"Makes a promise that is fulfilled with a value after so many seconds.

```js
console.log(await promise.delay(0.01, "later"));
```"#,
    },
    FunctionDoc {
        name: "promise.map",
        generics: "<T, U>",
        params: &[
            "list: Iterable<T>",
            "f: (item: T, index: number) => U | Promise<U>",
            "options?: { concurrency?: number }",
        ],
        returns: "Promise<U[]>",
        doc: r#"Calls a function with each item of a list, so many at once, and gives what it returns in their order.

```js
const ask = (word) => llm.chat(`A rhyme for ${word}?`);
const answers = await promise.map(["sea", "star"], ask, { concurrency: 2 });
if (answers.length !== 2) throw new Error("one for each");
```"#,
    },
    FunctionDoc {
        name: "promise.timeout",
        generics: "<T>",
        params: &["waited: T | Promise<T>", "seconds: number"],
        returns: "Promise<T>",
        doc: r#"Makes a promise of the same value that is rejected with the kind `timeout` after so many seconds.

```js
const late = promise.timeout(promise.delay(0.05), 0.01);
const error = await late.catch((error) => error);
if (error.kind !== "timeout") throw error;
```"#,
    },
    FunctionDoc {
        name: "promise.retry",
        generics: "<T>",
        params: &[
            "f: (attempt: number) => T | Promise<T>",
            "options?: { attempts?: number; delay?: number; factor?: number }",
        ],
        returns: "Promise<T>",
        doc: r#"Calls a function until it succeeds, and gives up with its last error.

```js
const options = { attempts: 3, delay: 0.01 };
const attempt = await promise.retry((attempt) => {
    if (attempt < 2) throw new Error("not yet");
    return attempt;
}, options);
if (attempt !== 2) throw new Error(attempt);
```"#,
    },
    FunctionDoc {
        name: "setTimeout",
        generics: "<A extends any[]>",
        params: &["f: (...values: A) => void", "milliseconds?: number", "...values: A"],
        returns: "number",
        doc: r#"Calls a function after so many milliseconds, and returns a number for `clearTimeout`.

The spell does not end before that. `setInterval` calls it again and again, until `clearInterval`; `queueMicrotask` calls
a function when the work at hand is done.

```js
const id = setTimeout(console.log, 60_000, "too late");
clearTimeout(id);
```"#,
    },
    FunctionDoc {
        name: "structuredClone",
        generics: "<T>",
        params: &["value: T"],
        returns: "T",
        doc: r#"Copies data all the way down, with its cycles, dates, maps and sets.

```js
const copy = structuredClone({ when: new Date(0), list: [1] });
if (copy.list[0] !== 1) throw new Error("not a copy");
```"#,
    },
    plain(
        "fetch",
        &["input: string | URL", "init?: { method?: string; headers?: object; body?: any; signal?: any }"],
        "Promise<Response>",
        r#"Makes a request to a host that the spell was granted, over `http.request`.

A status from 400 on is an answer; no answer at all rejects the promise.

```js
const answer = await fetch("http://pages.example/json");
console.log(answer.status, (await answer.json()).names);
```"#,
    ),
    plain(
        "btoa",
        &["text: string"],
        "string",
        r#"Writes a text of one byte a letter as base64; `atob` reads it.

`crypto.base64Encode` takes any text and any bytes.

```js
if (atob(btoa("hi")) !== "hi") throw new Error("not the same");
```"#,
    ),
    FunctionDoc {
        name: "crypto.getRandomValues",
        generics: "<T extends ArrayBufferView>",
        params: &["array: T"],
        returns: "T",
        doc: r#"Fills an array with random bytes, and returns it. `Math.random` gives the same numbers in each run.

```js
console.log(crypto.getRandomValues(new Uint8Array(4)).length);
```"#,
    },
    plain(
        "crypto.randomUUID",
        &[],
        "string",
        r#"Returns a random id, as `crypto.uuid` does.

```js
if (crypto.randomUUID().length !== 36) throw new Error("no UUID");
```"#,
    ),
];
