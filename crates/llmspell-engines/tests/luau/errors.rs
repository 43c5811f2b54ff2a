//! Errors of scripts as the host sees them, and errors of the host as scripts see them.

use llmspell_core::{Bridge, CallInfo, Error, ErrorKind, Map, Method, Value};

use crate::harness::{Stage, fails, shown};

fn host() -> Bridge {
    fn overloaded() -> Error {
        Error::new(ErrorKind::Overloaded, "too busy").with_retryable(true).hint("wait").with_call(CallInfo {
            provider: Some("mock".into()),
            status: Some(529),
            attempts: 3,
            partial: Some("half".into()),
            ..CallInfo::default()
        })
    }
    Bridge::new("host")
        .method(Method::sync("get", |_, _| Err::<String, _>(overloaded())))
        .method(Method::sync("put", |_, _| Err::<(), _>(overloaded())))
        .method(Method::future("fetch", |_, _| async { Err::<String, _>(overloaded()) }))
        .method(Method::future("send", |_, _| async { Err::<(), _>(overloaded()) }))
        .method(Method::sync("ok", |_, _| Ok(())))
        .method(
            Method::sync("length", |_, mut arguments| {
                let text: String = arguments.take("text")?;
                arguments.end()?;
                Ok(text.len() as u64)
            })
            .param::<String>("text"),
        )
}

#[test]
fn errors_of_scripts_have_a_message_a_place_and_a_kind() {
    let cases = [
        ("error('boom')", "main.luau:1: boom [runtime]"),
        ("error('boom', 0)", "main.luau:1: boom [runtime]"),
        ("local function f() error('boom', 2) end\nf()", "main.luau:2: boom [runtime]"),
        ("local t = nil\nreturn t.x", "main.luau:2: attempt to index nil with 'x' [runtime]"),
        ("error('a: b: 3: c')", "main.luau:1: a: b: 3: c [runtime]"),
        ("error()", "main.luau:1: nil [runtime]"),
        ("assert(false)", "main.luau:1: assertion failed! [runtime]"),
        ("assert(nil, 'no')", "main.luau:1: no [runtime]"),
        ("error(42)", "main.luau:1: 42 [runtime]"),
        ("error({code = 5})", "main.luau:1: the script raised a table [runtime]"),
        ("error({message = 'no'})", "main.luau:1: no [runtime]"),
        ("error(setmetatable({}, {__tostring = function() return 'me' end}))", "main.luau:1: me [runtime]"),
        ("string.rep()", "main.luau:1: invalid argument #1 to 'rep' (string expected, got nil) [runtime]"),
        (
            "('x'):find(nil)",
            "main.luau:1: invalid argument #2 to 'find' (string expected, got nil) [runtime]",
        ),
        (
            "xpcall(print, 5)",
            "main.luau:1: invalid argument #2 to 'xpcall' (function expected, got number) [runtime]",
        ),
        ("coroutine.wrap(function()\nerror('in')\nend)()", "main.luau:2: in [runtime]"),
        ("coroutine.yield(1)", "main.luau:1: attempt to yield from outside a coroutine [runtime]"),
        ("return 1 +", "main.luau:1: Expected identifier when parsing expression, got <eof> [syntax]"),
        ("return 1\n--\0\nreturn 2", "main.luau:2: a source may not hold a NUL character [syntax]"),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(&fails(script)), expected, "{script}");
    }
}

#[test]
fn a_table_that_is_raised_keeps_its_value() {
    let error = fails("error({code = 5, list = {1, 2}})");
    let list = Value::List(vec![1.into(), 2.into()]);
    let value = Map::from_iter([("code".to_owned(), 5.into()), ("list".to_owned(), list)]);
    assert_eq!(error.value(), Some(&Value::Map(value)));
    assert_eq!(fails("error(true)").value(), Some(&true.into()));
}

#[test]
fn a_traceback_names_the_scripts_own_functions_alone() {
    let error = fails(
        "local function inner() error('deep') end
         local function middle() pcall(print) inner() end
         function outer() middle() end
         outer()",
    );
    let frames: Vec<_> = error
        .traceback()
        .iter()
        .map(|frame| format!("{} {}", frame.place.line, frame.function.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(frames, ["1 inner", "2 middle", "3 outer", "4 -"]);
}

#[test]
fn failures_are_returned_beside_nil_or_alone() {
    let cases = [
        ("return select('#', host.get())", Value::from(2)),
        ("return select('#', host.fetch())", Value::from(2)),
        ("return select('#', host.ok())", Value::from(0)),
        ("return select('#', host.length('abc'))", Value::from(1)),
        ("local v, err = host.get() return v == nil and err.kind", "overloaded".into()),
        ("local err = host.put() return err.message", "too busy".into()),
        ("local v, err = host.fetch() return tostring(err)", "too busy".into()),
        ("local err = host.send() return 'failed: ' .. err .. '!'", "failed: too busy!".into()),
        (
            "local _, e = host.get() return e.provider .. e.status .. e.attempts .. e.partial .. e.hint",
            "mock5293halfwait".into(),
        ),
        ("local _, e = host.get() return e.retryable", true.into()),
        ("local _, e = host.get() return e.request_id == nil", true.into()),
        (
            "local _, e = host.get() return (pcall(function() getmetatable(e).__tostring = nil end))",
            false.into(),
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn a_failure_that_a_script_raises_again_is_the_original() {
    let stage = Stage::new([host()]);
    let error = stage.eval("local _, err = host.get()\nerror(err)").unwrap_err();
    assert_eq!(shown(&error), "main.luau:2: too busy [overloaded]");
    assert_eq!(error.call().unwrap().status, Some(529));
    assert!(error.is_retryable());
    let error = stage.eval("local _, err = host.get() err.message = 'I: ' .. err error(err)").unwrap_err();
    assert_eq!(shown(&error), "main.luau:1: I: too busy [overloaded]");
    assert_eq!((error.hints(), error.call().unwrap().attempts), (&["wait".to_owned()][..], 3));
    let error = stage.eval("assert(host.get())").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
}

#[test]
fn wrong_arguments_are_raised_with_the_place() {
    let cases = [
        ("\nhost.length(5)", "main.luau:2: argument 1 (`text`): expected string, found integer [argument]"),
        ("host.length()", "main.luau:1: argument 1 (`text`): expected string, found none [argument]"),
        ("host.length('a', 1)", "main.luau:1: too many arguments: at most 1 are taken [argument]"),
        (
            "host.length({1, {x = 1, 2}})",
            "main.luau:1: argument 1 (`text`)[2]: the table mixes list items and named fields such as `x` [argument]",
        ),
        (
            "local t = {a = {}} t.a.b = t host.length(t)",
            "main.luau:1: argument 1 (`text`).a.b: the table contains itself [argument]",
        ),
        (
            "host.length(coroutine.create(print))",
            "main.luau:1: argument 1 (`text`): a thread cannot leave the script [argument]",
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(&Stage::new([host()]).eval(script).unwrap_err()), expected, "{script}");
    }
    let caught = Stage::new([host()]).eval("local _, e = pcall(host.length, 5)\nreturn e").unwrap();
    assert_eq!(caught, "main.luau:1: argument 1 (`text`): expected string, found integer".into());
    let caught =
        Stage::new([host()]).eval("return (select(2, pcall(function() host.length(5) end)))").unwrap();
    assert_eq!(caught, "main.luau:1: argument 1 (`text`): expected string, found integer".into());
}

#[test]
fn what_is_caught_has_no_trace_of_the_sandbox() {
    let cases = [
        ("return (select(2, pcall(string.rep)))", "invalid argument #1 to 'rep' (string expected, got nil)"),
        (
            "return (select(2, pcall(function() string.rep() end)))",
            "invalid argument #1 to 'rep' (string expected, got nil)",
        ),
        ("return (select(2, pcall(error, 'x')))", "x"),
        (
            "return (select(2, coroutine.resume(coroutine.create(function() error('x') end))))",
            "main.luau:1: x",
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([]).eval(script).unwrap(), expected.into(), "{script}");
    }
}
