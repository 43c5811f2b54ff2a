//! The documentation of `promise.luau`, from which the reference and the type files are generated.

use llmspell_core::PreludeDocs;
use llmspell_core::prelude_docs::{ClassDoc, FunctionDoc, TypeSyntax};

/// The documented globals of the prelude.
pub(super) fn prelude_docs() -> Vec<PreludeDocs> {
    let promise = ClassDoc::new("Promise").generics("<T>").doc(PROMISE);
    let promise = methods().into_iter().fold(promise, ClassDoc::method);
    let docs = PreludeDocs::new("promise", TypeSyntax::Luau).doc(r#"Does several things at once, and waits for what comes of them.

A promise stands for a value that comes later, or for the reason why there is none. The function that makes it starts
at once, runs as far as it goes without waiting, and goes on by itself whenever what it waits for is there. A function
that a promise runs fails when it raises an error, and also when it returns `nil, err` as the bridges do.

The spell ends when all that it started has ended. What lost a race and nobody else waits for is cancelled when the
script has returned. A rejection that nobody asks about fails the spell."#).class(promise);
    vec![functions().into_iter().fold(docs, PreludeDocs::function)]
}

const PROMISE: &str = r#"A value that comes later, or the reason why there is none.

It is pending first, and then fulfilled, rejected or cancelled for good."#;

fn functions() -> Vec<FunctionDoc> {
    vec![
    FunctionDoc::new("new").generics("<T>").param("executor: (resolve: (value: T | Promise<T>) -> (), reject: (reason: any) -> ()) -> ()").returns("Promise<T>").doc(r#"Makes a promise that `executor` settles by a call of `resolve` or `reject`.

The executor starts at once and may wait. The first of its calls counts; an error that it raises rejects the promise.

```luau
local answer = promise.new(function(resolve, reject)
    local text, err = llm.chat("Name a colour.")
    if text then
        resolve(text)
    else
        reject(err)
    end
end)
assert(answer:await())
```"#),
    FunctionDoc::new("resolve").generics("<T>").param("value: T | Promise<T>").returns("Promise<T>").doc(r#"Makes a promise that is fulfilled with a value already; a promise is returned as it is.

```luau
assert(promise.resolve(42):await() == 42)
```"#),
    FunctionDoc::new("reject").param("reason: any").returns("Promise<any>").doc(r#"Makes a promise that is rejected already.

```luau
local reason = promise.reject("no luck"):catch(function(reason) return reason end):await()
assert(reason == "no luck")
```"#),
    FunctionDoc::new("all").generics("<T>").param("list: {T | Promise<T>}").returns("Promise<{T}>").doc(r#"Waits for all of a list and gives their values in its order.

The first that is rejected rejects it, with the same reason; the others run on.

```luau
local answers = promise.all({
    promise.spawn(llm.chat, "Name a colour."),
    promise.spawn(llm.chat, "Name a fruit."),
}):await()
assert(#answers == 2)
```"#),
    FunctionDoc::new("race").generics("<T>").param("list: {T | Promise<T>}").returns("Promise<T>").doc(r#"Comes to what the first of a list comes to, be it a value or a reason.

The others run on until the script has returned; those that nobody else waits for are cancelled then.

```luau
local winner = promise.race({promise.delay(60, "slow"), promise.delay(0.01, "fast")})
assert(winner:await() == "fast")
```"#),
    FunctionDoc::new("any").generics("<T>").param("list: {T | Promise<T>}").returns("Promise<T>").doc(r#"Comes to the first value of a list, and passes over what is rejected.

When all are rejected, the reason has their reasons in `errors`, in the order of the list.

```luau
local found = promise.any({promise.reject("not here"), promise.delay(0.01, "here")})
assert(found:await() == "here")

local reason = promise.any({promise.reject("a"), promise.reject("b")}):catch(function(e) return e end):await()
assert(table.concat(reason.errors, " ") == "a b")
```"#),
    FunctionDoc::new("all_settled").generics("<T>").param("list: {T | Promise<T>}").returns(r#"Promise<{{status: "fulfilled", value: T} | {status: "rejected", reason: any}}>"#).doc(r#"Waits for all of a list, whatever they come to, and tells in its order what that is.

```luau
local results = promise.all_settled({promise.resolve(1), promise.reject("no")}):await()
assert(results[1].status == "fulfilled" and results[1].value == 1)
assert(results[2].status == "rejected" and results[2].reason == "no")
```"#),
    FunctionDoc::new("delay").generics("<T>").param("seconds: number").param("value: T?").returns("Promise<T>").doc(r#"Makes a promise that is fulfilled with `value` after so many seconds.

```luau
assert(promise.delay(0.01, "done"):await() == "done")
```"#),
    FunctionDoc::new("spawn").generics("<A..., T>").param("fn: (A...) -> (T?, any?)").param("...: A...").returns("Promise<T>").doc(r#"Runs a function with the arguments that follow, and makes a promise of what it returns.

```luau
local answer = promise.spawn(llm.chat, "Name a colour.")
local length = promise.spawn(function()
    return #answer:await()
end)
assert(length:await() > 0)
```"#),
    FunctionDoc::new("map").generics("<T, U>").param("list: {T}").param("fn: (item: T, index: number) -> (U?, any?)").param("options: {concurrency: number?}?").returns("Promise<{U}>").doc(r#"Calls a function with each item of a list and gives what it returns, in the order of the list.

`concurrency` is how many calls may run at once; all do unless it says otherwise. When one fails, no more are started
and those that run are cancelled.

```luau
local lengths = promise.map({"one", "three"}, function(word, index)
    local answer, err = llm.chat(`{index}. Define {word}.`)
    return answer and #answer, err
end, {concurrency = 8}):await()
assert(#lengths == 2)
```"#),
    FunctionDoc::new("retry").generics("<T>").param("fn: (attempt: number) -> (T?, any?)").param("options: {attempts: number?, delay: number?, factor: number?}?").returns("Promise<T>").doc(r#"Calls a function until it succeeds, and gives up with its last error.

It is called at most `attempts` times, 3 unless it says otherwise. Before the second call it waits for `delay` seconds,
1 unless it says otherwise, and before each later one `factor` times as long, 2 unless it says otherwise. Calls of
models are tried again without this; it is for what else may fail.

```luau
local done = promise.retry(function(attempt)
    if attempt < 2 then
        return nil, "not yet"
    end
    return "done at " .. attempt
end, {attempts = 3, delay = 0.01})
assert(done:await() == "done at 2")
```"#),
    ]
}

fn methods() -> Vec<FunctionDoc> {
    vec![
    FunctionDoc::new("next").param("on_value: ((value: T) -> any)?").param("on_reason: ((reason: any) -> any)?").returns("any").doc(r#"Calls `on_value` with the value, or `on_reason` with the reason, and returns a promise of what that returns.

What a handler returns may be a promise itself, which is waited for. Where there is no handler, the new promise comes to
the same as this one. Handlers run when the script waits, never before this has returned.

```luau
local length = promise.spawn(llm.chat, "Name a colour."):next(function(answer)
    return #answer
end)
assert(length:await() > 0)
```"#),
    FunctionDoc::new("catch").param("on_reason: (reason: any) -> any").returns("any").doc(r#"Calls `on_reason` with the reason if there is one, and returns a promise of what that returns, or of the value.

```luau
local answer = promise.spawn(llm.chat, "Hello!", {model = "no-such-model"}):catch(function(err)
    return "failed: " .. err.kind
end)
assert(answer:await() == "failed: unknown_model")
```"#),
    FunctionDoc::new("finally").param("fn: () -> any").returns("Promise<T>").doc(r#"Calls a function whatever the promise comes to, and returns a promise of just that.

When the function fails, its error takes the place of the value.

```luau
local value = promise.resolve(42):finally(function()
    print("over")
end)
assert(value:await() == 42)
```"#),
    FunctionDoc::new("await").param("seconds: number?").returns("T").doc(r#"Waits for the value and returns it; raises the reason when there is none, or returns `nil, err` to a caller that
assigns both.

With `seconds`, it fails with an error of the kind `timeout` after that time, and the promise runs on.

```luau
assert(promise.delay(0.01, "there"):await() == "there")

local value, err = promise.delay(60):await(0.01)
assert(value == nil and err.kind == "timeout")
```"#),
    FunctionDoc::new("timeout").param("seconds: number").returns("Promise<T>").doc(r#"Returns a promise of the same value that is rejected with the kind `timeout` after so many seconds.

The promise is cancelled then, unless somebody else waits for it.

```luau
local slow = promise.delay(60)
local ok, err = pcall(function()
    return slow:timeout(0.01):await()
end)
assert(not ok and err.kind == "timeout" and slow:state() == "cancelled")
```"#),
    FunctionDoc::new("cancel").returns("()").doc(r#"Stops what the promise does, all that it started, and what only it waits for; connections are closed.

Who waits for it gets an error of the kind `cancelled`.

```luau
local slow = promise.delay(60)
slow:cancel()
assert(slow:state() == "cancelled")
```"#),
    FunctionDoc::new("state").returns(r#""pending" | "fulfilled" | "rejected" | "cancelled""#).doc(r#"Says what has become of the promise so far.

```luau
assert(promise.resolve(42):state() == "fulfilled")
assert(promise.delay(0.01):state() == "pending")
```"#),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use llmspell_core::Context;
    use llmspell_core::prelude_docs::FunctionDoc;
    use mlua::Table;

    use super::super::sandbox;
    use super::super::vm_state::LuauVmState;
    use super::prelude_docs;

    fn documented(functions: &[FunctionDoc]) -> BTreeSet<String> {
        functions.iter().map(|function| function.name.to_string()).collect()
    }

    fn there(table: &Table) -> BTreeSet<String> {
        table.pairs::<String, mlua::Value>().map(|entry| entry.unwrap().0).collect()
    }

    #[test]
    fn what_is_documented_is_what_is_there() {
        let host = LuauVmState::new(Context::builder().build(), Arc::default());
        let lua = sandbox::open(&host, &[]).unwrap();
        let [promise] = &prelude_docs()[..] else { panic!("there is more than promise") };
        let [class] = &promise.classes[..] else { panic!("there is more than one class") };
        let functions: Table = lua.globals().get(&*promise.name).unwrap();
        assert_eq!(documented(&promise.functions), there(&functions));
        let methods: Table = host.prelude_refs().unwrap().promise.raw_get("__index").unwrap();
        assert_eq!(documented(&class.methods), there(&methods));
    }
}
