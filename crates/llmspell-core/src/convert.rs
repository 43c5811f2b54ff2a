//! Conversion between Rust types and [`Value`], through serde. Reading moves texts, and nothing is converted to JSON
//! text.

mod read;
mod write;

use std::any::Any;

use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use self::read::FromValue;
use self::write::ToValue;
use crate::error::Result;
use crate::value::Value;

/// Converts data to a value. All texts are copied; [`into_value`] avoids that.
///
/// A field of a struct that is empty (`None`) is left out, as a script would write it. In lists and maps, null
/// becomes [`Value::Nil`].
///
/// # Errors
/// Returns an error when a map key is neither a string nor an integer, or when an integer exceeds the range of `i64`.
pub fn to_value<T: Serialize>(data: &T) -> Result<Value> {
    data.serialize(ToValue)
}

/// Converts owned data to a value. A `String` or a `Value` is moved, so a large text is not copied.
///
/// # Errors
/// The errors of [`to_value`].
pub fn into_value<T: Serialize + 'static>(data: T) -> Result<Value> {
    let mut data = Some(data);
    let any: &mut dyn Any = &mut data;
    if let Some(text) = any.downcast_mut::<Option<String>>() {
        return Ok(Value::Str(text.take().unwrap_or_default()));
    }
    if let Some(value) = any.downcast_mut::<Option<Value>>() {
        return Ok(value.take().unwrap_or_default());
    }
    data.map_or(Ok(Value::Nil), |data| data.serialize(ToValue))
}

/// Converts a value to a Rust type. Texts are moved.
///
/// The fields of a struct may be written in snake_case or camelCase. An unknown field is rejected by name.
///
/// ```
/// use llmspell_core::{Map, Value, from_value};
/// #[derive(Debug, serde::Deserialize)]
/// struct Options { max_tokens: u32 }
/// let value = Value::Map(Map::from_iter([("maxTokens".to_owned(), Value::from(5))]));
/// assert_eq!(from_value::<Options>(value).unwrap().max_tokens, 5);
///
/// let value = Value::Map(Map::from_iter([("maxToken".to_owned(), Value::from(5))]));
/// assert_eq!(
///     from_value::<Options>(value).unwrap_err().message(),
///     "`Options` has no field `maxToken`; it has `max_tokens`",
/// );
/// ```
///
/// # Errors
/// Returns an error when the value has another shape. The error names the path, the expected type and the actual
/// type.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(FromValue(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::BoxFuture;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::callback::{Callback, CallbackHost};

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    struct NoHost;

    impl CallbackHost for NoHost {
        fn call(&self, _: crate::callback::CallbackCall) -> BoxFuture<'static, Result<Value>> {
            Box::pin(async { Ok(Value::Nil) })
        }
        fn release(&self, _: u64) {}
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Circle { radius: f64 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        text: String,
        count: u8,
        ratio: Option<f64>,
        shapes: Vec<Shape>,
    }

    #[derive(Debug, Deserialize)]
    struct WithFunction {
        on_chunk: Callback,
    }

    #[test]
    fn a_record_goes_there_and_back() {
        let sample = Sample {
            text: "x".into(),
            count: 3,
            ratio: None,
            shapes: vec![Shape::Dot, Shape::Circle { radius: 1.5 }],
        };
        let value = to_value(&sample).unwrap();
        assert_eq!(from_value::<Sample>(value).unwrap(), sample);
    }

    #[test]
    fn errors_name_the_path_and_both_types() {
        let cases = [
            (map(&[("text", Value::from(1))]), "`text`: expected string, found integer"),
            (map(&[("count", Value::from(1.5))]), "`count`: expected integer, found number"),
            (
                map(&[("count", Value::from(256))]),
                "`count`: expected a whole number from 0 to 255, found integer `256`",
            ),
            (
                map(&[("shapes", Value::List(vec![Value::from("Dot"), Value::from("Square")]))]),
                "`shapes`: item 2: expected \"Dot\" or \"Circle\", found \"Square\"",
            ),
            (
                map(&[("txt", Value::from("x"))]),
                "`Sample` has no field `txt`; it has `text`, `count`, `ratio`, `shapes`",
            ),
            (Value::from("x"), "expected table (`Sample`), found string"),
        ];
        for (value, message) in cases {
            assert_eq!(from_value::<Sample>(value).unwrap_err().message(), message);
        }
    }

    #[test]
    fn a_function_crosses_inside_a_record_and_nowhere_else() {
        let callback = Callback::new(7, Arc::new(NoHost));
        let record: WithFunction =
            from_value(map(&[("onChunk", Value::Callback(callback.clone()))])).unwrap();
        assert_eq!(record.on_chunk, callback);
        assert_eq!(to_value(&callback).unwrap(), Value::Callback(callback.clone()));
        assert_eq!(
            from_value::<WithFunction>(map(&[("on_chunk", Value::from("x"))])).unwrap_err().message(),
            "`on_chunk`: expected function, found string",
        );
        assert_eq!(serde_json::to_string(&callback).unwrap_err().to_string(), "a function is not data");
    }

    #[test]
    fn a_large_text_is_moved_in_and_out() {
        let text = "x".repeat(1000);
        let address = text.as_ptr();
        let Value::Str(inside) = into_value(text).unwrap() else { panic!("not a text") };
        assert_eq!(inside.as_ptr(), address);
        let outside: String = from_value(Value::Str(inside)).unwrap();
        assert_eq!(outside.as_ptr(), address);
    }

    #[test]
    fn integers_that_do_not_fit_are_refused() {
        assert!(to_value(&u64::MAX).unwrap_err().message().contains("too large"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            // Only finite numbers, because JSON has no NaN and no infinity.
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
        fn every_value_survives_serde(value in any_value()) {
            prop_assert_eq!(to_value(&value).unwrap(), value.clone());
            prop_assert_eq!(from_value::<Value>(value.clone()).unwrap(), value.clone());
        }

        #[test]
        fn every_value_survives_json(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::to_string(&serde_json::from_str::<Value>(&text).unwrap()).unwrap(), text);
        }
    }
}
