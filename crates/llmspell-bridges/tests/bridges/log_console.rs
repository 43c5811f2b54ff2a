//! The `log` and `console` bridges.

use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};
use llmspell_core::capability::Console;
use llmspell_core::effect::Permit;
use llmspell_core::{Context, Limits, Result, Value};
use serde_json::json;

use crate::world::{Heard, call, call_on, function, refusal, value};

async fn logged(method: &str, arguments: Vec<Value>) -> Result<Vec<String>> {
    let heard = Arc::<Heard>::default();
    let cx = Context::builder().sink(Arc::clone(&heard) as _).build();
    call(&cx, method, arguments).await.map(|_| heard.lines())
}

#[tokio::test]
async fn log_lines_carry_fields_however_they_are_given() {
    let text = |text: &str| Value::from(text);
    let function = || function(|_| Ok(Value::Nil));
    let cases = [
        ("log.debug", vec![text("a")], "debug a {}"),
        ("log.info", vec![text("a"), value(json!({"b": 1}))], "info a {\"b\":1}"),
        (
            "log.warn",
            vec![text("a"), text("b"), 1.into(), text("c"), true.into()],
            "warn a {\"b\":1,\"c\":true}",
        ),
        ("log.error", vec![text("a"), text("b")], "error a {\"b\":null}"),
        ("log.info", vec![text("a"), Value::List(vec![])], "info a {}"),
        ("log.info", vec![text("a"), Value::Nil], "info a {}"),
        (
            "log.info",
            vec![text("a"), text("f"), vec![function(), f64::NAN.into(), Value::Bytes(vec![255])].into()],
            "info a {\"f\":[\"<function>\",\"NaN\",\"<1 bytes>\"]}",
        ),
    ];
    for (method, arguments, expected) in cases {
        assert_eq!(logged(method, arguments).await.unwrap(), [expected]);
    }
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let cases = [
        (vec![1.into()], "argument 1 (`message`): expected string, found integer"),
        (
            vec!["a".into(), 5.into()],
            "argument 2 (`fields`): expected table or the name of a field, found integer",
        ),
        (
            vec!["a".into(), "b".into(), 1.into(), value(json!({}))],
            "argument 4 (`fields`): expected the name of a field, found table",
        ),
    ];
    for (arguments, message) in cases {
        let result = logged("log.info", arguments).await.map(|_| Value::Nil);
        assert_eq!(refusal(result), format!("argument: {message}"));
    }
}

#[tokio::test]
async fn logging_counts_as_output() {
    let cx = Context::builder().limits(Limits { output: 100, ..Limits::default() }).build();
    let fields = value(json!({"deep": [{"text": "x".repeat(200)}]}));
    let error = call(&cx, "log.info", vec!["a".into(), fields]).await.unwrap_err();
    assert_eq!(error.kind().as_str(), "limit.output");
}

/// A console that returns these lines and then the end of input.
struct Typed {
    lines: Mutex<std::vec::IntoIter<&'static str>>,
    prompts: Mutex<Vec<String>>,
}

impl Console for Typed {
    fn read_line(&self, _: Permit, prompt: String) -> BoxFuture<'static, Result<Option<String>>> {
        self.prompts.lock().unwrap().push(prompt);
        let line = self.lines.lock().unwrap().next();
        ready(Ok(line.map(str::to_owned))).boxed()
    }
}

#[tokio::test]
async fn the_console_writes_and_reads_lines() {
    let heard = Arc::<Heard>::default();
    let typed = Arc::new(Typed { lines: Mutex::new(vec!["Ada", ""].into_iter()), prompts: Mutex::default() });
    let cx = Context::builder().sink(Arc::clone(&heard) as _).console(Arc::clone(&typed) as _).build();
    call(&cx, "console.write", vec!["a\n".into()]).await.unwrap();
    assert_eq!(heard.lines(), ["output \"a\\n\""]);

    let read = |arguments| call(&cx, "console.read_line", arguments);
    assert_eq!(read(vec!["Name? ".into()]).await.unwrap(), Value::from("Ada"));
    assert_eq!(read(vec![]).await.unwrap(), Value::from(""));
    assert_eq!(read(vec![]).await.unwrap(), Value::Nil, "the end of input");
    assert_eq!(*typed.prompts.lock().unwrap(), ["Name? ", "", ""]);
}

#[tokio::test]
async fn without_a_console_reading_says_so() {
    let result = call(&Context::builder().build(), "console.read_line", vec![]).await;
    assert_eq!(refusal(result), "io: there is no console to read from");
}

#[tokio::test]
async fn prompts_are_output() {
    let typed = Arc::new(Typed { lines: Mutex::default(), prompts: Mutex::default() });
    let limits = Limits { output: 10, ..Limits::default() };
    let cx = Context::builder().limits(limits).console(Arc::clone(&typed) as _).build();
    call(&cx, "console.read_line", vec!["Name? ".into()]).await.unwrap();
    let result = call(&cx, "console.read_line", vec!["Again? ".into()]).await;
    assert_eq!(refusal(result), "limit.output: the spell reached its output limit of 10 bytes");
    assert_eq!(*typed.prompts.lock().unwrap(), ["Name? "]);
}

/// Asks a user who types these lines. Returns the result and the prompts.
async fn asked(method: &str, arguments: Vec<Value>, lines: Vec<&'static str>) -> (String, Vec<String>) {
    let typed = Arc::new(Typed { lines: Mutex::new(lines.into_iter()), prompts: Mutex::default() });
    let cx = Context::builder().console(Arc::clone(&typed) as _).build();
    let result = call(&cx, method, arguments).await;
    let came = result.map_or_else(|error| format!("{}: {error}", error.kind()), |value| format!("{value:?}"));
    let prompts = typed.prompts.lock().unwrap().clone();
    (came, prompts)
}

#[tokio::test]
async fn a_question_is_asked_until_it_is_answered() {
    let (no, yes) = ("Sure? [y/N] ", "Sure? [Y/n] ");
    let again = "Please answer yes or no. ";
    for (default, lines, came, prompts) in [
        (None, vec!["y"], "Bool(true)", &[no][..]),
        (None, vec![" YES "], "Bool(true)", &[no]),
        (None, vec![""], "Bool(false)", &[no]),
        (Some(false), vec!["No"], "Bool(false)", &[no]),
        (Some(true), vec![""], "Bool(true)", &[yes]),
        (None, vec!["yep", "y"], "Bool(true)", &[no, again]),
        (None, vec!["1", "2", "3", "y"], "io: no usable answer after 3 questions", &[no, again, again]),
        (None, vec![], "io: the input ended before the question was answered", &[no]),
    ] {
        let arguments = vec!["Sure?".into(), default.map_or(Value::Nil, Value::Bool)];
        let found = asked("console.confirm", arguments, lines).await;
        assert_eq!(found, (came.to_owned(), prompts.iter().map(ToString::to_string).collect()));
    }
}

#[tokio::test]
async fn a_choice_is_made_by_number_or_text() {
    let prompt = "Colour?\n  1. red\n  2. green\n  3. 1\n1-3? ";
    let again = "Please answer with a number from 1 to 3, or a choice. ";
    for (lines, came, prompts) in [
        (vec!["2"], "Str(\"green\")", &[prompt][..]),
        (vec![" red "], "Str(\"red\")", &[prompt]),
        (vec!["1"], "Str(\"1\")", &[prompt]),
        (vec!["0", "4", "3"], "Str(\"1\")", &[prompt, again, again]),
        (vec![], "io: the input ended before the question was answered", &[prompt]),
    ] {
        let arguments = vec!["Colour?".into(), value(json!(["red", "green", "1"]))];
        let found = asked("console.select", arguments, lines).await;
        assert_eq!(found, (came.to_owned(), prompts.iter().map(ToString::to_string).collect()));
    }
    let (came, _) = asked("console.select", vec!["Colour?".into(), Value::List(vec![])], vec![]).await;
    assert_eq!(came, "argument: argument 2 (`choices`): expected at least one choice, found none");
}

#[tokio::test]
async fn progress_is_shown_with_each_change_and_finished_once() {
    let heard = Arc::<Heard>::default();
    let cx = Context::builder().sink(Arc::clone(&heard) as _).build();
    let bar = call(&cx, "console.progress", vec![3.into(), "Reading".into()]).await.unwrap();
    let other = call(&cx, "console.progress", vec![]).await.unwrap();
    for (bar, method, arguments) in [
        (&bar, "advance", vec![]),
        (&bar, "advance", vec![0.into()]),
        (&bar, "message", vec!["a".into()]),
        (&bar, "message", vec!["a".into()]),
        (&other, "advance", vec![i32::MAX.into()]),
        (&bar, "update", vec![3.into()]),
        (&bar, "update", vec![3.into()]),
        (&bar, "finish", vec![]),
        (&bar, "finish", vec![]),
        (&bar, "update", vec![1.into()]),
        (&bar, "message", vec!["b".into()]),
    ] {
        assert_eq!(call_on(&cx, bar, method, arguments).await.unwrap(), Value::Nil);
    }
    drop((bar, other));
    let expected = [
        r#"progress 1: 0/3 "Reading" """#,
        r#"progress 2: 0/? "" """#,
        r#"progress 1: 1/3 "Reading" """#,
        r#"progress 1: 1/3 "Reading" "a""#,
        r#"progress 2: 2147483647/? "" """#,
        r#"progress 1: 3/3 "Reading" "a""#,
        r#"progress 1: 3/3 "Reading" "a" finished"#,
        r#"progress 2: 2147483647/? "" "" finished"#,
    ];
    assert_eq!(heard.lines(), expected);
    assert_eq!(cx.meter().held_memory(), 0);
}

#[tokio::test]
async fn a_flood_of_progress_ends_by_a_limit() {
    let limits = Limits { output: 100, ..Limits::default() };
    let cx = Context::builder().limits(limits).build();
    let bar = call(&cx, "console.progress", vec![3.into(), "0123456789".into()]).await.unwrap();
    let advance = async || call_on(&cx, &bar, "advance", vec![]).await;
    advance().await.unwrap();
    assert_eq!(refusal(advance().await), "limit.output: the spell reached its output limit of 100 bytes");

    let limits = Limits { memory: 100, ..Limits::default() };
    let cx = Context::builder().limits(limits).build();
    let result = call(&cx, "console.progress", vec![3.into(), "x".repeat(100).into()]).await;
    assert_eq!(refusal(result), "limit.memory: the spell reached its memory limit of 100 bytes");
}
