//! Preemption: a busy script yields to the other runs of its thread without noticing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use llmspell_core::{Bridge, Callback, Error, Method, Source, Value};

use crate::harness::Stage;

/// `stop()` makes the script yield at its next call, return or loop iteration, if the VM allows it there.
fn host(stops: bool) -> [Method; 3] {
    [
        Method::sync("stop", move |cx, _| {
            if stops {
                cx.meter().ask_to_yield();
            }
            Ok(())
        }),
        // Requests the yield between the start of the call and the script's wait for it.
        Method::future("echo", move |cx, mut arguments| async move {
            if stops {
                cx.meter().ask_to_yield();
            }
            tokio::task::yield_now().await;
            arguments.take::<Value>("value")
        }),
        Method::future("both", |_, mut arguments| async move {
            let (left, right): (Callback, Callback) = (arguments.take("left")?, arguments.take("right")?);
            let (left, right) = tokio::join!(left.call(vec![]), right.call(vec![]));
            Ok(Value::List(vec![left?, right?]))
        }),
    ]
}

/// Returns the result of a script, its output, and how often it was polled.
fn run(script: &str, stops: bool) -> (Result<Value, Error>, String, usize) {
    let stage = Stage::new([Bridge::new("unused")]);
    for method in host(stops) {
        stage.session.register(method).expect("its name is free");
    }
    let source = Source::new("main.luau", script);
    let polls = Arc::new(AtomicUsize::new(0));
    let mut future = stage.session.eval(&source);
    let result = stage.finish(std::future::poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(cx)
    }));
    (result, stage.printed.text(), polls.load(Ordering::Relaxed))
}

/// Each script with the minimum number of yields.
const SCRIPTS: &[(&str, usize, &str)] = &[
    ("a loop", 10, "local n = 0 for i = 1, 10 do n += i stop() end return n"),
    (
        "calls",
        10,
        "local function f(n) stop() if n == 0 then return 0 end return n + f(n - 1) end return f(10)",
    ),
    ("pcall", 2, "return {pcall(function() stop() local x = 1 stop() error('no', 0) end)}"),
    (
        "xpcall",
        1,
        "return {xpcall(function() stop() error('no', 0) end, function(e) stop() return e .. '!' end)}",
    ),
    (
        "values on their way through calls",
        2,
        "local function three() stop() return 1, 2, 3 end
         local function count(...) stop() return select('#', ...), ... end
         return {count(0, three())}",
    ),
    (
        "a generator",
        3,
        "local next = coroutine.wrap(function(...)
             stop() print('got', ...)
             for i = 1, 3 do stop() print('got', coroutine.yield(i, nil)) stop() end
             return 'end'
         end)
         for i = 1, 4 do print(next(i)) stop() end",
    ),
    (
        "empty yields are told from stops",
        3,
        "local co = coroutine.create(function(...)
             stop() print(select('#', ...)) stop()
             print(select('#', coroutine.yield())) stop()
             print(select('#', coroutine.yield(nil)))
         end)
         for i = 1, 3 do print(select('#', coroutine.resume(co))) print(coroutine.status(co)) end
         print(coroutine.resume(co))",
    ),
    (
        "what coroutines say of themselves",
        2,
        "local outer
         outer = coroutine.create(function()
             local inner = coroutine.create(function()
                 stop() print(coroutine.status(outer), coroutine.isyieldable())
                 stop() print(coroutine.status(coroutine.running()))
             end)
             stop() coroutine.resume(inner) print(coroutine.status(inner))
         end)
         coroutine.resume(outer) print(coroutine.status(outer), coroutine.close(outer))",
    ),
    (
        "an iterator",
        3,
        "local n = 0 for i in coroutine.wrap(function() for i = 1, 3 do stop() coroutine.yield(i) end end) do n += i end return n",
    ),
    (
        "an iterator that is a function",
        3,
        "local n = 0 for i in function() stop() n += 1 return if n < 4 then n else nil end do end return n",
    ),
    (
        "where it cannot be stopped",
        0,
        "local t = {3, 1, 2}
         table.sort(t, function(a, b) stop() for i = 1, 3 do end return a < b end)
         local m = setmetatable({}, {__index = function(_, k) stop() for i = 1, 3 do end return k end})
         return {t, m.x, (string.gsub('aaa', 'a', function() stop() for i = 1, 3 do end return 'b' end))}",
    ),
    (
        "a coroutine where its resumer cannot be stopped",
        0,
        "local t = {3, 1, 2}
         table.sort(t, function(a, b)
             return coroutine.wrap(function() stop() for i = 1, 3 do stop() end return a < b end)()
         end)
         return t",
    ),
    (
        "host calls that wait",
        3,
        "local function work(n) stop() local v = echo(n) stop() return v end
         return {work(1), coroutine.wrap(work)(2), select(2, pcall(work, 3))}",
    ),
    (
        "callbacks take turns only where they wait",
        6,
        "local function worker(name)
             return function()
                 for i = 1, 3 do stop() print(name, i) end
                 return name
             end
         end
         return both(worker('a'), worker('b'))",
    ),
    ("an error in the end", 1, "stop() local x = 1 error('no')"),
];

#[test]
fn a_script_that_is_stopped_and_goes_on_cannot_tell() {
    for (shape, stops, script) in SCRIPTS {
        let (result, printed, polls) = run(script, false);
        let (stopped_result, stopped_printed, stopped_polls) = run(script, true);
        assert_eq!(stopped_printed, printed, "{shape}");
        match (result, stopped_result) {
            (Ok(value), Ok(stopped)) => assert_eq!(stopped, value, "{shape}"),
            (Err(error), Err(stopped)) => {
                assert_eq!(stopped.to_string(), error.to_string(), "{shape}");
                assert_eq!(stopped.place(), error.place(), "{shape}");
                assert_eq!(stopped.traceback().len(), error.traceback().len(), "{shape}");
            }
            (result, stopped) => panic!("{shape}: {result:?}, and stopped {stopped:?}"),
        }
        assert!(stopped_polls >= polls + stops, "{shape}: {polls} polls, and stopped {stopped_polls}");
    }
}

#[test]
fn a_run_that_is_dropped_while_it_is_stopped_leaves_its_session_usable() {
    let stage = Stage::new([]);
    for method in host(true) {
        stage.session.register(method).unwrap();
    }
    let source = Source::new("main.luau", "stop() while true do end");
    let mut run = stage.session.eval(&source);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(run.as_mut().poll(&mut cx).is_pending());
    drop(run);
    assert_eq!(stage.eval("return 1").unwrap(), 1.into());
}
