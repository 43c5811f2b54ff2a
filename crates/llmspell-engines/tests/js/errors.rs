//! Errors of scripts as the host sees them, and errors of the host as scripts see them.

use llmspell_core::{Bridge, CallInfo, Error, ErrorKind, Method, Value};

use crate::harness::{Stage, fails, shown};

fn host() -> Bridge {
    fn overloaded() -> Error {
        Error::new(ErrorKind::Overloaded, "too busy").with_retryable(true).hint("wait").with_call(CallInfo {
            provider: Some("mock".into()),
            status: Some(529),
            request_id: Some("r1".into()),
            attempts: 3,
            partial: Some("half".into()),
            ..CallInfo::default()
        })
    }
    Bridge::new("host")
        .method(Method::sync("get", |_, _| Err::<String, _>(overloaded())))
        .method(Method::future("fetch", |_, _| async { Err::<String, _>(overloaded()) }))
        .method(Method::future("later", |_, _| async {
            tokio::task::yield_now().await;
            Err::<(), _>(overloaded())
        }))
        .method(
            Method::sync("length", |_, mut arguments| {
                let text: String = arguments.take("text")?;
                arguments.end()?;
                Ok(text.len() as u64)
            })
            .param::<String>("text"),
        )
        .method(
            Method::future("wait_for", |_, mut arguments| async move { arguments.take::<f64>("seconds") })
                .param::<f64>("seconds"),
        )
}

#[test]
fn errors_of_scripts_have_a_message_a_place_and_a_kind() {
    let cases = [
        ("throw new Error('boom')", "main.js:1:11: boom [runtime]"),
        ("function f() {\n  throw new Error('boom')\n}\nf()", "main.js:2:13: boom [runtime]"),
        ("const t = null;\nt.x", "main.js:2:1: TypeError: cannot read property 'x' of null [runtime]"),
        ("\n  nothing", "main.js:2:3: ReferenceError: nothing is not defined [runtime]"),
        ("throw 'text'", "text [runtime]"),
        ("throw 42", "42 [runtime]"),
        ("throw null", "null [runtime]"),
        ("throw { code: 5 }", "the script threw an object [runtime]"),
        ("throw { message: 'no' }", "no [runtime]"),
        ("throw { toString() { throw 1 } }", "the script threw an object [runtime]"),
        ("throw Symbol('x')", "a symbol [runtime]"),
        ("throw new RangeError('far')", "main.js:1:11: RangeError: far [runtime]"),
        ("class E extends Error { name = 'E' }\nthrow new E('own')", "main.js:2:11: E: own [runtime]"),
        ("await Promise.reject(new Error('later'))", "main.js:1:26: later [runtime]"),
        ("await 0;\nPromise.reject(new Error('unasked'))", "main.js:2:20: unasked [runtime]"),
        ("export default async () => { await 0; throw new Error('in') }", "main.js:1:49: in [runtime]"),
        ("queueMicrotask(() => { throw new Error('job') })", "main.js:1:34: job [runtime]"),
        (
            "JSON.parse('{')",
            "main.js:1:5: SyntaxError: Expected property name or '}' in JSON at position 1 (line 1 column 2) [runtime]",
        ),
        ("let x = ;", "main.js:1:9: unexpected token in expression: ';' [syntax]"),
        ("1;\n/*\0*/", "main.js:2:3: a source may not hold a NUL character [syntax]"),
        (
            "await new Promise(() => {})",
            "the script waits for a promise that nothing is going to settle [runtime]",
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(&fails(script)), expected, "{script}");
    }
}

#[test]
fn what_was_thrown_is_kept() {
    assert_eq!(
        fails("throw { code: 5 }").value(),
        Some(&Value::Map([("code".to_owned(), 5.into())].into_iter().collect()))
    );
    let error = fails("throw Object.assign(new Error('a'), { code: 5 })");
    assert_eq!(error.value(), Some(&Value::Map([("code".to_owned(), 5.into())].into_iter().collect())));
    let error = fails("throw new Error('a', { cause: new Error('b') })");
    assert_eq!(error.hints(), ["it was caused by: Error: b"]);
}

#[test]
fn the_traceback_names_functions_and_leaves_out_natives() {
    let error =
        fails("function inner() { throw new Error('x') }\nfunction outer() { [1].map(inner) }\nouter()");
    let frames: Vec<_> =
        error.traceback().iter().map(|frame| format!("{} {:?}", frame.place, frame.function)).collect();
    assert_eq!(frames, ["main.js:1:30 Some(\"inner\")", "main.js:2:28 Some(\"outer\")", "main.js:3:1 None"]);
}

#[test]
fn failures_of_the_host_are_thrown_with_all_that_is_known() {
    let stage = Stage::new([host()]);
    let seen =
        "(e => [e instanceof Error, e instanceof SpellError, e.name, e.kind, e.message, e.retryable, e.hint,
        e.provider, e.status, e.requestId, e.attempts, e.partial, String(e)])";
    let expected = Value::List(vec![
        true.into(),
        true.into(),
        "SpellError".into(),
        "overloaded".into(),
        "too busy".into(),
        true.into(),
        "wait".into(),
        "mock".into(),
        529.into(),
        "r1".into(),
        3.into(),
        "half".into(),
        "SpellError: too busy".into(),
    ]);
    for call in ["host.get()", "await host.fetch()", "await host.later()"] {
        let script =
            format!("let seen; try {{ {call} }} catch (e) {{ seen = {seen}(e) }} export default seen");
        assert_eq!(stage.eval(&script).unwrap(), expected, "{call}");
    }
}

#[test]
fn a_failure_that_nobody_catches_is_the_hosts_error_again() {
    for call in
        ["host.get()", "await host.fetch()", "await host.later()", "try { host.get() } catch (e) { throw e }"]
    {
        let error = Stage::new([host()]).eval(&format!("\n{call}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert_eq!(error.call().unwrap().status, Some(529));
        assert_eq!(error.place().unwrap().line, 2, "{call}: {error:?}");
    }
    let error = Stage::new([host()])
        .eval("try { host.get() } catch (e) { e.message = 'mine'; throw e }")
        .unwrap_err();
    assert_eq!(
        (error.message(), error.kind(), error.hints()),
        ("mine", ErrorKind::Overloaded, &["wait".to_owned()][..])
    );
    let error = Stage::new([host()])
        .eval("const e = new SpellError('fake'); e.kind = 'limit.cpu'; throw e")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Runtime);
}

#[test]
fn wrong_arguments_are_thrown_and_named() {
    let cases = [
        ("host.length(1)", "argument 1 (`text`): expected string, found integer"),
        ("host.length('a', 2)", "too many arguments: at most 1 are taken"),
        ("host.length(new Map())", "argument 1 (`text`): a Map cannot leave the script"),
        ("await host.waitFor('x')", "argument 1 (`seconds`): expected number, found string"),
        ("await host.waitFor(Symbol())", "argument 1 (`seconds`): a symbol cannot leave the script"),
    ];
    for (call, expected) in cases {
        let error = Stage::new([host()]).eval(call).unwrap_err();
        assert_eq!((error.message(), error.kind()), (expected, ErrorKind::Argument), "{call}");
        assert_eq!(error.place().unwrap().line, 1, "{call}");
    }
}
