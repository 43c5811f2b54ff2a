//! Host objects that scripts hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use llmspell_core::bridge::{Field, return_object};
use llmspell_core::{Bridge, Class, Error, ErrorKind, HostObject, Items, Method, Object, Value};

use crate::harness::{Stage, shown};

#[derive(Default)]
struct Counter(AtomicI64);

static CLASS: LazyLock<Arc<Class>> = LazyLock::new(|| {
    Arc::new(Class {
        name: "counter".into(),
        doc: "Counts.".into(),
        methods: vec![
            Method::sync("add", |_, mut arguments| {
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
        fields: vec![Field::new("total", "", |_, mut arguments| {
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

fn bridge() -> Bridge {
    let shared = Object::new(Counter::default());
    Bridge::new("host")
        .method(Method::sync("new", |_, _| return_object(Counter::default())))
        .method(Method::sync("tags", |_, _| return_object(Tags)))
        .method(Method::sync("shared", move |_, _| Ok(Value::Object(shared.clone()))))
}

#[test]
fn objects_have_methods_fields_and_an_identity() {
    let cases = [
        ("local c = host.new() c:add(2) return c:add(3)", Value::from(5)),
        ("local c = host.new() c:add(2) return c.total", 2.into()),
        ("local c = host.new() c:add(2) return c:later()", 2.into()),
        ("return tostring(host.new())", "counter".into()),
        ("return type(host.new())", "userdata".into()),
        ("return rawequal(host.shared(), host.shared())", true.into()),
        ("return host.new() == host.new()", false.into()),
        ("return host.tags().colour + host.tags().SIZE", 10.into()),
        ("return host.tags().weight", Value::Nil),
        ("local n = 0 for name, value in host.tags() do n += #name * value end return n", 52.into()),
        ("local t = {} t[host.shared()] = 1 return t[host.shared()]", 1.into()),
    ];
    for (script, expected) in cases {
        assert_eq!(Stage::new([bridge()]).eval(script).unwrap(), expected, "{script}");
    }
    let stage = Stage::new([bridge()]);
    let object = stage.eval("local c = host.new() c:add(7) return c").unwrap();
    stage.session.set("c", object.clone()).unwrap();
    assert_eq!(stage.eval("return c.total").unwrap(), 7.into());
    assert_eq!(stage.session.get("c").unwrap(), object);
}

#[test]
fn misuse_is_named() {
    let cases = [
        (
            "return host.new().size",
            "main.luau:1: a counter has no `size`; it has total, :add(), :later() [argument]",
        ),
        ("host.new().total = 1", "main.luau:1: a counter cannot be changed [argument]"),
        (
            "host.new():add('x')",
            "main.luau:1: argument 1 (`step`): expected integer, found string [argument]",
        ),
        ("host.new().add(5)", "main.luau:1: expected counter before the colon, found integer [argument]"),
        (
            "getmetatable(host.new()).__index = 1",
            "main.luau:1: attempt to index boolean with '__index' [runtime]",
        ),
    ];
    for (script, expected) in cases {
        let error = Stage::new([bridge()]).eval(script).unwrap_err();
        assert_eq!(shown(&error), expected, "{script}");
    }
}

#[test]
fn a_loop_waits_for_each_item() {
    let cases = [
        ("for step in steps do insert(seen, step) end", "1,2,3"),
        ("for step in steps do insert(seen, step) if step == 2 then break end end", "1,2"),
        ("for step in steps do break end for step in steps do insert(seen, step) end", "2,3"),
        ("for step in steps do end for step in steps do insert(seen, step) end", ""),
        ("coroutine.wrap(function() for step in steps do insert(seen, step) end end)()", "1,2,3"),
        ("promise.spawn(function() for step in steps do insert(seen, step) end end):await()", "1,2,3"),
    ];
    for (script, seen) in cases {
        let stage = Stage::new([steps(false, &Arc::default())]);
        let script = format!(
            "local steps, seen, insert = host.steps(), {{}}, table.insert {script} return table.concat(seen, ',')"
        );
        assert_eq!(stage.eval(&script).unwrap(), seen.into(), "{script}");
    }
}

#[test]
fn what_fails_in_a_loop_comes_out_of_it() {
    let stage = Stage::new([steps(true, &Arc::default())]);
    let script = "local seen = {}
        local ok, err = pcall(function() for step in host.steps() do table.insert(seen, step) end end)
        return `{table.concat(seen)} {ok} {err.kind} {err.message}`";
    assert_eq!(stage.eval(script).unwrap(), "1 false network the line is down".into());
    let error = stage.eval("\nfor step in host.steps() do end").unwrap_err();
    assert_eq!(shown(&error), "main.luau:2: the line is down [network]");
}
