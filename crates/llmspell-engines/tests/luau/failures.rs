//! A failure of the host is returned where the call site takes it, and raised everywhere else.

use llmspell_core::{Bridge, Callback, Error, ErrorKind, Method, Value};

use crate::harness::{Stage, shown};

/// Returns a bridge whose functions fail: `get` and `fetch` in place of a value, `put` and `send` in place of nothing.
fn host() -> Bridge {
    fn busy() -> Error {
        Error::new(ErrorKind::Overloaded, "busy").hint("wait")
    }
    Bridge::new("host")
        .method(Method::sync("get", |_, _| Err::<String, _>(busy())))
        .method(Method::sync("put", |_, _| Err::<(), _>(busy())))
        .method(Method::sync("open", |_, _| Err::<String, _>(Error::denied("closed"))))
        .method(Method::sync("ok", |_, _| Ok(())))
        .method(Method::future("fetch", |_, _| async {
            tokio::task::yield_now().await;
            Err::<String, _>(busy())
        }))
        .method(Method::future("send", |_, _| async {
            tokio::task::yield_now().await;
            Err::<(), _>(busy())
        }))
        .method(Method::future("call", |_, mut arguments| async move {
            let callback: Callback = arguments.take("callback")?;
            callback.call(vec![]).await
        }))
}

/// Runs a script, once with functions that fail at once and once with functions that fail after a while.
fn outcomes(script: &str) -> [Result<Value, Error>; 2] {
    let run = |script: &str| Stage::new([host()]).eval(script);
    [run(script), run(&script.replace("host.get", "host.fetch").replace("host.put", "host.send"))]
}

#[test]
fn a_failure_is_returned_where_the_call_site_takes_it() {
    let cases = [
        "local value, err = host.get() return err.kind",
        "local value, err =\n host\n .get(\n 1) return err.kind",
        "local t = {} t.value, t.err = host.get() return t.err.kind",
        "return (select(2, host.get())).kind",
        "return table.pack(host.get())[2].kind",
        "return ({host.get()})[2].kind",
        "local function use(value, err) return err.kind end return use(host.get())",
        "local function wrapped() return host.get() end local value, err = wrapped() return err.kind",
        "local function wrapped() return host.get() end local function again() return wrapped() end
         local value, err = again() return err.kind",
        "local function wrapped() return 1, host.get() end local one, value, err = wrapped() return err.kind",
        "local ok, value, err = pcall(host.get) assert(ok) return err.kind",
        "local ok, value, err = pcall(function() return host.get() end) assert(ok) return err.kind",
        "local ok, value, err = xpcall(host.get, print) assert(ok) return err.kind",
        "return (select(2, coroutine.wrap(function() return host.get() end)())).kind",
        "local value, err = coroutine.wrap(host.get)() return err.kind",
        "return (promise.spawn(host.get):catch(function(err) return err.kind end):await())",
        "return (promise.map({1}, host.get):catch(function(err) return err.kind end):await())",
        "return (promise.resolve(1):next(host.get):catch(function(err) return err.kind end):await())",
        "return host.get() or 'overloaded'",
        "local ok, err = pcall(function() return assert(host.get()) end) assert(not ok) return err.kind",
        "local ok, err = pcall(function() assert(host.get(), 'overloaded') end) return (string.match(err, '%a+$'))",
        "local err = host.put() return err.kind",
        "local function wrapped() return host.put() end local err = wrapped() return err.kind",
        "local p = promise.spawn(host.get) local value, err = p:await() return err.kind",
        "local p = promise.spawn(host.get) local value, err = p:await(30) return err.kind",
        "local p = promise.reject('overloaded') local value, err = p:await() return err",
        "local function wait(p) return p:await() end local value, err = wait(promise.spawn(host.get)) return err.kind",
    ];
    for script in cases {
        for outcome in outcomes(script) {
            assert_eq!(outcome.unwrap_or_else(|error| panic!("{script}\n{error:?}")), "overloaded".into());
        }
    }
    let late = "local p = promise.delay(60) local value, err = p:await(1) return err.kind";
    assert_eq!(Stage::new([]).eval(late).unwrap(), "timeout".into());
}

#[test]
fn a_failure_is_raised_everywhere_else() {
    let cases = [
        "host.get()",
        "host.put()",
        "local value = host.get()",
        "local ok, err = host.put()",
        "print(host.get())",
        "assert(host.put())",
        "tostring(host.get())",
        "local t = {host.get(), 1}",
        "for item in host.get() do end",
        "return host.get() .. ''",
        "return (host.get())",
        "return 1, host.get()",
        "if host.get() then end",
        "local x = if host.get() then 1 else 2",
        "local value, err = host.get() :: any",
        "local function wrapped() return host.get() end print(wrapped())",
        "local function wrapped() return host.get() end wrapped()",
        "local function wrapped() return 1, host.get() end local value, err = wrapped()",
        "return host.get()",
        "return host.put()",
        "pcall(error) return host.put() or nil",
        "promise.spawn(host.get):await()",
        "promise.spawn(host.put):await()",
        "promise.spawn(function() host.put() end):await()",
        "print(promise.spawn(host.get):await())",
        "local value = promise.spawn(host.get):await()",
        "return promise.spawn(host.get):await()",
        "assert(promise.spawn(host.get):await())",
        "promise.new(function() host.get() end):await()",
        "promise.new(function() return host.get() end):await()",
        "promise.resolve(1):finally(function() host.put() end):await()",
        "promise.resolve(1):finally(host.get):await()",
        "host.call(function() host.put() end)",
        "host.call(function() return host.get() end)",
        "host.call(host.get)",
        "host.call(host.put)",
        "coroutine.wrap(function() host.get() end)()",
        "coroutine.wrap(host.put)()",
    ];
    for script in cases {
        for outcome in outcomes(script) {
            let error =
                outcome.map_err(|error| (error.kind(), error.message().to_owned(), error.hints().to_vec()));
            let expected = (ErrorKind::Overloaded, "busy".to_owned(), vec!["wait".to_owned()]);
            assert_eq!(error, Err(expected), "{script}");
        }
    }
}

#[test]
fn a_raised_failure_has_the_place_of_its_call() {
    let cases = [
        "\nhost.get()",
        "\nreturn host.get()",
        "local x =\nhost.get()",
        "local function wrapped()\nreturn host.get() end\nprint(wrapped())",
        "pcall(print)\nhost.put()",
    ];
    for script in cases {
        for outcome in outcomes(script) {
            assert_eq!(shown(&outcome.unwrap_err()), "main.luau:2: busy [overloaded]", "{script}");
        }
    }
}

#[test]
fn a_raised_failure_is_caught_as_an_err_table() {
    let cases = [
        ("local ok, err = pcall(function() host.get() end) return err.kind", "overloaded"),
        ("local ok, err = pcall(host.put) return err.hint", "wait"),
        ("local ok, err = pcall(function() print(host.get()) end) return 'it is ' .. err", "it is busy"),
        (
            "local ok, kind = xpcall(function() host.get() end, function(err) return err.kind end) return kind",
            "overloaded",
        ),
        ("local co = coroutine.create(host.put) return (select(2, coroutine.resume(co))).kind", "overloaded"),
        (
            "local p = promise.spawn(function() host.put() end) return p:catch(function(e) return e.kind end):await()",
            "overloaded",
        ),
    ];
    for (script, expected) in cases {
        for outcome in outcomes(script) {
            assert_eq!(outcome.unwrap(), expected.into(), "{script}");
        }
    }
    let [again, _] = outcomes("local ok, err = pcall(function()\nhost.get() end) error(err)");
    assert_eq!(shown(&again.unwrap_err()), "main.luau:2: busy [overloaded]");
}

#[test]
fn a_default_does_not_hide_that_a_permission_is_missing() {
    let open = |script: &str| Stage::new([host()]).eval(script).map_err(|error| error.kind());
    assert_eq!(open("return host.open() or 'default'"), Err(ErrorKind::PermissionDenied));
    assert_eq!(open("local value, err = host.open() return err.kind"), Ok("permission.denied".into()));
}

#[test]
fn calls_of_one_name_on_one_line_must_agree() {
    let [error, _] = outcomes("host.get(host.get() or 1)");
    let hint = "line 1 calls `get` more than once, and not all of the calls take an error: \
                put each call on a line of its own";
    assert_eq!(error.unwrap_err().hints(), ["wait", hint]);
}

#[test]
fn a_module_has_no_room() {
    let files = [("lib.luau", "return host.get()")];
    let stage = Stage::with([host()], |builder| {
        builder.modules(std::sync::Arc::new(crate::harness::Files(files.into_iter().collect())))
    });
    let error = stage.eval("local lib, err = require('./lib')").unwrap_err();
    assert_eq!(shown(&error), "lib.luau:1: busy [overloaded]");
    let caught = stage.eval("local ok, err = pcall(require, './lib') assert(not ok) return err.kind");
    assert_eq!(caught.unwrap(), "overloaded".into());
}

#[test]
fn a_script_that_nests_deep_raises_all_failures() {
    let deep = format!("local x = {}1{}\n", "(".repeat(900), ")".repeat(900));
    let error = Stage::new([host()]).eval(&format!("{deep}local value, err = host.get()")).unwrap_err();
    assert_eq!(shown(&error), "main.luau:2: busy [overloaded]");
    assert!(error.hints()[1].contains("nests more than 200 levels deep"), "{:?}", error.hints());
    let caught = format!("{deep}return (select(3, pcall(host.get))).kind");
    assert_eq!(Stage::new([host()]).eval(&caught).unwrap(), "overloaded".into());
}

#[test]
fn assert_accepts_the_success_of_a_function_without_a_result() {
    assert_eq!(Stage::new([host()]).eval("assert(host.ok()) return assert(1)").unwrap(), 1.into());
    assert_eq!(Stage::new([]).eval("return (pcall(assert, nil))").unwrap(), false.into());
}

#[test]
fn a_failure_is_raised_where_luau_calls_a_function_for_a_built_in() {
    // An async function cannot wait there.
    let cases = [
        "local t = setmetatable({}, {__index = function() return host.get() end}) return t.x",
        "local m = {f = function(x) return x end} local t = setmetatable({}, {__index = function() return host.get() end})
         local a, b = m.f(t.x)",
        "local t = setmetatable({}, {__tostring = function() return host.get() end}) print(t)",
        "table.sort({1, 2}, function() return host.get() end)",
        "string.gsub('a', 'a', function() return host.get() end)",
        "string.gsub('a', 'a', host.get)",
    ];
    for script in cases {
        let error = Stage::new([host()]).eval(script).unwrap_err();
        assert_eq!(shown(&error), "main.luau:1: busy [overloaded]", "{script}");
    }
}
