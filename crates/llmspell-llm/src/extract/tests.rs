use llmspell_core::chat::ToolCall;
use serde_json::json;

use super::*;

fn schema(written: Json) -> Schema {
    Schema::read(&written).unwrap()
}

fn said(text: &str) -> Reply {
    Reply { text: text.to_owned(), ..Reply::default() }
}

/// Reads an answer, and returns the value or the violation.
fn read(written: Json, text: &str) -> Result<Json, String> {
    read_output(&said(text), &schema(written)).map_err(|invalid| invalid.error.to_string())
}

#[test]
fn a_value_is_made_to_fit_where_that_loses_nothing() {
    for (written, text, value) in [
        (json!({"n": "integer"}), r#"{"n": "42"}"#, json!({"n": 42})),
        (json!({"n": "number"}), r#"{"n": " 4.5 "}"#, json!({"n": 4.5})),
        (json!({"ok": "boolean"}), r#"{"ok": "True"}"#, json!({"ok": true})),
        (json!({"zip": "string"}), r#"{"zip": 12345}"#, json!({"zip": "12345"})),
        (json!({"tags": ["string"]}), r#"{"tags": "one"}"#, json!({"tags": ["one"]})),
        (json!({"a": {"b": "string"}}), r#"{"a": "{\"b\": \"x\"}"}"#, json!({"a": {"b": "x"}})),
        (json!({"a": "string", "b": "string?"}), r#"{"a": "x", "b": null}"#, json!({"a": "x"})),
        (json!({"a": "string"}), r#"{"a": "x", "note": null}"#, json!({"a": "x"})),
        (json!({"a": "string"}), r#"[{"a": "x"}]"#, json!({"a": "x"})),
        (json!({"a": "string"}), r#"{"answer": {"a": "x"}}"#, json!({"a": "x"})),
        (
            json!([{"n": "integer"}]),
            r#"[{"n": "1"}, {"n": 2}, {"n": "3"}]"#,
            json!([{"n": 1}, {"n": 2}, {"n": 3}]),
        ),
        (json!("integer"), "42", json!(42)),
        (json!("integer"), "`42`", json!(42)),
        (json!("string"), "Paris", json!("Paris")),
        (json!("red|green"), "red", json!("red")),
        (json!({"n": {"type": "integer", "default": 7}}), "{}", json!({"n": 7})),
    ] {
        let read = read(written.clone(), text);
        // A default does not make a field optional, but it is filled in before validation.
        assert_eq!(read, Ok(value), "{written} {text}");
    }
}

#[test]
fn the_last_value_that_fits_is_the_answer() {
    let person = json!({"title": "string", "body": "string"});
    let (first, second) =
        (r#"{"title": "first", "body": "draft"}"#, r#"{"title": "second", "body": "final"}"#);
    let (fenced, last) = (format!("```json\n{first}\n```"), json!({"title": "second", "body": "final"}));
    for text in [
        format!("{first}\nWait, that is wrong. Corrected:\n{second}"),
        format!("{fenced}\nCorrected:\n{second}"),
        format!("{fenced}\nCorrected:\n```json\n{second}\n```\nSee [1]."),
        format!("For example:\n```json\n{{\"x\": 1}}\n```\nNow yours:\n```json\n{second}\n```"),
        format!("{second}\nIt is not {{\"title\": 1}}."),
        format!("{{\"name\": \"answer\", \"arguments\": {second}}}"),
        format!("{{\"answer\": {first}}} and corrected {{\"answer\": {second}}}"),
        serde_json::to_string(second).unwrap(),
        "title: second\nbody: final".to_owned(),
    ] {
        assert_eq!(read(person.clone(), &text), Ok(last.clone()), "{text}");
    }
    // A correction that is cut off does not make the draft the answer.
    let cut = format!("{first}\nCorrected:\n{{\"title\": \"sec");
    assert_eq!(read(person, &cut), Ok(json!({"title": "first", "body": "draft"})));
    assert_eq!(read(json!("string"), "Answer: Paris"), Ok(json!("Answer: Paris")));
}

#[test]
fn a_value_that_would_lose_something_is_left_as_it_is() {
    for (written, text, misfit) in [
        (json!({"n": "integer"}), r#"{"n": "4.5"}"#, r#"$.n: expected integer, got string "4.5""#),
        (json!({"n": "integer"}), r#"{"n": 4.5}"#, "$.n: expected integer, got number 4.5"),
        (json!({"n": "integer"}), r#"{"n": "about 4"}"#, r#"$.n: expected integer, got string "about 4""#),
        (json!({"n": "boolean"}), r#"{"n": 1}"#, "$.n: expected boolean, got integer 1"),
        (json!({"n": "boolean"}), r#"{"n": "yes"}"#, r#"$.n: expected boolean, got string "yes""#),
        (json!({"a": "string"}), r#"{"a": null}"#, "$.a: expected string, got null"),
        (
            json!({"a": "string"}),
            r#"{"a": "x", "b": 1}"#,
            r#"$.b: expected no other field than "a", got integer 1"#,
        ),
        (json!({"a": ["integer"]}), r#"{"a": "x"}"#, r#"$.a: expected array, got string "x""#),
        (
            json!({"n": {"type": "integer", "maximum": 5}}),
            r#"{"n": "9"}"#,
            r#"$.n: expected integer, got string "9""#,
        ),
    ] {
        assert_eq!(read(written.clone(), text), Err(misfit.to_owned()), "{written} {text}");
    }
}

#[test]
fn what_holds_no_value_says_so() {
    let person = json!({"name": "string"});
    for (text, misfit) in [
        ("", "$: expected object, got nothing"),
        ("I cannot know that.", r#"$: expected object, got no JSON in string "I cannot know that.""#),
        (
            r#"{"name": "Ad"#,
            r#"$: expected object, got JSON that ends too early in string "{\"name\": \"Ad""#,
        ),
        ("The list is [1, 2].", r#"$: expected object, got array [1,2]"#),
    ] {
        assert_eq!(read(person.clone(), text), Err(misfit.to_owned()), "{text}");
    }
    // The text of a cut answer must not pass as a string.
    assert!(read(json!("string"), r#"{"name": "Ad"#).is_err());
}

#[test]
fn the_largest_value_says_what_is_wrong() {
    let text = r#"As [1] says: {"name": "Ada", "age": "old"}"#;
    let misfit = read(json!({"name": "string", "age": "integer"}), text);
    assert_eq!(misfit, Err(r#"$.age: expected integer, got string "old""#.to_owned()));
}

#[test]
fn r18_an_answer_that_is_not_finished_is_not_read() {
    let whole = r#"{"name": "Ada"}"#;
    let call = ToolCall {
        id: "1".into(),
        name: "add".into(),
        arguments: json!({}),
        signature: None,
        provider: None,
    };
    for (reason, text, calls, got) in [
        (FinishReason::Length, whole, vec![], "an answer that was cut off at its most tokens"),
        (FinishReason::ContentFilter, whole, vec![], "nothing: the provider held the answer back"),
        (FinishReason::Refusal, whole, vec![], "nothing: the model declined to answer"),
        (FinishReason::ToolCalls, "", vec![call], "a call of the tool `add`"),
    ] {
        let reply = Reply { finish_reason: reason, tool_calls: calls, ..said(text) };
        let invalid = read_output(&reply, &schema(json!({"name": "string"}))).unwrap_err();
        assert_eq!((invalid.error.got.as_str(), invalid.may_repair), (got, false));
        let error = output_invalid(invalid, reply, 1, Usage::default());
        assert_eq!(error.kind(), ErrorKind::OutputInvalid);
        assert_eq!(error.output().unwrap().path, "$");
        assert_eq!(error.hints().len(), 1, "{reason:?}");
    }
}

#[test]
fn a_repair_turn_carries_the_answer_and_what_is_wrong() {
    let error = ValidationError { path: "$.age".into(), expected: "integer".into(), got: "nothing".into() };
    let turn = repair_turn(&said("{}"), &error);
    assert_eq!(turn[0], Message::assistant("{}"));
    assert!(turn[1].joined_text().contains("$.age: expected integer, got nothing"));
    assert_eq!(repair_turn(&said(""), &error).len(), 1);
}

#[test]
fn what_an_error_keeps_of_an_answer_is_bounded() {
    let reply = said(&"ü".repeat(100_000));
    let invalid = read_output(&reply, &schema(json!({"a": "string"}))).unwrap_err();
    let error = output_invalid(invalid, reply, 3, Usage::default());
    assert!(error.output().unwrap().raw.len() < 5_000 && error.message().len() < 1_000);
    assert_eq!(error.call().unwrap().attempts, 3);
}
