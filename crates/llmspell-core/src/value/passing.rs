//! How functions and objects pass through serde, whose data model has neither.

use std::cell::RefCell;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::Value;
use crate::callback::Callback;

/// The private name of the newtype.
pub(crate) const CALLBACK: &str = "$llmspell::Callback";

thread_local! {
    /// Serde's data model has no functions or objects. A function or object waits here while serde is passed a
    /// newtype with a private name. The crate `toml` passes its date-times in the same way, as text.
    pub(crate) static PASSING: RefCell<Option<Value>> = const { RefCell::new(None) };
}

impl Serialize for Callback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PASSING.with(|slot| slot.replace(Some(Value::Callback(self.clone()))));
        let result = serializer.serialize_newtype_struct(CALLBACK, &());
        // If the value is still there, the serializer is not ours and has written `null`.
        match PASSING.with(RefCell::take) {
            None => result,
            Some(_) => Err(ser::Error::custom("a function is not data")),
        }
    }
}

impl<'de> Deserialize<'de> for Callback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallbackVisitor;
        impl<'de> Visitor<'de> for CallbackVisitor {
            type Value = Callback;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("function")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Callback, D::Error> {
                match take_passing(deserializer)? {
                    Value::Callback(callback) => Ok(callback),
                    other => Err(serde::de::Error::custom(format_args!(
                        "expected function, found {}",
                        other.type_name()
                    ))),
                }
            }
        }
        deserializer.deserialize_newtype_struct(CALLBACK, CallbackVisitor)
    }
}

impl schemars::JsonSchema for Callback {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Callback".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The type makes `Option<Callback>` distinguishable from `Callback`.
        schemars::json_schema!({"x-llmspell": "function", "type": "object"})
    }
}

impl schemars::JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // A schema that is not empty makes `Option<Value>` distinguishable from `Value`.
        schemars::json_schema!({"anyOf": [{}]})
    }
}

/// Takes the function or object that is being passed through serde.
pub(crate) fn take_passing<'de, D: Deserializer<'de>>(_: D) -> Result<Value, D::Error> {
    PASSING.with(RefCell::take).ok_or_else(|| serde::de::Error::custom("expected function"))
}
