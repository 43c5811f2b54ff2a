//! Promises: their results, their order, and the end of those that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llmspell_core::{Bridge, ErrorKind, Limit, Limits, Method, Value};

use crate::harness::{Stage, eval, fails, shown};

/// Returns the value of a script.
#[track_caller]
fn table(cases: &[(&str, &str, &str)]) {
    for (name, script, expected) in cases {
        let value = Stage::new([]).eval(script).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(value, Value::from(*expected), "{name}");
    }
}

#[test]
fn a_promise_is_settled_once_by_its_executor_or_by_what_it_raises() {
    table(&[
        ("resolved", "return promise.new(function(resolve) resolve('a') end):await()", "a"),
        ("resolved twice", "return promise.new(function(r) r('a') r('b') end):await()", "a"),
        ("resolved, then rejected", "return promise.new(function(r, no) r('a') no('b') end):await()", "a"),
        ("resolved, then raised", "return promise.new(function(r) r('a') error('b') end):await()", "a"),
        (
            "rejected",
            "return select(2, pcall(function() promise.new(function(_, no) no('b') end):await() end))",
            "b",
        ),
        (
            "raised",
            "return select(2, pcall(function() promise.new(function() error('c') end):await() end))",
            "main.luau:1: c",
        ),
        (
            "resolved later, from elsewhere",
            "local r
             local p = promise.new(function(resolve) r = resolve end)
             promise.spawn(function() promise.delay(1):await() r('late') end)
             return p:await()",
            "late",
        ),
        (
            "an executor that waits",
            "local p = promise.new(function(resolve) promise.delay(1):await() resolve('x') end)
             local before = p:state()
             return before .. ' ' .. p:await() .. ' ' .. p:state()",
            "pending x fulfilled",
        ),
        (
            "settled by a promise",
            "return promise.new(function(r) r(promise.delay(1, 'in')) end):await()",
            "in",
        ),
        (
            "settled by itself",
            "local r
             local p = promise.new(function(resolve) r = resolve end)
             r(p)
             return select(2, pcall(function() p:await() end))",
            "a promise cannot wait for itself",
        ),
        ("returned from the script", "return promise.delay(1, 'value')", "value"),
    ]);
}

#[test]
fn executors_start_at_once_and_overlap() {
    let value = eval(
        "local order = {}
         local list = {}
         for i = 1, 3 do
             list[i] = promise.new(function(resolve)
                 table.insert(order, 'start ' .. i)
                 promise.delay(4 - i):await()
                 table.insert(order, 'end ' .. i)
                 resolve(i)
             end)
         end
         table.insert(order, 'all started')
         table.insert(order, table.concat(promise.all(list):await(), '+'))
         return table.concat(order, ', ')",
    );
    assert_eq!(value, "start 1, start 2, start 3, all started, end 3, end 2, end 1, 1+2+3".into());
}

#[test]
fn handlers_run_after_the_script_waits_in_the_order_of_promises_a_plus() {
    table(&[
        (
            "never at once",
            "local out = {}
             local function say(text) return function() table.insert(out, text) end end
             promise.resolve():next(say('2'))
             promise.reject('x'):catch(say('3'))
             table.insert(out, '1')
             promise.delay(0):await()
             return table.concat(out)",
            "123",
        ),
        (
            "chains take turns",
            "local out = {}
             local function say(text) return function() table.insert(out, text) end end
             promise.resolve():next(say('a1')):next(say('a2')):next(say('a3'))
             promise.resolve():next(say('b1')):next(say('b2')):next(say('b3'))
             promise.delay(0):await()
             return table.concat(out, ' ')",
            "a1 b1 a2 b2 a3 b3",
        ),
        (
            "in the order of registration",
            "local out = {}
             local r
             local p = promise.new(function(resolve) r = resolve end)
             for i = 1, 3 do p:next(function() table.insert(out, i) end) end
             r()
             for i = 4, 5 do p:next(function() table.insert(out, i) end) end
             promise.delay(0):await()
             return table.concat(out)",
            "12345",
        ),
        (
            "before a script that waits for what is settled",
            "local out = {}
             promise.resolve():next(function() table.insert(out, 'handler') end)
             promise.resolve():await()
             table.insert(out, 'script')
             return table.concat(out, ' ')",
            "handler script",
        ),
    ]);
}

#[test]
fn handlers_pass_on_values_errors_and_promises() {
    table(&[
        ("a value", "return promise.resolve(1):next(function(v) return v + 1 end):await() .. ''", "2"),
        ("no handler", "return promise.resolve('v'):next():catch(error):await()", "v"),
        (
            "a promise is flattened",
            "return promise.resolve(1):next(function() return promise.delay(1, 'p') end):await()",
            "p",
        ),
        (
            "an error is caught",
            "return promise.reject('e'):next(error):catch(function(e) return e .. '!' end):await()",
            "e!",
        ),
        (
            "an error in a handler",
            "return promise.resolve():next(function() error('h', 0) end):catch(function(e) return e end):await()",
            "h",
        ),
        (
            "a handler that waits",
            "return promise.resolve('a'):next(function(v) return v .. promise.delay(1, 'b'):await() end):await()",
            "ab",
        ),
        (
            "finally keeps the value",
            "local n = 0
             local v = promise.resolve('v'):finally(function() n += 1 return 'other' end):await()
             return v .. n",
            "v1",
        ),
        (
            "finally keeps the error",
            "local ran
             local p = promise.reject('e'):finally(function() ran = 'ran ' end)
             return select(2, pcall(function() p:await() end)), ran and nil",
            "e",
        ),
        (
            "finally waits",
            "local out = {}
             promise.resolve():finally(function() promise.delay(1):await() table.insert(out, 'f') end):await()
             return out[1]",
            "f",
        ),
        (
            "finally can fail",
            "return promise.resolve('v'):finally(function() error('f', 0) end):catch(function(e) return e end):await()",
            "f",
        ),
        (
            "nil and a reason is a failure",
            "return promise.spawn(function() return nil, 'reason' end):catch(function(e) return e end):await()",
            "reason",
        ),
    ]);
}

#[test]
fn tables_keep_their_identity() {
    let script = "local t, e = {}, {}
         local a = promise.resolve(t):next(function(v) return v end):await()
         local _, b = pcall(function() promise.reject(e):finally(function() end):await() end)
         return a == t and b == e and promise.all {promise.resolve(t)}:await()[1] == t";
    assert_eq!(eval(script), true.into());
}

#[test]
fn lists_of_promises_come_to_one() {
    table(&[
        ("all, in order", "return table.concat(promise.all {promise.delay(2, 'a'), 'b', promise.delay(1, 'c')}:await())", "abc"),
        ("all of none", "return #promise.all({}):await() .. ''", "0"),
        ("all, one rejected", "return promise.all {promise.delay(9), promise.reject('no')}:catch(tostring):await()", "no"),
        ("race", "return promise.race {promise.delay(2, 'slow'), promise.delay(1, 'fast')}:await()", "fast"),
        ("race to fail", "return promise.race {promise.delay(2), promise.reject('no')}:catch(tostring):await()", "no"),
        ("any", "return promise.any {promise.reject('no'), promise.delay(1, 'yes')}:await()", "yes"),
        (
            "any of none that works",
            "return promise.any {promise.reject('a'), promise.reject('b')}
                 :catch(function(e) return e.message .. ': ' .. table.concat(e.errors, ' ') end):await()",
            "every promise was rejected: a b",
        ),
        (
            "all settled",
            "local out = {}
             for _, r in promise.all_settled {promise.delay(1, 'v'), promise.reject('e'), 3}:await() do
                 table.insert(out, r.status .. ' ' .. tostring(r.value or r.reason))
             end
             return table.concat(out, ', ')",
            "fulfilled v, rejected e, fulfilled 3",
        ),
        (
            "map, with so many at once",
            "local now, most = 0, 0
             local out = promise.map({1, 2, 3, 4, 5}, function(v, i)
                 now += 1
                 most = math.max(most, now)
                 promise.delay(6 - v):await()
                 now -= 1
                 return v * 10 + i
             end, {concurrency = 2}):await()
             return table.concat(out, ' ') .. ' / ' .. most",
            "11 22 33 44 55 / 2",
        ),
        (
            "map that fails starts no more",
            "local started = 0
             local p = promise.map({1, 2, 3, 4}, function(v)
                 started += 1
                 promise.delay(v):await()
                 error('at ' .. v, 0)
             end, {concurrency = 2})
             local _, e = pcall(function() p:await() end)
             promise.delay(9):await()
             return e .. ' of ' .. started",
            "at 1 of 2",
        ),
        (
            "retry",
            "return promise.retry(function(attempt)
                 if attempt < 3 then error('again', 0) end
                 return 'done at ' .. attempt
             end, {attempts = 3, delay = 1, factor = 2}):await()",
            "done at 3",
        ),
        (
            "retry gives up",
            "return promise.retry(function(attempt) error('no ' .. attempt, 0) end, {attempts = 2, delay = 0})
                 :catch(tostring):await()",
            "no 2",
        ),
    ]);
}

#[test]
fn waiting_can_be_cut_short() {
    table(&[
        (
            "await",
            "local p = promise.delay(5, 'there')
             local ok, e = pcall(function() return p:await(1) end)
             return e.kind .. ': ' .. e .. '; ' .. p:state() .. '; ' .. p:await()",
            "timeout: the promise was not settled within 1 s; pending; there",
        ),
        ("await in time", "return promise.delay(1, 'v'):await(5)", "v"),
        (
            "timeout",
            "local p = promise.delay(5)
             local _, e = pcall(function() p:timeout(1):await() end)
             return e.kind .. ' ' .. p:state()",
            "timeout cancelled",
        ),
        (
            "timeout of what another waits for",
            "local p = promise.delay(5, 'v')
             local other = p:next(function(v) return v end)
             pcall(function() p:timeout(1):await() end)
             return p:state() .. ' ' .. other:await()",
            "pending v",
        ),
        ("timeout in time", "return promise.delay(1, 'v'):timeout(5):await()", "v"),
        (
            "cancel",
            "local out = {}
             local p = promise.spawn(function() promise.delay(1):await() table.insert(out, 'ran on') end)
             p:catch(function(e) table.insert(out, e.kind) end)
             p:cancel()
             promise.delay(5):await()
             return p:state() .. ' ' .. table.concat(out, ' ')",
            "cancelled cancelled",
        ),
        (
            "cancel takes along what it started and what it waits for",
            "local inner, source
             local p = promise.spawn(function()
                 inner = promise.spawn(function() promise.delay(5):await() end)
                 return inner
             end)
             source = promise.delay(9)
             local q = source:next(function() end)
             p:cancel() q:cancel()
             return inner:state() .. ' ' .. source:state()",
            "cancelled cancelled",
        ),
    ]);
}

#[test]
fn an_error_keeps_its_value_and_its_traceback_over_await() {
    let error = fails(
        "local function inner()
             promise.delay(1):await()
             error('deep')
         end
         local p = promise.spawn(function() inner() end)
         p:await()",
    );
    assert_eq!(shown(&error), "main.luau:3: deep [runtime]");
    let lines: Vec<_> = error.traceback().iter().map(|frame| frame.place.line).collect();
    assert_eq!(lines, [3, 5]);

    let error = fails("promise.spawn(function() error({code = 7}) end):await()");
    assert_eq!(error.value().and_then(|value| value.get("code")), Some(&7.into()));
}

#[test]
fn a_rejection_that_nobody_asks_about_fails_the_spell_where_it_was_raised() {
    for (script, expected) in [
        ("promise.spawn(function() error('lost') end)", "main.luau:1: lost [runtime]"),
        (
            "promise.spawn(function()\npromise.delay(1):await()\nerror('later') end)\nreturn 1",
            "main.luau:3: later [runtime]",
        ),
        ("promise.reject('bare')", "bare [runtime]"),
        (
            "promise.resolve():next(function() error('in a handler') end)",
            "main.luau:1: in a handler [runtime]",
        ),
        ("promise.reject('first') promise.reject('second')", "first [runtime]"),
    ] {
        let error = fails(script);
        let shown = shown(&error);
        assert!(shown.ends_with(expected), "{script}: {shown}");
        assert_eq!(error.hints().len(), 1);
    }
    let asked = "local p = promise.reject('asked about later') promise.delay(1):await() p:catch(function() end) return 1";
    assert_eq!(eval(asked), 1.into());
}

#[test]
fn a_run_ends_when_what_it_started_has_ended() {
    let stage = Stage::new([]);
    let script =
        "promise.spawn(function() promise.delay(5):await() print('worked on') end) return 'returned'";
    assert_eq!(stage.eval(script).unwrap(), "returned".into());
    assert_eq!(stage.printed.text(), "worked on\n");

    // Nobody waits for the losers of a race.
    let stage = Stage::new([]);
    let script = "local function after(s) return promise.spawn(function() promise.delay(s):await() print(s) return s end) end
         return promise.race {after(1), after(1000)}:await()";
    assert_eq!(stage.eval(script).unwrap(), 1.into());
    assert_eq!(stage.printed.text(), "1\n");
}

#[test]
fn waiting_for_what_cannot_come_is_an_error() {
    for script in [
        "promise.new(function() end):await()",
        "local p p = promise.spawn(function() promise.delay(1):await() p:await() end) p:await()",
    ] {
        let error = fails(script);
        assert_eq!(
            error.message(),
            "the script waits for a promise that nothing is going to settle",
            "{script}"
        );
    }
}

/// Host calls that wait until they are dropped, and count how many are open.
fn counted(open: &Arc<AtomicUsize>) -> Bridge {
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (calls, count) = (Arc::clone(open), Arc::clone(open));
    Bridge::new("host")
        .method(Method::future("hang", move |_, _| {
            calls.fetch_add(1, Ordering::Relaxed);
            let open = Open(Arc::clone(&calls));
            async move {
                let _open = open;
                std::future::pending::<()>().await;
                Ok(())
            }
        }))
        .method(Method::sync("open", move |_, _| Ok(count.load(Ordering::Relaxed) as i64)))
}

#[test]
fn cancelling_drops_the_calls_of_the_host() {
    let open = Arc::default();
    let value = Stage::new([counted(&open)]).eval(
        "local p = promise.all {
             promise.spawn(host.hang),
             promise.spawn(function() host.hang() end),
             promise.spawn(function() return promise.spawn(host.hang) end),
         }
         local before = host.open()
         p:cancel()
         return before * 10 + host.open()",
    );
    assert_eq!(value.unwrap(), 30.into());

    let stage = Stage::new([counted(&open)]);
    let script = "promise.spawn(host.hang) promise.race {promise.spawn(host.hang), promise.delay(1)}:await() error('over')";
    assert!(stage.eval(script).is_err());
    assert_eq!(open.load(Ordering::Relaxed), 0, "a run that fails leaves nothing behind");
}

#[test]
fn floods_of_tasks_and_of_handlers_end_by_a_limit() {
    let flood = "while true do promise.spawn(function() promise.delay(1000):await() end) end";
    let limits = Limits { tasks: 100, ..Limits::default() };
    let error = Stage::limited(limits).eval(&format!("promise.delay(0):await() {flood}"));
    // The task limit applies when the script waits; the memory limit may end the flood earlier.
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit(Limit::Tasks | Limit::Memory)), "{error:?}");

    let limits = Limits { tasks: 100, ..Limits::default() };
    let error = Stage::limited(limits)
        .eval("for i = 1, 101 do promise.spawn(function() promise.delay(1000):await() end) end promise.delay(1):await()")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Tasks));

    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let error = Stage::limited(limits)
        .eval("local function again() return promise.resolve():next(again) end again():await()")
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit(Limit::Cpu | Limit::Memory)), "{error:?}");
}

#[test]
fn nothing_runs_after_a_limit() {
    let stage = Stage::limited(Limits { cpu: Duration::from_millis(50), ..Limits::default() });
    let script = "local p = promise.spawn(function() while true do end end)
         p:finally(function() print('after') end):catch(function() print('caught') end)";
    assert_eq!(stage.eval(script).unwrap_err().kind(), ErrorKind::Limit(Limit::Cpu));
    assert_eq!(stage.printed.text(), "");
}

#[test]
fn mistakes_are_said_where_they_were_made() {
    for (script, expected) in [
        (
            "promise.spawn(1)",
            "main.luau:1: promise.spawn: argument 1 (`fn`): expected function, found number",
        ),
        (
            "promise.delay(-1):await()",
            "main.luau:1: promise.delay: -1 is no number of seconds that can be waited for",
        ),
        ("promise.all(1)", "main.luau:1: promise.all: argument 1 (`list`): expected table, found number"),
        (
            "promise.map({}, print, {concurrency = 0})",
            "main.luau:1: promise.map: `concurrency` is a whole number from 1",
        ),
        ("promise.all = 1", "main.luau:1: attempt to modify a readonly table"),
        ("promise = 1", "main.luau:1: attempt to change the read-only global 'promise'"),
        (
            "promise.spawn(function() coroutine.yield(1) end):await()",
            "main.luau:1: attempt to yield from outside a coroutine",
        ),
        (
            "return {promise.resolve(1)}",
            "the result[1]: a promise cannot leave the script: `:await()` gives its value",
        ),
    ] {
        let shown = shown(&fails(script));
        assert_eq!(
            shown.trim_end_matches(" [runtime]").trim_end_matches(" [argument]"),
            expected,
            "{script}"
        );
    }
}
