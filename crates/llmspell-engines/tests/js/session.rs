//! The methods of a session.

use llmspell_core::{Bridge, Engine, ErrorKind, Method, Source, Value};

use crate::engine;
use crate::harness::{Stage, shown};

#[test]
fn globals_and_exports_are_set_read_and_called() {
    let stage = Stage::new([]);
    stage.session.set("name", "Ada".into()).unwrap();
    stage.eval("globalThis.greeting = 'hi ' + name; export function double(n) { return n * 2 }").unwrap();
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
fn the_default_export_is_the_result() {
    let cases = [
        ("", Value::Nil),
        ("export const x = 1", Value::Nil),
        ("export default 5", 5.into()),
        ("export default params => params.n + 1", 2.into()),
        ("export default async function ({ n }) { await null; return n + 2 }", 3.into()),
        ("export default Promise.resolve(7)", 7.into()),
        ("export default await Promise.resolve([1, 'two'])", Value::List(vec![1.into(), "two".into()])),
        ("const x = await (async () => 9)(); export { x as default }", 9.into()),
        ("export default undefined", Value::Nil),
    ];
    for (script, expected) in cases {
        let stage = Stage::new([]);
        stage.session.set("params", Value::Map([("n".to_owned(), 1.into())].into_iter().collect())).unwrap();
        assert_eq!(stage.eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn names_of_the_host_are_refused() {
    let stage = Stage::new([Bridge::new("host")]);
    let double = || Method::sync("double_it", |_, mut arguments| Ok(arguments.take::<f64>("n")? * 2.0));
    stage.session.register(double()).unwrap();
    assert_eq!(stage.eval("export default doubleIt(2)").unwrap(), 4.into());
    for name in ["host", "doubleIt"] {
        assert_eq!(stage.session.set(name, 1.into()).unwrap_err().kind(), ErrorKind::Conflict);
        let error = stage.eval(&format!("{name} = 1")).unwrap_err();
        assert_eq!(shown(&error), format!("main.js:1:1: TypeError: '{name}' is read-only [runtime]"));
        let error = stage.eval(&format!("delete globalThis.{name}")).unwrap_err();
        assert!(error.message().starts_with("TypeError"), "{error:?}");
    }
    assert_eq!(stage.session.register(double()).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(stage.eval("export default doubleIt(2)").unwrap(), 4.into());
}

#[test]
fn a_bridge_may_not_be_named_like_a_built_in() {
    use llmspell_core::Context;
    let bridges = [std::sync::Arc::new(Bridge::new("JSON"))];
    let opened = engine().open(&bridges, Context::builder().build());
    assert_eq!(opened.err().unwrap().message(), "the bridge `JSON` has the name of a built-in of JavaScript");
}

#[test]
fn a_session_runs_one_script_at_a_time() {
    let stage = Stage::new([Bridge::new("host")
        .method(Method::future("forever", |_, _| std::future::pending::<llmspell_core::Result<()>>()))]);
    let source = Source::new("main.js", "await host.forever()");
    let mut first = stage.session.eval(&source);
    let waker = std::task::Waker::noop();
    assert!(first.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    assert_eq!(stage.eval("export default 1").unwrap_err().kind(), ErrorKind::Conflict);
    drop(first);
    assert_eq!(stage.eval("export default 1").unwrap(), 1.into());
}

#[test]
fn check_finds_mistakes_without_running() {
    let check = |text: &str| engine().check(&Source::new("a.js", text));
    assert!(check("throw new Error('not run')").is_empty());
    assert!(check("import { x } from './there.js'; export default x").is_empty());
    let found = check("const x = 1;\nlet y = = 2;");
    assert_eq!(found[0].place.to_string(), "a.js:2:9");
    assert_eq!(found[0].message, "unexpected token in expression: '='");
    assert_eq!(found[0].excerpt, "  1 | const x = 1;\n  2 | let y = = 2;\n    |         ^\n");
}

#[test]
fn a_vm_serves_one_run() {
    let mut stage = Stage::new([]);
    let cx = llmspell_core::Context::builder().build();
    assert_eq!(stage.session.renew(cx).unwrap_err().kind(), ErrorKind::Unsupported);
}
