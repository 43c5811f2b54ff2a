//! The documentation of the prelude's globals, for the reference. Their types are in `globals.d.ts` of the `llmspell`
//! crate's reference.

mod web;

use llmspell_core::PreludeDocs;
use llmspell_core::prelude_docs::{FunctionDoc, TypeSyntax};

/// The documented globals of the prelude.
pub(super) fn prelude_docs() -> Vec<PreludeDocs> {
    let docs = PreludeDocs::new("javascript", TypeSyntax::TypeScript).doc(r#"What a script in JavaScript or TypeScript has beside the language and the bridges.

It is what such scripts expect of the web, over the spell's own capabilities: `fetch` goes through `http`, `console.log`
prints, `console.error` logs, and the clock and the randomness are the run's. There is no `eval`, no `Function` from text,
no `require`, and nothing of Node or of a page."#);
    let docs = functions().into_iter().fold(docs, PreludeDocs::function);
    vec![web::classes().into_iter().fold(docs, PreludeDocs::class)]
}

fn functions() -> Vec<FunctionDoc> {
    vec![
    FunctionDoc::new("console.log").param("...values: any[]").returns("void").doc(r#"Writes a line to the spell's output: texts as they are, and other values as they would be written.

`console.info` is the same.

```js
console.log("found", { words: 3, list: [1, 2] });
```"#),
    FunctionDoc::new("console.error").param("...values: any[]").returns("void").doc(r#"Logs a line about what went wrong, apart from the output.

`console.warn` and `console.debug` log with their levels; `log` has lines with fields.

```js
console.error("cannot read", "a.txt");
console.warn("going on without it");
```"#),
    FunctionDoc::new("console.assert").param("condition?: boolean").param("...values: any[]").returns("void").doc(r#"Logs an error when the condition does not hold; the spell goes on.

```js
console.assert(1 + 1 === 2, "the world is as it was");
```"#),
    FunctionDoc::new("promise.spawn").generics("<A extends any[], T>").param("f: (...values: A) => T | Promise<T>").param("...values: A").returns("Promise<T>").doc(r#"Runs a function with the values that follow, and makes a promise of what it returns.

What the function throws rejects the promise.

```js
const sum = await promise.spawn((a, b) => a + b, 1, 2);
if (sum !== 3) throw new Error(sum);
```"#),
    FunctionDoc::new("promise.delay").generics("<T>").param("seconds: number").param("value?: T").returns("Promise<T>").doc(r#"Makes a promise that is fulfilled with a value after so many seconds.

```js
console.log(await promise.delay(0.01, "later"));
```"#),
    FunctionDoc::new("promise.map").generics("<T, U>").param("list: Iterable<T>").param("f: (item: T, index: number) => U | Promise<U>").param("options?: { concurrency?: number }").returns("Promise<U[]>").doc(r#"Calls a function with each item of a list, so many at once, and gives what it returns in their order.

```js
const ask = (word) => llm.chat(`A rhyme for ${word}?`);
const answers = await promise.map(["sea", "star"], ask, { concurrency: 2 });
if (answers.length !== 2) throw new Error("one for each");
```"#),
    FunctionDoc::new("promise.timeout").generics("<T>").param("waited: T | Promise<T>").param("seconds: number").returns("Promise<T>").doc(r#"Makes a promise of the same value that is rejected with the kind `timeout` after so many seconds.

```js
const late = promise.timeout(promise.delay(0.05), 0.01);
const error = await late.catch((error) => error);
if (error.kind !== "timeout") throw error;
```"#),
    FunctionDoc::new("promise.retry").generics("<T>").param("f: (attempt: number) => T | Promise<T>").param("options?: { attempts?: number; delay?: number; factor?: number }").returns("Promise<T>").doc(r#"Calls a function until it succeeds, and gives up with its last error.

```js
const options = { attempts: 3, delay: 0.01 };
const attempt = await promise.retry((attempt) => {
    if (attempt < 2) throw new Error("not yet");
    return attempt;
}, options);
if (attempt !== 2) throw new Error(attempt);
```"#),
    FunctionDoc::new("setTimeout").generics("<A extends any[]>").param("f: (...values: A) => void").param("milliseconds?: number").param("...values: A").returns("number").doc(r#"Calls a function after so many milliseconds, and returns a number for `clearTimeout`.

The spell does not end before that. `setInterval` calls it again and again, until `clearInterval`; `queueMicrotask` calls
a function when the work at hand is done.

```js
const id = setTimeout(console.log, 60_000, "too late");
clearTimeout(id);
```"#),
    FunctionDoc::new("structuredClone").generics("<T>").param("value: T").returns("T").doc(r#"Copies data all the way down, with its cycles, dates, maps and sets.

```js
const copy = structuredClone({ when: new Date(0), list: [1] });
if (copy.list[0] !== 1) throw new Error("not a copy");
```"#),
    FunctionDoc::new("fetch").param("input: string | URL").param("init?: { method?: string; headers?: object; body?: any; signal?: any }").returns("Promise<Response>").doc(r#"Makes a request to a host that the spell was granted, over `http.request`.

A status from 400 on is an answer; no answer at all rejects the promise.

```js
const answer = await fetch("http://pages.example/json");
console.log(answer.status, (await answer.json()).names);
```"#),
    FunctionDoc::new("btoa").param("text: string").returns("string").doc(r#"Writes a text of one byte a letter as base64; `atob` reads it.

`crypto.base64Encode` takes any text and any bytes.

```js
if (atob(btoa("hi")) !== "hi") throw new Error("not the same");
```"#),
    FunctionDoc::new("crypto.getRandomValues").generics("<T extends ArrayBufferView>").param("array: T").returns("T").doc(r#"Fills an array with random bytes, and returns it. `Math.random` gives the same numbers in each run.

```js
console.log(crypto.getRandomValues(new Uint8Array(4)).length);
```"#),
    FunctionDoc::new("crypto.randomUUID").returns("string").doc(r#"Returns a random id, as `crypto.uuid` does.

```js
if (crypto.randomUUID().length !== 36) throw new Error("no UUID");
```"#),
    ]
}
