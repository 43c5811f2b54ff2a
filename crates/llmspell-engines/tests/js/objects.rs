//! Host objects that scripts hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use llmspell_core::bridge::{Field, return_object};
use llmspell_core::{Bridge, Class, HostObject, Method, Object, Value};

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

static CLASS: LazyLock<Class> = LazyLock::new(|| Class {
    name: "counter",
    doc: "Counts.",
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
});

struct Tags;

static TAGS: LazyLock<Class> = LazyLock::new(|| Class {
    name: "tags",
    doc: "Tags.",
    methods: Vec::new(),
    fields: Vec::new(),
    entries: Some(Field::new("entries", "", |_, _| {
        Ok(["colour", "size"].map(|name| (name, name.len())).into_iter().collect::<HashMap<_, _>>())
    })),
});

impl HostObject for Tags {
    fn class() -> &'static Class {
        &TAGS
    }
}

impl HostObject for Counter {
    fn class() -> &'static Class {
        &CLASS
    }
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
