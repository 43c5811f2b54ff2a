//! Host calls that wait, and callbacks that run meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llmspell_core::{Bridge, Callback, Error, Method, Source, Value};
use tokio::sync::oneshot;

use crate::harness::{Stage, shown};

fn host() -> Bridge {
    Bridge::new("host")
        .method(Method::future("echo", |_, mut arguments| async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            arguments.take::<Value>("value")
        }))
        .method(Method::future("ready", |_, mut arguments| async move { arguments.take::<Value>("value") }))
        .method(Method::future("fail", |_, _| async {
            tokio::task::yield_now().await;
            Err::<Value, _>(Error::config("no"))
        }))
        .method(Method::future("each", |_, mut arguments| async move {
            let callback: Callback = arguments.take("callback")?;
            for number in 1..=3 {
                tokio::task::yield_now().await;
                callback.call(vec![number.into()]).await?;
            }
            Ok(())
        }))
        .method(Method::future("both", |_, mut arguments| async move {
            let (left, right): (Callback, Callback) = (arguments.take("left")?, arguments.take("right")?);
            let (left, right) = tokio::join!(left.call(vec![]), right.call(vec![]));
            Ok(Value::List(vec![left?, right?]))
        }))
}

#[test]
fn a_call_that_waits_reads_like_one_that_does_not() {
    let cases = [
        ("return host.echo(1)", Value::from(1)),
        ("return host.ready(1)", 1.into()),
        ("return select('#', host.echo())", 1.into()),
        ("local v, err = host.fail() return err.message", "no".into()),
        ("return host.echo(host.echo(1) + host.echo(2))", 3.into()),
        ("return (select(2, pcall(host.echo, 4)))", 4.into()),
        ("return (select(2, pcall(function() host.echo(1) error('x', 0) end)))", "x".into()),
        ("return (select(2, xpcall(function() return host.echo(5) end, print)))", 5.into()),
        ("local t = {} for i = 1, 3 do t[i] = host.echo(i) end return table.concat(t, ',')", "1,2,3".into()),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn a_call_waits_inside_the_scripts_own_coroutines() {
    let cases = [
        (
            "local co = coroutine.create(function(a) return host.echo(a), 2 end)
          local ok, x, y = coroutine.resume(co, 1) return x + y",
            Value::from(3),
        ),
        ("return coroutine.wrap(function(a) return host.echo(a) end)(5)", 5.into()),
        (
            "local out = {}
          local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(host.echo(i)) end end)
          while true do local v = gen() if not v then break end table.insert(out, v) end
          return table.concat(out, ',')",
            "1,2,3".into(),
        ),
        (
            "local function nest(n) if n == 0 then return host.echo('deep') end
          return coroutine.wrap(nest)(n - 1) end return nest(20)",
            "deep".into(),
        ),
        (
            "local co = coroutine.create(function() host.echo(1) error('late', 0) end)
          local ok, e = coroutine.resume(co) return e .. coroutine.status(co)",
            "latedead".into(),
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn callbacks_run_while_the_script_waits() {
    let cases = [
        (
            "local t = {} host.each(function(n) table.insert(t, n) end) return table.concat(t, ',')",
            Value::from("1,2,3"),
        ),
        (
            "local t = {} host.each(function(n) table.insert(t, host.echo(n) * 2) end) return table.concat(t, ',')",
            "2,4,6".into(),
        ),
        (
            "return table.concat(host.both(function() return 'a' end, function() return host.echo('b') end))",
            "ab".into(),
        ),
        (
            "local err = host.each(function(n) error('stop at ' .. n) end) return err.message .. ' ' .. err.kind",
            "stop at 1 runtime".into(),
        ),
        (
            "local t = {} host.each(function(n) host.each(function(m) table.insert(t, n * m) end) end) return #t",
            9.into(),
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn the_error_of_a_callback_reaches_whoever_called_with_its_place() {
    let seen = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    let bridge = Bridge::new("host").method(Method::future("run", move |_, mut arguments| {
        let noted = Arc::clone(&noted);
        async move {
            let callback: Callback = arguments.take("callback")?;
            *noted.lock().unwrap() = shown(&callback.call(vec![]).await.unwrap_err());
            Ok(())
        }
    }));
    Stage::new([bridge]).eval("host.run(function()\n error('boom') end)").unwrap();
    assert_eq!(*seen.lock().unwrap(), "main.luau:2: boom [runtime]");
}

#[test]
fn a_callback_may_be_called_from_another_thread() {
    let bridge = Bridge::new("host").method(Method::future("elsewhere", |_, mut arguments| async move {
        let callback: Callback = arguments.take("callback")?;
        let (send, receive) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = send.send(runtime.block_on(callback.call(vec![20.into()])));
        });
        receive.await.map_err(|_| Error::internal("the thread died"))?
    }));
    let value = Stage::new([bridge]).eval("return host.elsewhere(function(n) return n + 1 end)");
    assert_eq!(value.unwrap(), 21.into());
}

#[test]
fn a_callback_whose_script_is_over_is_an_error_and_no_hang() {
    let stage = Stage::new([]);
    let Value::Callback(callback) = stage.eval("return function() return 1 end").unwrap() else {
        panic!("no function")
    };
    let over = "the script of this function is not running any more";
    assert_eq!(stage.finish(callback.call(vec![])).unwrap_err().message(), over);
    // While its session lives, the callback converts back to the original function.
    stage.session.set("again", Value::Callback(callback.clone())).unwrap();
    assert_eq!(stage.eval("return again()").unwrap(), 1.into());
    let cx = stage.cx.clone();
    drop(stage);
    let other = Stage::new([]);
    assert_eq!(other.finish(callback.call(vec![])).unwrap_err().message(), over);
    drop(cx);
}

#[test]
fn a_released_callback_frees_its_function() {
    let bridge = Bridge::new("host").method(Method::sync("take", |_, mut arguments| {
        drop(arguments.take::<Callback>("callback")?);
        Ok(())
    }));
    let stage = Stage::new([bridge]);
    let used = stage.eval(
        "for i = 1, 20000 do local big = table.create(100, i) host.take(function() return big end) end",
    );
    used.unwrap();
    assert!(stage.session.memory() < 20 << 20, "{}", stage.session.memory());
}

#[test]
fn a_callback_of_another_session_is_called_over_there() {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let first = Stage::new([Bridge::new("host").method(Method::future("keep", move |_, mut arguments| {
        let keep = Arc::clone(&keep);
        async move {
            *keep.lock().unwrap() = Some(arguments.take::<Callback>("callback")?);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }))]);
    let second = Stage::new([]);
    let keeps = Source::new("first.luau", "host.keep(function(n) return n * 10 end)");
    let uses = Source::new("second.luau", "return over_there(4)");
    let value = first.finish(async {
        let (_, value) = tokio::join!(first.session.eval(&keeps), async {
            tokio::task::yield_now().await;
            let callback = kept.lock().unwrap().clone().unwrap();
            second.session.set("over_there", Value::Callback(callback)).unwrap();
            second.session.eval(&uses).await
        });
        value
    });
    assert_eq!(value.unwrap(), 40.into());
}

#[test]
fn dropping_a_run_drops_what_it_waits_for() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let bridge = Bridge::new("host").method(Method::future("hold", move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let held = Held(Arc::clone(&count));
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        }
    }));
    let stage = Stage::new([bridge]);
    let source = Source::new("main.luau", "coroutine.wrap(function() host.hold() end)()");
    let mut run = stage.session.eval(&source);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(run.as_mut().poll(&mut cx).is_pending());
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    drop(run);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(stage.eval("return 'still works'").unwrap(), "still works".into());
}

#[test]
fn a_cancelled_run_does_not_go_on() {
    let stage = Stage::new([host()]);
    let cx = stage.cx.clone();
    let source = Source::new("main.luau", "host.echo(1) print('on')");
    let result = stage.finish(async {
        let (result, ()) = tokio::join!(stage.session.eval(&source), async { cx.cancel() });
        result
    });
    assert_eq!(result.unwrap_err().kind().as_str(), "cancelled");
    assert_eq!(stage.printed.text(), "");
}
