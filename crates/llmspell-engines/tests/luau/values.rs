//! Conversion of values into and out of the VM.

use llmspell_core::{Bridge, Limits, Map, Method, Value};
use proptest::prelude::*;

use crate::harness::{Stage, eval, fails, shown};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map>())
}

#[test]
fn luau_values_leave_as_what_they_are() {
    let cases = [
        ("return nil", Value::Nil),
        ("return 5", 5.into()),
        ("return 5.0", 5.into()),
        ("return 0.5", 0.5.into()),
        ("return -0.0", Value::Num(-0.0)),
        ("return 2^53", Value::Int(1 << 53)),
        ("return 2^54", Value::Num(18_014_398_509_481_984.0)),
        ("return 1/0", Value::Num(f64::INFINITY)),
        ("return 'é'", "é".into()),
        ("return '\\255'", Value::Bytes(vec![255])),
        ("return buffer.fromstring('ab')", Value::Bytes(b"ab".to_vec())),
        ("return {1, 'two', {3}}", Value::List(vec![1.into(), "two".into(), Value::List(vec![3.into()])])),
        ("local t = {} t[3] = 3 t[2] = 2 t[1] = 1 return t", Value::List(vec![1.into(), 2.into(), 3.into()])),
        ("return {b = 1, a = {}}", map([("a", map([])), ("b", 1.into())])),
        ("return {}", map([])),
        ("return setmetatable({1}, {__index = function() return 2 end})", Value::List(vec![1.into()])),
        ("return 1, 2", 1.into()),
    ];
    for (script, expected) in cases {
        assert_eq!(eval(script), expected, "{script}");
    }
    let Value::Map(fields) = eval("return {z = 1, y = 1, x = 1, w = 1}") else { panic!("no map") };
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["w", "x", "y", "z"]);
}

#[test]
fn what_cannot_leave_names_its_path() {
    let deep = "local t = {} for i = 1, 200 do t = {t} end return t";
    let cases = [
        (
            "return {1, nil, 3}",
            "the result: the list has a hole: there is an item 3, and none at 2 [argument]",
        ),
        (
            "return {1, a = 1}",
            "the result: the table mixes list items and named fields such as `a` [argument]",
        ),
        ("return {a = {[0] = 1}}", "the result.a: 0 cannot be a key: lists begin at 1 [argument]"),
        ("return {[true] = 1}", "the result: a boolean cannot be a key [argument]"),
        ("return {['\\255'] = 1}", "the result: a key is not UTF-8 text [argument]"),
        (
            "return {a = {coroutine.create(print)}}",
            "the result.a[1]: a thread cannot leave the script [argument]",
        ),
        ("return {a = vector.create(1, 2, 3)}", "the result.a: a vector cannot leave the script [argument]"),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(&fails(script)), expected, "{script}");
    }
    assert!(fails(deep).message().ends_with("[1]: tables are nested more than 128 deep"));
}

#[test]
fn a_table_takes_memory_of_the_host_for_its_items_and_not_for_its_length() {
    // The VM needs 48 MB for this list; the same number of host values would need 96 MB.
    let stage = Stage::limited(Limits { memory: 100 << 20, ..Limits::default() });
    let error = stage.eval("local t = table.create(3000000) t[3000000] = 1 return t").unwrap_err();
    let expected = "the result: the list has a hole: there is an item 3000000, and none at 1";
    assert_eq!(error.message(), expected);
}

#[test]
fn values_enter_as_luau_would_write_them() {
    let stage = Stage::new([]);
    stage
        .session
        .set("v", Value::List(vec![Value::Nil, Value::List(vec![]), map([("n", Value::Nil)])]))
        .unwrap();
    let script = "return tostring(v[1]) .. #v .. #v[2] .. tostring(v[3].n) .. tostring(v[1] == v[3].n)";
    assert_eq!(stage.eval(script).unwrap(), "null30nulltrue".into());
    // An empty list stays a list unless the script changes it; its mark cannot be poisoned.
    assert_eq!(stage.eval("return v[2]").unwrap(), Value::List(vec![]));
    assert_eq!(
        stage.eval("return (pcall(function() getmetatable(v[2]).__index = 1 end))").unwrap(),
        false.into()
    );
    assert_eq!(stage.eval("return setmetatable(v[2], nil)").unwrap(), map([]));
    let error =
        stage.session.set("big", map([("a", Value::List(vec![Value::Int((1 << 53) + 1)]))])).unwrap_err();
    assert_eq!(
        error.message(),
        "the value.a[1]: the integer 9007199254740993 is past 2^53, the largest that Luau can hold"
    );
}

#[test]
fn a_value_of_the_host_that_nests_too_deep_is_refused() {
    let nested = |depth| (0..depth).fold(Value::from(1), |inner, _| Value::List(vec![map([("a", inner)])]));
    let stage = Stage::new([]);
    stage.session.set("deep", nested(64)).unwrap();
    let error = stage.session.set("deep", nested(65)).unwrap_err();
    let expected = format!("the value{}: tables are nested more than 128 deep", "[1].a".repeat(64));
    assert_eq!(error.message(), expected);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-(1i64 << 53)..=(1 << 53)).prop_map(Value::Int),
        any::<f64>().prop_filter("doubles that are no integers", |x| x.fract() != 0.0).prop_map(Value::Num),
        ".*".prop_map(Value::Str),
        proptest::collection::vec(any::<u8>(), 1..8)
            .prop_filter("no text", |bytes| std::str::from_utf8(bytes).is_err())
            .prop_map(Value::Bytes),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map("[a-z]{0,6}", inner, 0..6)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_in_comes_out(value in value()) {
        let stage = Stage::new([Bridge::new("host").method(Method::sync("echo", |_, mut arguments| {
            Ok(Value::List(arguments.rest().0))
        }))]);
        let sent = Value::List(vec![value]);
        stage.session.set("sent", sent.clone()).unwrap();
        prop_assert_eq!(&stage.session.get("sent").unwrap(), &sent);
        prop_assert_eq!(&stage.eval("return host.echo(sent[1])").unwrap(), &sent);
    }
}
