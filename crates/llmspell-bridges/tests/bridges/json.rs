//! The `json` bridge: strict, exact and bounded.

use llmspell_core::{Context, Limits, Map, Value};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{call, function, refusal, run_with, table, value};

async fn encoded(value: Value) -> llmspell_core::Result<Value> {
    call(&Context::builder().build(), "json.encode", vec![value]).await
}

async fn decoded(text: impl Into<Value>) -> llmspell_core::Result<Value> {
    call(&Context::builder().build(), "json.decode", vec![text.into()]).await
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map>().into()
}

/// Returns a list nested this many levels deep.
fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Nil, |inner, _| vec![inner].into())
}

#[tokio::test]
async fn values_are_written_plainly_or_prettily() {
    let sample = map(vec![("b", vec![1.into(), 2.5.into(), Value::Nil].into()), ("a", "é\n\"".into())]);
    let cases = [
        (vec![sample.clone()], "{\"b\":[1,2.5,null],\"a\":\"é\\n\\\"\"}"),
        (
            vec![sample, value(json!({"pretty": true}))],
            "{\n  \"b\": [\n    1,\n    2.5,\n    null\n  ],\n  \"a\": \"é\\n\\\"\"\n}",
        ),
        (vec![table()], "{}"),
        (vec![Value::List(vec![])], "[]"),
        (vec![], "null"),
        (vec![i64::MAX.into()], "9223372036854775807"),
        (vec![1e300.into()], "1e+300"),
    ];
    for (arguments, expected) in cases {
        let text = call(&Context::builder().build(), "json.encode", arguments).await.unwrap();
        assert_eq!(text, Value::from(expected));
    }
}

#[tokio::test]
async fn what_is_not_json_is_named_by_its_path() {
    let cx = run_with(&std::sync::Arc::default());
    let talk = call(&cx, "llm.conversation", vec![]).await.unwrap();
    let cases = [
        (f64::NAN.into(), "$: NaN cannot be written as JSON"),
        (vec![f64::INFINITY.into()].into(), "$[1]: infinity cannot be written as JSON"),
        (
            map(vec![("a", vec![1.into(), map(vec![("b", function(|_| Ok(Value::Nil)))])].into())]),
            "$.a[2].b: a function cannot be written as JSON",
        ),
        (map(vec![("odd key", talk)]), "$[\"odd key\"]: Conversation cannot be written as JSON"),
        (Value::Bytes(vec![0xff]), "$: a string that is not UTF-8 cannot be written as JSON"),
    ];
    for (value, message) in cases {
        assert_eq!(refusal(encoded(value).await), format!("argument: {message}"));
    }
    assert!(encoded(nested(128)).await.is_ok());
    let message = refusal(encoded(nested(129)).await);
    assert!(message.ends_with("[1]: a value that nests deeper than 128 levels cannot be written as JSON"));
}

#[tokio::test]
async fn json_is_read_strictly() {
    let good = [
        ("null", Value::Nil),
        (" [] ", Value::List(vec![])),
        ("{}", table()),
        (r#"{"a":1,"b":2,"a":3}"#, map(vec![("a", 3.into()), ("b", 2.into())])),
        (
            "[-0, 1.0, 1E2, 9223372036854775807]",
            vec![(-0.0).into(), 1.0.into(), 100.0.into(), i64::MAX.into()].into(),
        ),
        (r#""\ud83d\ude00\u0041\/""#, "😀A/".into()),
        ("1e30", 1e30.into()),
    ];
    for (text, expected) in good {
        assert_eq!(decoded(text).await.unwrap(), expected, "{text}");
    }
    let bad = [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[1,]", "trailing comma at line 1 column 4"),
        ("{'a':1}", "key must be a string at line 1 column 2"),
        ("[01]", "invalid number at line 1 column 3"),
        ("[NaN]", "expected value at line 1 column 2"),
        ("1 2", "trailing characters at line 1 column 3"),
        ("\u{feff}1", "expected value at line 1 column 1"),
        ("\"a\tb\"", "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3"),
        ("[1e400]", "number out of range at line 1 column 6"),
        (
            "18446744073709551615",
            "the integer 18446744073709551615 is too large to be kept exactly at line 1 column 20",
        ),
        ("[100000000000000000000]", "the integer 100000000000000000000 is too large to be kept exactly"),
    ];
    for (text, message) in bad {
        assert_eq!(refusal(decoded(text).await), format!("parse: invalid JSON: {message}"), "{text}");
    }
    let not_utf8 = refusal(decoded(Value::Bytes(b"[\"\xff\"]".to_vec())).await);
    assert_eq!(not_utf8, "parse: invalid JSON: invalid unicode code point at line 1 column 3");
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(decoded(deep(127)).await.is_ok());
    assert!(refusal(decoded(deep(128)).await).contains("recursion limit exceeded"));
    assert!(refusal(decoded("[".repeat(1_000_000)).await).contains("recursion limit exceeded"));
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let cx = Context::builder().build();
    let cases = [
        ("json.decode", vec![], "argument 1 (`text`): expected string, found none"),
        (
            "json.encode",
            vec![1.into(), value(json!({"indent": 2}))],
            "argument 2 (`options`): `EncodeOptions` has no field `indent`; it has `pretty`",
        ),
        ("json.array", vec![value(json!({"a": 1}))], "argument 1 (`list`): expected list, found table"),
    ];
    for (method, arguments, message) in cases {
        assert_eq!(refusal(call(&cx, method, arguments).await), format!("argument: {message}"));
    }
    assert_eq!(call(&cx, "json.array", vec![table()]).await.unwrap(), Value::List(vec![]));
}

#[tokio::test]
async fn a_small_text_cannot_become_a_large_value() {
    let texts = ["[0]", "[[0]]", "{\"a\":0}", "\"abcdefgh\""];
    for text in texts {
        let text = format!("[{}]", vec![text; 4000].join(","));
        let cx = Context::builder().limits(Limits { memory: 1 << 18, ..Limits::default() }).build();
        assert!(text.len() < 1 << 16);
        let error = call(&cx, "json.decode", vec![text.clone().into()]).await.unwrap_err();
        assert_eq!(error.message(), "the spell reached its memory limit of 256KB", "{text:.20}");
    }
}

#[tokio::test]
async fn a_large_text_is_not_written() {
    let cx = Context::builder().limits(Limits { memory: 1 << 16, ..Limits::default() }).build();
    let value = vec![Value::from("\u{1}".repeat(100)); 200].into();
    let error = call(&cx, "json.encode", vec![value]).await.unwrap_err();
    assert_eq!(error.kind().as_str(), "limit.memory");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Num),
        any::<String>().prop_map(Value::Str),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_comes_back(value in any_value()) {
        let block_on = |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        let back = block_on(async {
            let text = encoded(value.clone()).await.unwrap();
            decoded(text).await.unwrap()
        });
        prop_assert_eq!(back, value);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let block_on = |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        let _ = block_on(async { decoded(Value::Bytes(bytes)).await.is_ok() });
    }
}
