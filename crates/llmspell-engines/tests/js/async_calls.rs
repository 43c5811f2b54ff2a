//! Host calls that wait, and callbacks that run meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use llmspell_core::{Bridge, Callback, Error, Method, Value};

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
        .method(Method::future("nap", |cx, mut arguments| async move {
            cx.clock().sleep(Duration::from_secs_f64(arguments.take("seconds")?)).await
        }))
        .method(Method::future("fail", |_, _| async {
            tokio::task::yield_now().await;
            Err::<Value, _>(Error::config("no"))
        }))
        .method(Method::future("each", |_, mut arguments| async move {
            let callback: Callback = arguments.take("callback")?;
            let mut last = Value::Nil;
            for number in 1..=3 {
                tokio::task::yield_now().await;
                last = callback.call(vec![number.into()]).await?;
            }
            Ok(last)
        }))
        .method(Method::future("both", |_, mut arguments| async move {
            let (left, right): (Callback, Callback) = (arguments.take("left")?, arguments.take("right")?);
            let (left, right) = tokio::join!(left.call(vec![]), right.call(vec![]));
            Ok(Value::List(vec![left?, right?]))
        }))
}

#[test]
fn a_call_that_waits_is_a_promise() {
    let cases = [
        ("export default await host.echo(1)", Value::from(1)),
        ("export default host.ready(1) instanceof Promise", true.into()),
        ("export default host.echo(2)", 2.into()),
        ("export default (await host.echo()) === undefined", true.into()),
        ("export default await host.fail().catch(e => e.message)", "no".into()),
        ("export default await host.echo(await host.echo(1) + await host.echo(2))", 3.into()),
        ("export default (await Promise.all([1, 2, 3].map(host.echo))).join()", "1,2,3".into()),
        (
            "export default await Promise.race([host.nap(60).then(() => 'slow'), host.echo('fast')])",
            "fast".into(),
        ),
        (
            "export default (await Promise.allSettled([host.fail(), host.echo(1)])).map(r => r.status).join()",
            "rejected,fulfilled".into(),
        ),
        ("let n = 0; for await (const x of [host.echo(1), host.echo(2)]) n += x; export default n", 3.into()),
        (
            "async function* g() { yield await host.echo(1); yield 2 } let s = ''; for await (const x of g()) s += x; export default s",
            "12".into(),
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn callbacks_run_while_the_script_waits() {
    let cases = [
        ("let s = 0; await host.each(n => { s += n }); export default s", Value::from(6)),
        ("export default await host.each(async n => { await host.echo(0); return n * 2 })", 6.into()),
        ("export default await host.each(n => host.echo(n))", 3.into()),
        (
            "export default await host.both(() => host.echo('l'), async () => 'r')",
            Value::List(vec!["l".into(), "r".into()]),
        ),
        ("export default await host.each(n => host.each(m => n * m))", 9.into()),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([host()]).eval(script).unwrap(), expected, "{script}");
    }
    let failing = [
        ("\nawait host.each(() => { throw new Error('in it') })", "main.js:2:35: in it [runtime]"),
        (
            "\nawait host.each(async () => { await 0; throw new Error('in it') })",
            "main.js:2:50: in it [runtime]",
        ),
        (
            "await host.each(() => new Map())",
            "main.js:1:11: the result of the callback: a Map cannot leave the script [argument]",
        ),
    ];
    for (script, expected) in failing {
        assert_eq!(shown(&Stage::new([host()]).eval(script).unwrap_err()), expected, "{script}");
    }
}

#[test]
fn the_run_ends_when_all_that_it_started_has() {
    let stage = Stage::new([host()]);
    stage.eval("async function main() { await host.nap(5); console.log('done') } main()").unwrap();
    assert_eq!(stage.printed.text(), "done\n");
}

#[test]
fn a_dropped_run_drops_its_calls() {
    struct Held(Arc<Mutex<u32>>);
    impl Drop for Held {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let dropped = Arc::<Mutex<u32>>::default();
    let counted = Arc::clone(&dropped);
    let stage = Stage::new([Bridge::new("host").method(Method::future("hold", move |_, _| {
        let held = Held(Arc::clone(&counted));
        async move {
            let _held = held;
            std::future::pending::<llmspell_core::Result<()>>().await
        }
    }))]);
    let error = stage.eval("host.hold(); await host.hold().x; throw new Error('over')").unwrap_err();
    assert_eq!(shown(&error), "main.js:1:45: over [runtime]");
    assert_eq!(*dropped.lock().unwrap(), 2);
}

#[test]
fn effects_are_numbered_in_the_order_of_the_calls() {
    use llmspell_core::effect::MemoryJournal;
    let journal = Arc::new(MemoryJournal::default());
    let stage = Stage::with([host()], |cx| cx.journal(journal.clone()));
    let script = "
        await Promise.all([host.nap(3), host.nap(1).then(() => host.nap(1)), host.each(n => host.nap(n))]);
        await host.nap(1)";
    stage.eval(script).unwrap();
    let paths: Vec<_> = journal.entries().iter().map(|entry| entry.effect.path.to_string()).collect();
    assert_eq!(paths, ["main#1", "main#2", "main.1#1", "main#3", "main.1#2", "main.1#3", "main#4"]);
}

#[test]
fn a_recorded_run_is_replayed_in_the_order_in_which_answers_came() {
    use llmspell_core::effect::MemoryJournal;
    use llmspell_core::replay::Replay;
    let script = "
        const said = [];
        const say = (name, time) => host.nap(time).then(() => said.push(name));
        await Promise.all([say('slow', 3), say('fast', 1), say('middling', 2)]);
        export default said.join()";
    let journal = Arc::new(MemoryJournal::default());
    let live = Stage::with([host()], |cx| cx.journal(journal.clone()));
    assert_eq!(live.eval(script).unwrap(), "fast,middling,slow".into());
    let replayed = Stage::with([host()], |cx| cx.journal(Arc::new(Replay::new(journal.entries()))));
    assert_eq!(replayed.eval(script).unwrap(), "fast,middling,slow".into());
}

#[test]
fn what_a_step_does_is_numbered_by_its_name_wherever_it_waits() {
    use llmspell_core::effect::MemoryJournal;
    use llmspell_core::replay::Replay;
    let bridges = || {
        let step = Method::future("step", |cx, mut arguments| async move {
            let (name, work): (String, Callback) = (arguments.take("name")?, arguments.take("work")?);
            cx.step(&name, |within| async move { work.call_within(within, vec![]).await }).await
        });
        [host().method(step)]
    };
    let script = "
        const twice = (name, time) => host.step(name, async () => {
            await host.nap(time);
            await Promise.all([host.nap(time)]);
            return name;
        });
        const both = await Promise.all([twice('a', 2), twice('b', 1), host.nap(3)]);
        await host.nap(1);
        export default both.slice(0, 2).join()";
    let journal = Arc::new(MemoryJournal::default());
    let live = Stage::with(bridges(), |cx| cx.journal(journal.clone()));
    assert_eq!(live.eval(script).unwrap(), "a,b".into());
    let mut paths: Vec<_> = journal.entries().iter().map(|entry| entry.effect.path.to_string()).collect();
    paths.sort_unstable();
    paths.retain(|path| path.starts_with("main#"));
    assert_eq!(paths, ["main#1", "main#2"], "only what no step did");
    // Completed steps are not performed again, and the effects after them are found nevertheless.
    let replayed = Stage::with(bridges(), |cx| cx.journal(Arc::new(Replay::new(journal.entries()))));
    assert_eq!(replayed.eval(script).unwrap(), "a,b".into());
}
