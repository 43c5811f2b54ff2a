//! Conversion of values into and out of the VM.

use llmspell_core::{Bridge, Map, Method, Value};
use proptest::prelude::*;

use crate::harness::{Stage, eval, fails, shown};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map>())
}

#[test]
fn javascript_values_leave_as_what_they_are() {
    let cases = [
        ("null", Value::Nil),
        ("undefined", Value::Nil),
        ("true", true.into()),
        ("5", 5.into()),
        ("5.0", 5.into()),
        ("0.5", 0.5.into()),
        ("-0", Value::Num(-0.0)),
        ("2 ** 53", Value::Int(1 << 53)),
        ("2 ** 54", Value::Num(18_014_398_509_481_984.0)),
        ("1 / 0", Value::Num(f64::INFINITY)),
        ("12n ** 3n", 1728.into()),
        ("'é😀'", "é😀".into()),
        ("'\\ud83d'", "\u{fffd}".into()),
        ("new Uint8Array([97, 255, 0])", Value::Bytes(vec![97, 255, 0])),
        ("new Uint8Array([1, 2, 3]).buffer", Value::Bytes(vec![1, 2, 3])),
        ("new Uint8Array([1, 2, 3]).subarray(1)", Value::Bytes(vec![2, 3])),
        ("[1, 'two', [3]]", Value::List(vec![1.into(), "two".into(), Value::List(vec![3.into()])])),
        ("[1, , undefined]", Value::List(vec![1.into(), Value::Nil, Value::Nil])),
        ("({ b: 1, a: {} })", map([("b", 1.into()), ("a", map([]))])),
        ("({ a: undefined, b: null, [Symbol.iterator]: 1 })", map([("b", Value::Nil)])),
        ("({ get a() { return 1 } })", map([("a", 1.into())])),
        (
            "Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true } })",
            map([("own", 2.into())]),
        ),
        ("Object.create(null)", map([])),
        ("new (class A { x = 1; #y = 2; z() {} })", map([("x", 1.into())])),
        ("new Proxy({ a: 1 }, {})", map([("a", 1.into())])),
        ("JSON.parse('{\"__proto__\": 1}')", map([("__proto__", 1.into())])),
        ("new TypeError('no', { cause: 1 })", map([("name", "TypeError".into()), ("message", "no".into())])),
    ];
    for (script, expected) in cases {
        assert_eq!(eval(&format!("export default {script}")), expected, "{script}");
    }
}

#[test]
fn a_negative_zero_arrives_as_one() {
    let zero = Method::sync("zero", |_, _| Ok(-0.0)).since("0.1");
    let stage = Stage::new([Bridge::new("host").method(zero)]);
    assert_eq!(stage.eval("export default Object.is(host.zero(), -0)").unwrap(), true.into());
}

#[test]
fn what_cannot_leave_names_its_path() {
    let cases = [
        ("({ a: [1, Symbol()] })", "the result.a[1]: a symbol cannot leave the script"),
        ("new Map()", "the result: a Map cannot leave the script"),
        ("[new Set()]", "the result[0]: a Set cannot leave the script"),
        ("[new Date()]", "the result[0]: a Date cannot leave the script"),
        ("[/x/]", "the result[0]: a RegExp cannot leave the script"),
        ("[new WeakMap()]", "the result[0]: a WeakMap cannot leave the script"),
        ("[new Float32Array(1)]", "the result[0]: a typed array cannot leave the script"),
        ("[Promise.resolve()]", "the result[0]: a promise cannot leave the script: `await` gives its value"),
        ("2n ** 64n", "the result: the integer is too large: at most 2^63 - 1 can leave the script"),
        ("(() => { const a = {}; a.b = [a]; return a })", "the result.b[0]: the object contains itself"),
    ];
    for (script, expected) in cases {
        let error = Stage::with([], |cx| cx.clock(std::sync::Arc::new(Midnight)))
            .eval(&format!("export default {script}"))
            .unwrap_err();
        assert_eq!(error.message(), expected, "{script}");
    }
    let deep = fails("let t = 1; for (let i = 0; i < 200; i++) t = [t]; export default t");
    assert!(deep.message().ends_with("[0]: objects are nested more than 128 deep"), "{deep:?}");
    let thrown = fails("export default { get a() { throw new Error('no') } }");
    assert_eq!(shown(&thrown), "main.js:1:38: no [runtime]");
}

#[test]
fn a_length_that_an_array_claims_is_not_believed() {
    let cases = [
        ("a.length = 2 ** 31", "2147483648"),
        ("a.length = 2 ** 32 - 1", "4294967295"),
        ("a[2 ** 32 - 2] = 1", "4294967295"),
    ];
    for (change, items) in cases {
        let error = fails(&format!("const a = []; {change}; export default [a]"));
        let expected = format!(
            "the result[0]: the array claims {items} items, more than the memory limit allows [argument]"
        );
        assert_eq!(shown(&error), expected, "{change}");
    }
    // Holes become nil, as many as the memory limit allows.
    assert_eq!(eval("const a = []; a.length = 2; export default a"), Value::List(vec![Value::Nil; 2]));
    assert_eq!(
        eval("export default (class extends Array { get length() { return 2 ** 31 } }).of(1)"),
        Value::List(vec![1.into()])
    );
}

struct Midnight;

impl llmspell_core::capability::Clock for Midnight {
    fn now(&self, _: llmspell_core::effect::Permit) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH
    }
    fn ticks(&self, _: llmspell_core::effect::Permit) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

#[test]
fn values_enter_as_javascript_would_write_them() {
    let stage = Stage::new([]);
    let sent =
        Value::List(vec![Value::Nil, Value::List(vec![]), map([("n", Value::Nil)]), Value::Bytes(vec![7])]);
    stage.session.set("v", sent).unwrap();
    let script =
        "export default `${v[0]} ${v.length} ${Array.isArray(v[1])} ${v[2].n} ${v[3] instanceof Uint8Array}`";
    assert_eq!(stage.eval(script).unwrap(), "null 4 true null true".into());
    let error =
        stage.session.set("big", map([("a", Value::List(vec![Value::Int((1 << 53) + 1)]))])).unwrap_err();
    assert_eq!(
        error.message(),
        "the value.a[0]: the integer 9007199254740993 is past 2^53, the largest that JavaScript can hold"
    );
}

#[test]
fn names_that_matter_to_the_language_are_data() {
    let stage = Stage::new([]);
    let hostile = map([("__proto__", map([("x", 1.into())])), ("constructor", 2.into()), ("then", 3.into())]);
    stage.session.set("v", hostile.clone()).unwrap();
    assert_eq!(
        stage
            .eval("export default [v.x === undefined, Object.getPrototypeOf(v) === Object.prototype]")
            .unwrap(),
        Value::List(vec![true.into(), true.into()])
    );
    assert_eq!(stage.eval("export default v").unwrap(), hostile);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-(1i64 << 53)..=(1 << 53)).prop_map(Value::Int),
        any::<f64>().prop_filter("doubles that are no integers", |x| x.fract() != 0.0).prop_map(Value::Num),
        ".*".prop_map(Value::Str),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map("[a-z_]{0,6}", inner, 0..6)
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
        prop_assert_eq!(&stage.eval("export default host.echo(sent[0])").unwrap(), &sent);
    }
}
