//! Renewal: a VM in which a run has ended behaves like a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use llmspell_core::{Bridge, ContextBuilder, Limits, Method, Value};

use crate::harness::{Files, Stage, shown};

fn with_files(builder: ContextBuilder) -> ContextBuilder {
    let counter = "local count = 0 return {next = function() count += 1 return count end}";
    builder.modules(Arc::new(Files(HashMap::from([("counter.luau", counter)]))))
}

/// Each script returns what it found, and leaves something behind.
#[test]
fn a_run_finds_nothing_of_the_one_before() {
    let cases = [
        ("a global", "local found = left; left = 1; return found", Value::Nil),
        (
            "a global set raw",
            "local found = rawget(_G, 'left'); rawset(_G, 'left', 1); return found",
            Value::Nil,
        ),
        (
            "a built-in that is hidden",
            "local found = print == type; print = type; return found",
            false.into(),
        ),
        (
            "all globals",
            "local n = 0 for k in _G do n += 1; end for i = 1, 99 do _G['x' .. i] = i end return n",
            1.into(),
        ),
        ("frozen globals", "return (pcall(table.freeze, _G))", false.into()),
        ("a module", "return require('./counter').next()", 1.into()),
        (
            "an upvalue of a global function",
            "local found = count and count(); local n = 0; function count() n += 1; return n end; count(); return found",
            Value::Nil,
        ),
        (
            "a coroutine",
            "local found = co and coroutine.status(co); co = coroutine.create(print); return found",
            Value::Nil,
        ),
        ("a promise", "local found = waits; waits = promise.new(function() end); return found", Value::Nil),
        (
            "what a promise came to",
            "local n = 0; promise.resolve(1):next(function() n += 1 end):await(); return n",
            1.into(),
        ),
        ("a metatable", "return pcall(setmetatable, _G, {__index = error})", false.into()),
    ];
    for (what, script, found) in cases {
        let mut stage = Stage::with([], with_files);
        for round in 1..=3 {
            assert_eq!(stage.eval(script).unwrap(), found, "{what}, round {round}");
            stage.renew(with_files);
        }
    }
}

#[test]
fn random_numbers_begin_anew() {
    let mut stage = Stage::new([]);
    let draw = "local drawn = {} for i = 1, 5 do drawn[i] = math.random(1000000) end return drawn";
    let first = stage.eval(draw).unwrap();
    assert_ne!(stage.eval(draw).unwrap(), first);
    stage.renew(|builder| builder);
    assert_eq!(stage.eval(draw).unwrap(), first);
    stage.eval("math.randomseed(7)").unwrap();
    stage.renew(|builder| builder);
    assert_eq!(stage.eval(draw).unwrap(), first);
}

#[test]
fn limits_count_anew_and_are_those_of_the_new_run() {
    let cpu = Duration::from_millis(30);
    let mut stage = Stage::limited(Limits { cpu, ..Limits::default() });
    assert_eq!(
        shown(&stage.eval("while true do end").unwrap_err()),
        "main.luau:1: the spell reached its cpu limit of 30ms [limit.cpu]"
    );
    stage.renew(|builder| builder);
    assert_eq!(stage.eval("for i = 1, 1000000 do end return 'went on'").unwrap(), "went on".into());
    stage.renew(|builder| builder.limits(Limits { memory: 1 << 20, ..Limits::default() }));
    let fill = "local kept = {} for i = 1, 200000 do kept[i] = {i} end return #kept";
    assert_eq!(stage.eval(fill).unwrap_err().kind().as_str(), "limit.memory");
    stage.renew(|builder| builder);
    assert_eq!(stage.eval(fill).unwrap(), 200_000.into());
}

#[test]
fn what_a_run_left_is_collected() {
    let mut stage = Stage::new([]);
    let fresh = stage.session.memory();
    for _ in 0..20 {
        stage.eval("kept = string.rep('x', 5000000) promise.delay(1, kept):await()").unwrap();
        stage.renew(|builder| builder);
        assert!(stage.session.memory() < fresh + fresh / 4, "{} after {fresh}", stage.session.memory());
    }
}

#[derive(Default)]
struct Kept;

fn bridge() -> Bridge {
    Bridge::new("host").method(Method::sync("keep", |cx, _| {
        let _made = cx.state::<Kept>();
        Ok(())
    }))
}

/// The state of bridges ends with its run, even if a promise referred to the run.
#[test]
fn the_context_of_the_run_before_is_let_go_of() {
    for script in
        ["host.keep()", "promise.spawn(host.keep):await()", "kept = function() host.keep() end kept()"]
    {
        let mut stage = Stage::new([bridge()]);
        stage.eval(script).unwrap();
        let kept = Arc::downgrade(&stage.cx.state::<Kept>());
        assert!(kept.upgrade().is_some());
        stage.renew(|builder| builder);
        assert!(kept.upgrade().is_none(), "{script}");
    }
}
