//! The sandbox: what a spell cannot reach, and cannot poison.

use llmspell_core::bridge::Field;
use llmspell_core::{Bridge, Map, Method, Value};

use crate::harness::{Stage, eval};

fn host() -> Bridge {
    Bridge::new("host")
        .method(Method::sync("add", |_, mut arguments| {
            let (left, right): (f64, f64) = (arguments.take("left")?, arguments.take("right")?);
            arguments.end()?;
            Ok(left + right)
        }))
        .constant(Field::new("null", "", |_, _| Ok(())))
        .constant(Field::new("limits", "", |_, _| {
            let inner = Map::from_iter([("n".to_owned(), Value::from(1))]);
            Ok(Value::Map(Map::from_iter([("inner".to_owned(), Value::Map(inner))])))
        }))
}

#[test]
fn every_door_out_is_gone() {
    for name in [
        "io",
        "os",
        "debug",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "getfenv",
        "setfenv",
        "newproxy",
        "collectgarbage",
        "gcinfo",
        "package",
        "module",
        "integer",
    ] {
        assert_eq!(eval(&format!("return {name} == nil and _G.{name} == nil")), true.into(), "{name}");
    }
}

#[test]
fn what_all_code_shares_cannot_be_changed() {
    let attacks = [
        "getmetatable('').__index = function() end",
        "getmetatable('').__index.upper = function() end",
        "string.upper = function() end",
        "rawset(string, 'upper', print)",
        "table.insert(string, 1)",
        "setmetatable(string, {})",
        "math.huge = 1",
        "coroutine.yield = print",
        "host.add = function() end",
        "host.extra = 1",
        "rawset(host, 'add', print)",
        "table.clear(host)",
        "setmetatable(host, {})",
        "host.limits.inner.n = 2",
        "rawset(host.limits.inner, 'n', 2)",
        "host = nil",
        "host = {}",
        "_G.host = {}",
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = {}",
        "getmetatable(_G).__index.print = 1",
        "getmetatable(host.null).__tostring = print",
        "print.x = 1",
    ];
    for attack in attacks {
        let stage = Stage::new([host()]);
        let caught = stage.eval(&format!("return pcall(function() {attack} end)"));
        assert_eq!(caught.unwrap(), false.into(), "{attack}");
        let healthy = stage.eval("return host.add(1, 2) + #('x'):upper() + host.limits.inner.n");
        assert_eq!(healthy.unwrap(), 5.into(), "{attack}");
    }
}

#[test]
fn sessions_share_nothing() {
    let first = Stage::new([]);
    first.eval("leak = 1 _G.other = 2").unwrap();
    assert_eq!(first.eval("return leak + other").unwrap(), 3.into());
    assert_eq!(Stage::new([]).eval("return leak == nil and other == nil").unwrap(), true.into());
}

#[test]
fn bytecode_is_never_taken() {
    for text in ["\x06\x03\x00\x00", "\x1bLua"] {
        let error = Stage::new([]).eval(text).expect_err(&format!("{text:?}"));
        assert_eq!(error.kind().as_str(), "syntax");
    }
}

#[test]
fn a_spell_in_the_manner_of_lua_5_1_runs() {
    let printed = |script: &str| {
        let stage = Stage::new([]);
        stage.eval(script).unwrap();
        stage.printed.text()
    };
    let cases = [
        ("print(unpack({1, 2}))", "1\t2\n"),
        ("print(table.unpack({1, 2}))", "1\t2\n"),
        ("print((string.gsub('hello', 'l', 'L')))", "heLLo\n"),
        ("print(('x'):rep(3))", "xxx\n"),
        ("print(10 / 2, 0.1, 2^53, 1e100, -0)", "5\t0.1\t9007199254740992\t1e+100\t-0\n"),
        ("print(#'abc', nil, true)", "3\tnil\ttrue\n"),
        ("print()", "\n"),
        ("function greet(n) return 'hi ' .. n end print(greet('Ada'))", "hi Ada\n"),
        ("count = 1 local function up() count = count + 1 end up() print(count, _G.count)", "2\t2\n"),
        ("local t = {5, 3} table.sort(t) print(t[1], table.concat(t, ','))", "3\t3,5\n"),
        ("for k, v in pairs({a = 1}) do print(k, v) end", "a\t1\n"),
        ("local t = setmetatable({}, {__tostring = function() return 'me' end}) print(t)", "me\n"),
        ("print(string.format('%5.2f|%d|%q', 1.5, 3, 'a'))", " 1.50|3|\"a\"\n"),
        ("print(pcall(error, 'x'))", "false\tx\n"),
        ("print(select('#', pcall(function() return 1, nil, 3 end)))", "4\n"),
        ("print(coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)(1))", "2\n"),
        (
            "local co = coroutine.create(function(...) return ... end) print(coroutine.resume(co, 1, nil, 3))",
            "true\t1\tnil\t3\n",
        ),
        ("print(xpcall(function() error('e', 0) end, function(m) return m .. '!' end))", "false\te!\n"),
    ];
    for (script, expected) in cases {
        assert_eq!(printed(script), expected, "{script}");
    }
}

#[test]
fn chance_is_the_same_each_time() {
    assert_eq!(eval("return math.random(1e9)"), eval("return math.random(1e9)"));
}

#[test]
fn globals_of_one_chunk_are_seen_by_the_next_as_they_are_now() {
    let stage = Stage::new([]);
    stage.eval("count = 1").unwrap();
    stage.eval("function read() return count end").unwrap();
    stage.eval("count = 2").unwrap();
    assert_eq!(stage.call("read", vec![]).unwrap(), 2.into());
    stage.session.set("count", 3.into()).unwrap();
    assert_eq!(stage.call("read", vec![]).unwrap(), 3.into());
}
