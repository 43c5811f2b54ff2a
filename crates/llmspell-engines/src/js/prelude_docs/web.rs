//! The documentation of the prelude's classes.

use llmspell_core::prelude_docs::{ClassDoc, FunctionDoc};

/// The documented classes of the prelude.
pub(super) fn classes() -> Vec<ClassDoc> {
    vec![
    ClassDoc::new("SpellError").doc(r#"What went wrong in the host: methods throw it, and promises are rejected with it.

It is an `Error` with `kind` and `retryable`, and as far as they are known with `hint`, `provider`, `status`, `requestId`,
`attempts`, `retryAfter`, `body`, `partial` and `usage`.

```js
const error = await llm.chat("hi", { provider: "nobody" }).catch((error) => error);
if (!(error instanceof SpellError) || error.kind !== "no_provider") throw error;
```"#),
    ClassDoc::new("Response").doc(r#"The answer to `fetch`: `status`, `ok`, `headers`, `url`, and a body that is read once.

```js
const made = new Response("text", { status: 201, headers: { "x-key": "1" } });
console.log(made.ok, made.headers.get("X-Key"));
```"#).method(FunctionDoc::new("text").returns("Promise<string>").doc(r#"Reads the body as text.

```js
console.log(await new Response("text").text());
```"#)).method(FunctionDoc::new("json").returns("Promise<any>").doc(r#"Reads the body as JSON.

```js
console.log((await new Response('{"names":["Ada"]}').json()).names[0]);
```"#)).method(FunctionDoc::new("bytes").returns("Promise<Uint8Array>").doc(r#"Reads the body byte by byte; `arrayBuffer` gives them as an `ArrayBuffer`.

```js
console.log((await new Response("text").bytes()).length);
```"#)),
    ClassDoc::new("Headers").doc(r#"Header fields by name, in any case: `get`, `has`, `set`, `append`, `delete`, and a `for` loop over all.

```js
const headers = new Headers({ "Content-Type": "text/plain" });
if (headers.get("content-type") !== "text/plain") throw new Error("another case");
```"#),
    ClassDoc::new("URL").doc(r#"An address in its parts, by the rules of the web: `protocol`, `host`, `pathname`, `searchParams`, `hash`, ….

```js
const url = new URL("../b?x=1", "https://example.com/a/c");
url.searchParams.set("y", "1 2");
if (url.href !== "https://example.com/b?x=1&y=1+2") throw new Error(url.href);
```"#),
    ClassDoc::new("URLSearchParams").doc(r#"Names and values of a query, in their order.

```js
const query = new URLSearchParams({ q: "tide", page: "2" });
if (`${query}` !== "q=tide&page=2") throw new Error(query);
```"#),
    ClassDoc::new("AbortController").doc(r#"Ends what listens to its `signal`, such as `fetch`. `AbortSignal.timeout(milliseconds)` does so by itself.

```js
const controller = new AbortController();
controller.abort(new Error("enough"));
if (controller.signal.reason.message !== "enough") throw new Error("not aborted");
```"#).method(FunctionDoc::new("abort").param("reason?: any").returns("void").doc(r#"Tells all that listens to the signal to end, with this reason.

```js
const controller = new AbortController();
controller.abort();
if (!controller.signal.aborted) throw new Error("not aborted");
```"#)),
    ClassDoc::new("TextEncoder").doc(r#"Makes UTF-8 of text. `TextDecoder` makes text of UTF-8, in pieces too: `decode(bytes, { stream: true })`.

```js
const bytes = new TextEncoder().encode("é");
if (bytes.length !== 2 || new TextDecoder().decode(bytes) !== "é") throw new Error("not the same");
```"#),
    ]
}
