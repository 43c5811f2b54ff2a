//! The methods of a session.

use llmspell_core::{Bridge, ErrorKind, Method, Source, Value};

use crate::harness::{Stage, shown};

#[test]
fn globals_are_set_read_and_called() {
    let stage = Stage::new([]);
    stage.session.set("name", "Ada".into()).unwrap();
    stage.eval("greeting = 'hi ' .. name function double(n) return n * 2 end").unwrap();
    assert_eq!(stage.session.get("greeting").unwrap(), "hi Ada".into());
    assert_eq!(stage.session.get("none").unwrap(), Value::Nil);
    assert_eq!(stage.call("double", vec![4.into()]).unwrap(), 8.into());
    assert_eq!(
        shown(&stage.call("triple", vec![]).unwrap_err()),
        "the script has no function `triple` [not_found]"
    );
    assert_eq!(
        shown(&stage.call("name", vec![]).unwrap_err()),
        "`name` is a string, not a function [argument]"
    );
    assert!(stage.session.memory() > 10_000);
}

#[test]
fn names_of_the_host_are_refused() {
    let stage = Stage::new([Bridge::new("host")]);
    let double = || Method::sync("double", |_, mut arguments| Ok(arguments.take::<f64>("n")? * 2.0));
    stage.session.register(double()).unwrap();
    assert_eq!(stage.eval("return double(2)").unwrap(), 4.into());
    for name in ["host", "double"] {
        assert_eq!(stage.session.set(name, 1.into()).unwrap_err().kind(), ErrorKind::Conflict);
        let error = stage.eval(&format!("{name} = 1")).unwrap_err();
        assert_eq!(
            shown(&error),
            format!("main.luau:1: attempt to change the read-only global '{name}' [runtime]")
        );
    }
    assert_eq!(stage.session.register(double()).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(stage.eval("return double(2)").unwrap(), 4.into());
}

#[test]
fn a_bridge_may_not_be_named_like_a_built_in() {
    use llmspell_core::{Context, Engine};
    let bridges = [std::sync::Arc::new(Bridge::new("string"))];
    let opened = llmspell_engines::luau::Luau::new().open(&bridges, Context::builder().build());
    assert_eq!(opened.err().unwrap().message(), "the bridge `string` has the name of a built-in of Luau");
}

#[test]
fn a_session_runs_one_script_at_a_time() {
    let stage = Stage::new([Bridge::new("host")
        .method(Method::future("forever", |_, _| std::future::pending::<llmspell_core::Result<()>>()))]);
    let source = Source::new("main.luau", "host.forever()");
    let mut first = stage.session.eval(&source);
    let waker = std::task::Waker::noop();
    assert!(first.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    assert_eq!(stage.eval("return 1").unwrap_err().kind(), ErrorKind::Conflict);
    drop(first);
    assert_eq!(stage.eval("return 1").unwrap(), 1.into());
}

#[test]
fn check_finds_mistakes_without_running() {
    use llmspell_core::Engine;
    let engine = llmspell_engines::luau::Luau::new();
    assert!(engine.check(&Source::new("a.luau", "error('not run')")).is_empty());
    let found = engine.check(&Source::new("a.luau", "x = = 1"));
    assert_eq!(found[0].place.to_string(), "a.luau:1:5");
    assert_eq!(found[0].message, "Expected identifier when parsing expression, got '='");
}
