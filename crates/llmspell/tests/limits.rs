//! Attacks of each kind end soon, with the limit that they reached, and no code of the spell runs afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::{Duration, Instant};

use llmspell::{Method, Outcome, Runtime, Spell};

const CPU: Duration = Duration::from_millis(150);
/// How far a run in an interruptible VM may exceed its limit.
const GRACE: Duration = Duration::from_millis(250);

fn run(script: &str) -> Outcome {
    run_within(CPU, script)
}

fn run_within(cpu: Duration, script: &str) -> Outcome {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let spell = Spell::from_source("attack.luau", script).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cast = runtime.run(spell).limits(|limits| {
        limits.cpu = cpu;
        limits.memory = 64 << 20;
        limits.output = 1 << 20;
    });
    tokio.block_on(cast.start().outcome())
}

fn kind(outcome: &Outcome) -> &'static str {
    outcome.error.as_ref().map_or("none", |error| error.kind().as_str())
}

#[test]
fn a_busy_script_ends_at_its_cpu_limit_whatever_its_shape() {
    for (shape, script) in [
        ("a loop", "while true do end"),
        ("a loop of pcalls", "while true do pcall(function() while true do end end) end"),
        (
            "a pcall that comes back for more",
            "local function again() pcall(again) again() end pcall(again) while true do pcall(again) end",
        ),
        (
            "an error handler",
            "while true do xpcall(function() error('x') end, function() while true do end end) end",
        ),
        (
            "a metamethod",
            "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x",
        ),
        (
            "an arithmetic metamethod",
            "local t = setmetatable({}, {__add = function() while true do end end}) return t + 1",
        ),
        (
            "tostring of what is raised",
            "error(setmetatable({}, {__tostring = function() while true do end end}))",
        ),
        ("a coroutine", "coroutine.wrap(function() while true do end end)()"),
        ("coroutines without end", "while true do coroutine.wrap(function() coroutine.yield() end)() end"),
        (
            "a coroutine resumed for ever",
            "local c = coroutine.create(function() while true do coroutine.yield() end end) while true do coroutine.resume(c) end",
        ),
        (
            "a comparator",
            "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) while true do end end)",
        ),
        ("a pattern", "return string.find(('a'):rep(1e5), '.-.-.-.-b')"),
        ("a replacement", "return string.gsub(('a'):rep(1e5), 'a', function() while true do end end)"),
        (
            "a plain search again and again",
            "local s = ('a'):rep(1e6) while true do string.find(s, s .. 'b', 1, true) end",
        ),
        ("an iterator", "for _ in function() return 1 end do end"),
        (
            "a deep recursion again and again",
            "local function f() return f() + 1 end while true do pcall(f) end",
        ),
        ("formatting", "while true do string.format('%99.99f', 1/3) end"),
        ("concatenation", "local t = table.create(1e5, 'x') while true do table.concat(t) end"),
        ("moving", "local t = table.create(1e6, 1) while true do table.move(t, 1, 1e6, 2) end"),
    ] {
        let outcome = run(script);
        assert_eq!(kind(&outcome), "limit.cpu", "{shape}: {:?}", outcome.error);
        assert!(outcome.cpu < CPU + GRACE, "{shape} took {:?}", outcome.cpu);
    }
}

#[test]
fn nothing_the_spell_wrote_runs_after_a_limit() {
    for script in [
        "pcall(function() while true do end end) print('after')",
        "xpcall(function() while true do end end, function() print('after') end) print('after')",
        "local c = coroutine.create(function() while true do end end) coroutine.resume(c) print('after')",
        "pcall(function() coroutine.wrap(function() while true do end end)() end) print('after')",
        "pcall(string.rep, 'x', 1e9) print('after')",
        "pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end) print('after')",
        "pcall(function() while true do print(('x'):rep(1e5)) end end) error('after')",
    ] {
        let outcome = run_within(Duration::from_secs(1), script);
        assert!(
            outcome.error.as_ref().is_some_and(llmspell::Error::is_limit),
            "{script}: {:?}",
            outcome.error
        );
        assert!(!outcome.output.contains("after"), "{script}");
    }
}

#[test]
fn memory_is_bounded_whatever_holds_it() {
    for (shape, script) in [
        ("strings", "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end"),
        ("one string", "return ('x'):rep(1e9)"),
        ("doubling", "local s = 'x' while true do s = s .. s end"),
        ("tables", "local t = {} while true do t = {t} end"),
        ("closures", "local t = {} while true do t[#t + 1] = function() return t end end"),
        ("coroutines", "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end"),
        ("one table", "return table.create(1e8, 1)"),
        ("a buffer", "return buffer.create(1e9)"),
        ("keys", "local t = {} local i = 0 while true do i += 1 t['key' .. i] = i end"),
        ("replacement", "local s = ('x'):rep(1e5) return string.gsub(s, 'x', s)"),
        (
            "conversations",
            "local s = ('x'):rep(1e6) local t = {} while true do t[#t + 1] = llm.conversation {system = s} end",
        ),
        (
            "forks of a conversation",
            "local c = llm.conversation {system = ('x'):rep(1e6)} local t = {} while true do t[#t + 1] = c:fork() end",
        ),
    ] {
        let outcome = run_within(Duration::from_secs(20), script);
        assert_eq!(kind(&outcome), "limit.memory", "{shape}: {:?}", outcome.error);
    }
}

#[test]
fn garbage_does_not_count_as_memory() {
    let script = "
        local live = {}
        for i = 1, 40 do live[i] = ('x'):rep(1e6) .. i end
        for i = 1, 2000 do local garbage = ('y'):rep(1e5) .. i end
        return #live";
    let outcome = run_within(Duration::from_secs(20), script);
    assert_eq!(outcome.into_result().unwrap(), 40.into());
}

#[test]
fn conversations_that_nobody_holds_do_not_count_as_memory() {
    let script = "for i = 1, 100 do llm.conversation {system = ('x'):rep(1e6)} end return 'done'";
    let outcome = run_within(Duration::from_secs(20), script);
    assert_eq!(outcome.into_result().unwrap(), "done".into());
}

#[test]
fn log_lines_without_text_are_output_too() {
    for script in
        ["while true do log.debug('') end", "local t = {{}, {}} while true do log.debug('', {t = t}) end"]
    {
        let outcome = run_within(Duration::from_secs(20), script);
        assert_eq!(kind(&outcome), "limit.output", "{script}");
        assert!(outcome.logs.len() <= 1 << 13, "{}", outcome.logs.len());
    }
}

#[test]
fn output_is_bounded() {
    let outcome = run("while true do print(('x'):rep(1000)) end");
    assert_eq!(kind(&outcome), "limit.output");
    assert!(outcome.output.len() <= 1 << 20);
}

#[test]
fn a_busy_neighbour_does_not_hold_up_its_own_worker() {
    let wait = Duration::from_millis(10);
    let pause = Method::future("pause", move |_, _| async move {
        tokio::time::sleep(wait).await;
        Ok(())
    });
    let runtime = Runtime::builder().workers(1).function(pause).build().unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for busy in [
        "while true do end",
        "while true do pcall(function() for i = 1, 1e6 do end end) end",
        "while true do coroutine.wrap(function() for i = 1, 1e6 do end end)() end",
        "while true do local t = {3, 1, 2} table.sort(t, function(a, b) return a < b end) end",
    ] {
        let busy_spell = Spell::from_source("busy.luau", busy).unwrap();
        let ticks = Spell::from_source("ticks.luau", "for i = 1, 20 do pause() end").unwrap();
        let (outcome, took) = tokio.block_on(async {
            let busy = runtime.run(busy_spell).start();
            let began = Instant::now();
            let outcome = runtime.run(ticks).start().outcome().await;
            let took = began.elapsed();
            busy.cancel();
            assert_eq!(kind(&busy.outcome().await), "cancelled");
            (outcome, took)
        });
        assert_eq!(kind(&outcome), "none", "{busy}: {:?}", outcome.error);
        assert!(took < 20 * (wait + Duration::from_millis(60)), "{busy}: the ticks took {took:?}");
    }
}

#[test]
fn a_busy_neighbour_does_not_hold_up_another_worker() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, busy) in [
        ("busy.luau", "while true do end"),
        ("busy.js", "for (;;) {}"),
        ("busy.js", "function flood() { queueMicrotask(flood) } flood(); await new Promise(() => {})"),
        ("busy.js", "for (;;) await null"),
    ] {
        let busy = Spell::from_source(name, busy).unwrap();
        let quick = Spell::from_source("quick.luau", "return 1").unwrap();
        tokio.block_on(async {
            let busy = runtime.run(busy).start();
            for _ in 0..20 {
                let outcome = runtime.run(quick.clone()).start().outcome().await;
                assert_eq!(outcome.into_result().unwrap(), 1.into());
            }
            busy.cancel();
            assert_eq!(kind(&busy.outcome().await), "cancelled");
        });
    }
}
