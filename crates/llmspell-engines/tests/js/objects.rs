//! Host objects that scripts hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use llmspell_core::bridge::{Field, return_object};
use llmspell_core::{Bridge, Class, Error, ErrorKind, HostObject, Items, Method, Object, Value};

use crate::harness::{Stage, shown};

#[derive(Default)]
struct Counter(AtomicI64, Option<Arc<AtomicI64>>);

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(dropped) = &self.1 {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

static CLASS: LazyLock<Arc<Class>> = LazyLock::new(|| {
    Arc::new(Class {
        name: "counter".into(),
        doc: "Counts.".into(),
        methods: vec![
            Method::sync("add_up", |_, mut arguments| {
                let this = arguments.take_self::<Counter>()?;
                let step: i64 = arguments.take("step")?;
                Ok(this.0.fetch_add(step, Ordering::Relaxed) + step)
            })
            .param::<i64>("step"),
            Method::future("later", |_, mut arguments| async move {
                tokio::task::yield_now().await;
                Ok(arguments.take_self::<Counter>()?.0.load(Ordering::Relaxed))
            }),
        ],
        fields: vec![Field::new("in_all", "", |_, mut arguments| {
            Ok(arguments.take_self::<Counter>()?.0.load(Ordering::Relaxed))
        })],
        entries: None,
        items: None,
    })
});

struct Tags;

static TAGS: LazyLock<Arc<Class>> = LazyLock::new(|| {
    Arc::new(Class {
        name: "tags".into(),
        doc: "Tags.".into(),
        methods: Vec::new(),
        fields: Vec::new(),
        entries: Some(Field::new("entries", "", |_, _| {
            Ok(["colour", "size"].map(|name| (name, name.len())).into_iter().collect::<HashMap<_, _>>())
        })),
        items: None,
    })
});

impl HostObject for Tags {
    fn class() -> Arc<Class> {
        Arc::clone(&TAGS)
    }
}

impl HostObject for Counter {
    fn class() -> Arc<Class> {
        Arc::clone(&CLASS)
    }
}

/// Counts to three, or until the requested failure.
struct Steps {
    fails: bool,
    at: AtomicI64,
    stopped: Arc<AtomicI64>,
}

static STEPS: LazyLock<Arc<Class>> = LazyLock::new(|| {
    Arc::new(Class {
        name: "steps".into(),
        doc: "Counts to three.".into(),
        methods: Vec::new(),
        fields: Vec::new(),
        entries: None,
        items: Some(Items {
            next: Method::future("next", |_, mut arguments| async move {
                let this = arguments.take_self::<Steps>()?;
                arguments.end()?;
                tokio::task::yield_now().await;
                match this.at.fetch_add(1, Ordering::Relaxed) + 1 {
                    2 if this.fails => Err(Error::new(ErrorKind::Network, "the line is down")),
                    4.. => Ok(None),
                    step => Ok(Some(step)),
                }
            }),
            stop: Some(Method::sync("stop", |_, mut arguments| {
                let this = arguments.take_self::<Steps>()?;
                this.stopped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })),
        }),
    })
});

impl HostObject for Steps {
    fn class() -> Arc<Class> {
        Arc::clone(&STEPS)
    }
}

fn steps(fails: bool, stopped: &Arc<AtomicI64>) -> Bridge {
    let stopped = Arc::clone(stopped);
    Bridge::new("host").method(Method::sync("steps", move |_, _| {
        return_object(Steps { fails, at: AtomicI64::default(), stopped: Arc::clone(&stopped) })
    }))
}

fn bridge(dropped: Option<Arc<AtomicI64>>) -> Bridge {
    let shared = Object::new(Counter::default());
    Bridge::new("host")
        .method(Method::sync("make", move |_, _| return_object(Counter(AtomicI64::new(0), dropped.clone()))))
        .method(Method::sync("tags", |_, _| return_object(Tags)))
        .method(Method::sync("shared", move |_, _| Ok(Value::Object(shared.clone()))))
}

#[test]
fn objects_have_methods_fields_and_an_identity() {
    let cases = [
        ("const c = host.make(); c.addUp(2); export default c.addUp(3)", Value::from(5)),
        ("const c = host.make(); c.addUp(2); export default c.inAll", 2.into()),
        ("const c = host.make(); c.addUp(2); export default await c.later()", 2.into()),
        ("export default host.shared() === host.shared()", true.into()),
        ("export default host.make() === host.make()", false.into()),
        ("export default host.tags().colour + host.tags().SIZE", 10.into()),
        ("export default host.tags().weight", Value::Nil),
        ("export default Object.entries(host.tags()).sort().join(' ')", "colour,6 size,4".into()),
        ("export default 'Colour' in host.tags()", true.into()),
        ("export default new Map([[host.shared(), 1]]).get(host.shared())", 1.into()),
        ("const { addUp } = host.shared(); export default addUp.call(host.shared(), 1)", 1.into()),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([bridge(None)]).eval(script).unwrap(), expected, "{script}");
    }
    let stage = Stage::new([bridge(None)]);
    let object = stage.eval("const c = host.make(); c.addUp(7); export default c").unwrap();
    stage.session.set("c", object.clone()).unwrap();
    assert_eq!(stage.eval("export default c.inAll").unwrap(), 7.into());
    assert_eq!(stage.session.get("c").unwrap(), object);
}

#[test]
fn an_object_is_let_go_of_when_the_script_does() {
    let dropped = Arc::<AtomicI64>::default();
    let stage = Stage::new([bridge(Some(Arc::clone(&dropped)))]);
    stage.eval("for (let i = 0; i < 100; i++) host.make().addUp(1)").unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 100);
    stage.eval("globalThis.kept = host.make()").unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 100);
    drop(stage);
    assert_eq!(dropped.load(Ordering::Relaxed), 101);
}

#[test]
fn misuse_is_named() {
    let cases = [
        ("host.make().inAll = 1", "main.js:1:5: TypeError: no setter for property [runtime]"),
        ("host.make().more = 1", "main.js:1:5: TypeError: object is not extensible [runtime]"),
        (
            "host.make().addUp('x')",
            "main.js:1:12: argument 1 (`step`): expected integer, found string [argument]",
        ),
        (
            "const { addUp } = host.make(); addUp(5)",
            "main.js:1:31: expected counter before the colon, found none [argument]",
        ),
        (
            "Object.create(host.make()).inAll",
            "main.js:1:19: `inAll` is read from what does not have it [argument]",
        ),
        ("host.tags().colour = 1", "main.js:1:5: TypeError: proxy: cannot set property [runtime]"),
    ];
    for (script, expected) in cases {
        let error = Stage::new([bridge(None)]).eval(script).unwrap_err();
        assert_eq!(shown(&error), expected, "{script}");
    }
}

#[test]
fn a_loop_waits_for_each_item() {
    let cases = [
        ("for await (const step of steps) seen.push(step)", "1,2,3", 0),
        ("seen.push(...await Array.fromAsync(steps))", "1,2,3", 0),
        ("for await (const step of steps) { seen.push(step); if (step === 2) break }", "1,2", 1),
        ("await (async () => { for await (const step of steps) return seen.push(step) })()", "1", 1),
        (
            "try { for await (const step of steps) { seen.push(step); throw 'up' } } catch (e) { seen.push(e) }",
            "1,up",
            1,
        ),
        ("for await (const step of steps) { if (step === 2) continue; seen.push(step) }", "1,3", 0),
        ("for await (const step of steps) break; for await (const step of steps) seen.push(step)", "2,3", 1),
        (
            "for await (const step of steps) seen.push(step); for await (const step of steps) seen.push(step)",
            "1,2,3",
            0,
        ),
        (
            "const all = steps[Symbol.asyncIterator](); seen.push((await all.next()).value, (await all.return(7)).value)",
            "1,7",
            1,
        ),
    ];
    for (script, seen, stops) in cases {
        let stopped = Arc::default();
        let stage = Stage::new([steps(false, &stopped)]);
        let script = format!("const steps = host.steps(), seen = []; {script}; export default seen.join()");
        assert_eq!(stage.eval(&script).unwrap(), seen.into(), "{script}");
        assert_eq!(stopped.load(Ordering::Relaxed), stops, "{script}");
    }
}

#[test]
fn what_fails_in_a_loop_comes_out_of_it() {
    let stopped = Arc::default();
    let stage = Stage::new([steps(true, &stopped)]);
    let script = "const seen = [];
        try { for await (const step of host.steps()) seen.push(step) } catch (e) { seen.push(e.kind, e.message) }
        export default seen.join()";
    assert_eq!(stage.eval(script).unwrap(), "1,network,the line is down".into());
    let error = stage.eval("\nfor await (const step of host.steps());").unwrap_err();
    assert_eq!(shown(&error), "main.js:2:31: the line is down [network]");
    assert_eq!(stopped.load(Ordering::Relaxed), 0);
    let error = stage.eval("for await (const step of Object.create(host.steps()));").unwrap_err();
    assert_eq!(error.message(), "expected steps before the colon, found table");
}
