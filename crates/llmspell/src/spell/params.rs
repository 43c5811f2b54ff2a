//! Parameters of spells: their declarations in the manifest, and the check of the values that a caller gives.

use llmspell_core::{Error, Map, Result, Value};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// The types of parameters, with the names of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    #[serde(alias = "int")]
    Integer,
    /// Any number.
    Number,
    /// True or false.
    #[serde(alias = "bool")]
    Boolean,
    /// A list; as text, JSON.
    #[serde(alias = "list")]
    Array,
    /// A map from names to values; as text, JSON.
    #[serde(alias = "table")]
    Object,
}

impl ParamType {
    /// Returns the name in manifests and errors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// One parameter that a manifest declares.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParamSpec {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// A description for users.
    pub description: Option<String>,
    /// Whether a value must be given.
    pub required: bool,
    /// The value when none is given.
    pub default: Option<Value>,
    /// The only allowed values; empty allows all.
    #[serde(rename = "enum")]
    pub choices: Vec<Value>,
    /// A regular expression that must match somewhere in the text; `^` and `$` anchor it.
    pub pattern: Option<String>,
}

impl ParamSpec {
    /// The keys that a declaration may have.
    pub(super) const KEYS: [&str; 7] =
        ["name", "type", "description", "required", "default", "enum", "pattern"];

    /// Checks the declaration itself: its pattern must be valid and its default must fit its type.
    pub(super) fn checked(self) -> Result<Self> {
        let named = |error: Error| error.prefixed(format_args!("`parameters.{}`: ", self.name));
        if let Some(pattern) = &self.pattern {
            Regex::new(pattern).map_err(|error| named(Error::config(format!("`pattern`: {error}"))))?;
        }
        if let Some(default) = &self.default {
            self.accept(default.clone(), false).map_err(|error| named(error.prefixed("`default`: ")))?;
        }
        Ok(self)
    }

    /// Converts a value to the parameter's type and checks it. With `from_text`, a text is parsed, since values from a
    /// command line are texts.
    fn accept(&self, value: Value, from_text: bool) -> Result<Value> {
        let value = match value {
            Value::Str(text) if from_text && self.kind != ParamType::String => self.read(text),
            other => other,
        };
        let fits = matches!(
            (self.kind, &value),
            (ParamType::String, Value::Str(_))
                | (ParamType::Integer, Value::Int(_))
                | (ParamType::Number, Value::Int(_) | Value::Num(_))
                | (ParamType::Boolean, Value::Bool(_))
                | (ParamType::Array, Value::List(_))
                | (ParamType::Object, Value::Map(_))
        );
        if !fits {
            return Err(Error::config(format!("expected {}, found {}", self.kind.as_str(), shown(&value))));
        }
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            let choices: Vec<_> = self.choices.iter().map(shown).collect();
            return Err(Error::config(format!(
                "expected one of {}, found {}",
                choices.join(", "),
                shown(&value)
            )));
        }
        if let (Some(pattern), Value::Str(text)) = (&self.pattern, &value) {
            let pattern_matches = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
            if !pattern_matches {
                return Err(Error::config(format!("{} does not match the pattern {pattern}", shown(&value))));
            }
        }
        Ok(value)
    }

    fn read(&self, text: String) -> Value {
        let read = match self.kind {
            ParamType::String => None,
            ParamType::Integer => text.trim().parse().ok().map(Value::Int),
            ParamType::Number => {
                let number =
                    || text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Num);
                text.trim().parse().ok().map(Value::Int).or_else(number)
            }
            ParamType::Boolean => match text.trim() {
                "true" | "yes" | "on" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            ParamType::Array | ParamType::Object => serde_json::from_str(&text).ok(),
        };
        read.unwrap_or(Value::Str(text))
    }
}

/// Checks parameters, converts those given as text, and fills in defaults. A spell without declarations takes any.
pub(super) fn check(specs: &[ParamSpec], mut given: Map) -> Result<Map> {
    if specs.is_empty() {
        return Ok(given);
    }
    let mut checked = Map::new();
    for spec in specs {
        let value = match given.shift_remove(&spec.name) {
            Some(value) => spec.accept(value, true).map_err(|error| {
                error.prefixed(format_args!("parameter `{}`: ", spec.name)).hint(usage(specs))
            })?,
            None => match &spec.default {
                Some(default) => default.clone(),
                None if spec.required => {
                    return Err(
                        Error::config(format!("parameter `{}` is missing", spec.name)).hint(usage(specs))
                    );
                }
                None => continue,
            },
        };
        checked.insert(spec.name.clone(), value);
    }
    match given.keys().next() {
        None => Ok(checked),
        Some(unknown) => Err(Error::config(format!("there is no parameter `{unknown}`")).hint(usage(specs))),
    }
}

/// Describes the parameters, like `name (string, required), style (string, default "brief")`.
fn usage(specs: &[ParamSpec]) -> String {
    let each: Vec<_> = specs
        .iter()
        .map(|spec| {
            let more = match &spec.default {
                Some(default) => format!(", default {}", shown(default)),
                None if spec.required => ", required".into(),
                None => String::new(),
            };
            format!("{} ({}{more})", spec.name, spec.kind.as_str())
        })
        .collect();
    format!("the parameters are {}", each.join(", "))
}

/// Returns a value as JSON, cut after 60 characters.
fn shown(value: &Value) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_else(|_| value.type_name().to_owned());
    if let Some((cut, _)) = text.char_indices().nth(60) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ParamType) -> ParamSpec {
        ParamSpec { name: name.into(), kind, ..ParamSpec::default() }
    }

    fn one(spec: ParamSpec, value: impl Into<Value>) -> Result<Value, String> {
        let name = spec.name.clone();
        check(&[spec], Map::from_iter([(name.clone(), value.into())]))
            .map(|mut map| map.shift_remove(&name).unwrap())
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn text_from_a_command_line_is_read_as_the_declared_type() {
        for (kind, text, expected) in [
            (ParamType::String, "5", Value::from("5")),
            (ParamType::Integer, "5", Value::from(5)),
            (ParamType::Number, "2.5", Value::from(2.5)),
            (ParamType::Number, "2", Value::from(2)),
            (ParamType::Boolean, "yes", Value::from(true)),
            (ParamType::Array, "[1]", Value::List(vec![Value::from(1)])),
        ] {
            assert_eq!(one(spec("p", kind), text), Ok(expected));
        }
    }

    #[test]
    fn wrong_values_are_named_with_what_is_expected() {
        let choice =
            ParamSpec { choices: vec!["brief".into(), "long".into()], ..spec("style", ParamType::String) };
        let pattern = ParamSpec { pattern: Some("^https?://".into()), ..spec("url", ParamType::String) };
        for (spec, value, message) in [
            (spec("n", ParamType::Integer), Value::from("x"), "parameter `n`: expected integer, found \"x\""),
            (spec("n", ParamType::Integer), Value::from(1.5), "parameter `n`: expected integer, found 1.5"),
            (
                spec("n", ParamType::Number),
                Value::from("NaN"),
                "parameter `n`: expected number, found \"NaN\"",
            ),
            (choice, Value::from("x"), "parameter `style`: expected one of \"brief\", \"long\", found \"x\""),
            (pattern, Value::from("ftp"), "parameter `url`: \"ftp\" does not match the pattern ^https?://"),
        ] {
            assert_eq!(one(spec, value), Err(message.into()));
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_named_with_the_known_ones() {
        let required = ParamSpec { required: true, ..spec("name", ParamType::String) };
        let defaulted = ParamSpec { default: Some(3.into()), ..spec("times", ParamType::Integer) };
        let specs = [required, defaulted];
        let error = check(&specs, Map::new()).unwrap_err();
        assert_eq!(error.message(), "parameter `name` is missing");
        assert_eq!(error.hints(), ["the parameters are name (string, required), times (integer, default 3)"]);
        let given = |pairs: &[(&str, Value)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
        };
        let error = check(&specs, given(&[("name", "a".into()), ("tmies", 1.into())])).unwrap_err();
        assert_eq!(error.message(), "there is no parameter `tmies`");
        let checked = check(&specs, given(&[("name", "a".into())])).unwrap();
        assert_eq!(checked.get("times"), Some(&Value::from(3)));
    }
}
