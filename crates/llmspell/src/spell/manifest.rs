//! The manifest of a spell, `spell.yaml`.
//!
//! The manifest declares parameters, asks for permissions, and sets limits and models. Limits and models apply unless
//! the user sets others. Permissions hold only if the user grants them.
//!
//! Unknown keys are only warnings, so that a manifest for a newer version still loads. Unknown keys in `permissions`
//! and `limits` are errors, since ignoring them could change what a spell may do.

use std::time::Duration;

use llmspell_core::{
    Error, LIMITS, Limit, LimitField, LimitsPatch, Map, Permissions, Result, Value, from_value,
};
use serde::{Deserialize, Serialize};

use super::asked::{self, AskedPermissions};
use super::params::ParamSpec;

/// The manifest of a spell. All fields are optional.
///
/// Unknown keys become [`warnings`](Self::warnings); unknown keys in `permissions` and `limits` are errors.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Manifest {
    /// The name of the spell.
    pub name: Option<String>,
    /// The version of the spell.
    pub version: Option<String>,
    /// What the spell does.
    pub description: Option<String>,
    /// The author.
    pub author: Option<String>,
    /// The engine, if the extension of the entry script does not determine it: an engine's name, a language or a file
    /// extension. It also selects the entry script if several languages have one.
    pub engine: Option<String>,
    /// The path of the entry script in the spell's folder.
    pub entry: Option<String>,
    /// The parameters.
    pub parameters: Vec<ParamSpec>,
    /// The permissions that the spell asks for, as written; [`Spell::asked`](crate::Spell::asked) has absolute paths.
    /// None of them holds until the user grants it.
    pub permissions: Permissions,
    /// The limits that the spell sets for itself.
    pub limits: LimitsPatch,
    /// The model to use when the user names none.
    pub model: Option<String>,
    /// The fallback models, in order: each is asked when the one before it cannot answer.
    pub fallback: Vec<String>,
    /// The maximum number of retries of a failed model call, for requests that do not say it.
    pub retries: Option<u32>,
    /// Warnings about keys that were not understood.
    pub warnings: Vec<String>,
}

/// Keys that are accepted and have no effect yet. `capabilities` comes from older manifests and can cause a warning.
const LATER: [&str; 5] = ["license", "tags", "homepage", "returns", "capabilities"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestFile {
    name: Option<String>,
    version: Option<Value>,
    description: Option<String>,
    author: Option<String>,
    engine: Option<String>,
    entry: Option<String>,
    parameters: Value,
    permissions: AskedPermissions,
    limits: Map,
    timeout: Value,
    memory_limit: Value,
}

const READ: [&str; 11] = [
    "name",
    "version",
    "description",
    "author",
    "engine",
    "entry",
    "parameters",
    "permissions",
    "limits",
    "timeout",
    "memory_limit",
];

/// Returns the YAML parser's message, without its advice to programmers.
fn told(error: &serde_saphyr::Error) -> String {
    error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "").trim_end().to_owned()
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// When the text is not YAML within the parser's budgets, repeats a key, or has a field of the wrong type. The
    /// error names the field.
    pub fn parse(text: &str) -> Result<Self> {
        let read: Option<Map> =
            serde_saphyr::from_str(text).map_err(|error| Error::config(told(error.without_snippet())))?;
        let mut map = read.unwrap_or_default();
        let (model, fallback) = models(map.get("models"))?;
        let retries = match map.get("models").and_then(|models| models.get("retries")) {
            None | Some(Value::Nil) => None,
            Some(retries) => Some(count("models.retries", retries.clone())?),
        };
        let mut warnings: Vec<_> = map
            .keys()
            .filter(|key| !READ.contains(&key.as_str()) && !LATER.contains(&key.as_str()) && *key != "models")
            .map(|key| format!("unknown key `{key}`"))
            .chain(map.get("capabilities").and_then(asked::warning))
            .collect();
        map.retain(|key, _| READ.contains(&key.as_str()));
        let written: ManifestFile = from_value(Value::Map(map)).map_err(as_config)?;
        let permissions = Permissions::from(written.permissions);
        asked::check(&permissions)?;
        let mut limits = limits(written.limits)?;
        if !written.timeout.is_nil() {
            limits.set(Limit::Wall).wall = span("timeout", &written.timeout)?;
        }
        if !written.memory_limit.is_nil() {
            limits.set(Limit::Memory).memory = size("memory_limit", &written.memory_limit)?;
        }
        Ok(Self {
            name: written.name,
            version: written.version.map(plain),
            description: written.description,
            author: written.author,
            engine: written.engine,
            entry: written.entry.map(inside).transpose()?,
            parameters: parameters(written.parameters, &mut warnings)?,
            permissions,
            limits,
            model,
            fallback,
            retries,
            warnings,
        })
    }
}

/// Returns the default model and the fallback models, which are one name or a list.
fn models(written: Option<&Value>) -> Result<(Option<String>, Vec<String>)> {
    let model = written.and_then(|models| models.get("default")).and_then(Value::as_str).map(str::to_owned);
    let fallback = match written.and_then(|models| models.get("fallback")) {
        None | Some(Value::Nil) => Vec::new(),
        Some(Value::Str(name)) => vec![name.clone()],
        Some(list) => count("models.fallback", list.clone())?,
    };
    match fallback.iter().any(|name| name.trim().is_empty()) {
        true => Err(Error::config("`models.fallback`: a name is empty")),
        false => Ok((model, fallback)),
    }
}

/// Makes a conversion error a configuration error, since the value comes from the manifest.
fn as_config(error: Error) -> Error {
    Error::config(error.message())
}

/// Returns a version as text: `version: 1.2` is a number in YAML.
fn plain(value: Value) -> String {
    match value {
        Value::Str(text) => text,
        other => serde_json::to_string(&other).unwrap_or_default(),
    }
}

fn inside(entry: String) -> Result<String> {
    let parts = || entry.split(['/', '\\']);
    if entry.starts_with(['/', '~'])
        || entry.contains(':')
        || parts().any(|part| part == ".." || part.is_empty())
    {
        return Err(Error::config(format!("`entry`: `{entry}` does not stay inside the spell's folder")));
    }
    Ok(entry)
}

/// Reads the parameters: a map from names to declarations, or a list of declarations with names.
fn parameters(written: Value, warnings: &mut Vec<String>) -> Result<Vec<ParamSpec>> {
    let declared: Vec<(String, Value)> = match written {
        Value::Nil => Vec::new(),
        Value::Map(map) => map.into_iter().collect(),
        Value::List(list) => list
            .into_iter()
            .enumerate()
            .map(|(at, item)| match item.get("name").and_then(Value::as_str) {
                Some(name) => Ok((name.to_owned(), item)),
                None => Err(Error::config(format!("`parameters`: item {} has no `name`", at + 1))),
            })
            .collect::<Result<_>>()?,
        other => {
            return Err(Error::config(format!(
                "`parameters`: expected table or list, found {}",
                other.type_name()
            )));
        }
    };
    declared
        .into_iter()
        .map(|(name, spec)| {
            let spec = match spec {
                Value::Nil => ParamSpec::default(),
                // The short form `name: string`.
                Value::Str(kind) => {
                    from_value(Value::Map(Map::from_iter([("type".to_owned(), Value::Str(kind))])))
                        .map_err(|error| named(&name, error))?
                }
                Value::Map(mut spec) => {
                    let unknown = spec.keys().filter(|key| !ParamSpec::KEYS.contains(&key.as_str()));
                    warnings.extend(unknown.map(|key| format!("unknown key `parameters.{name}.{key}`")));
                    spec.retain(|key, _| ParamSpec::KEYS.contains(&key.as_str()));
                    from_value(Value::Map(spec)).map_err(|error| named(&name, error))?
                }
                spec => from_value(spec).map_err(|error| named(&name, error))?,
            };
            ParamSpec { name, ..spec }.checked()
        })
        .collect()
}

fn named(name: &str, error: Error) -> Error {
    as_config(error).prefixed(format_args!("`parameters.{name}`: "))
}

fn limits(written: Map) -> Result<LimitsPatch> {
    let mut patch = LimitsPatch::default();
    for (name, value) in written {
        let row = LIMITS.iter().find(|row| row.name == name).ok_or_else(|| unknown_limit(&name))?;
        let (key, limits) = (format!("limits.{name}"), patch.set(row.limit));
        match row.field {
            LimitField::Time(of) => *of(limits) = span(&key, &value)?,
            LimitField::Size(of) => *of(limits) = size(&key, &value)?,
            LimitField::Count(of) => *of(limits) = count(&key, value)?,
            LimitField::OptionalCount(of) => *of(limits) = Some(count(&key, value)?),
            LimitField::Dollars(of) => *of(limits) = Some(count(&key, value)?),
        }
    }
    Ok(patch)
}

fn unknown_limit(name: &str) -> Error {
    let names: Vec<&str> = LIMITS.iter().map(|row| row.name).collect();
    Error::config(format!("`limits`: there is no limit `{name}`"))
        .hint(format!("the limits are {}", names.join(", ")))
}

fn count<T: serde::de::DeserializeOwned>(key: &str, value: Value) -> Result<T> {
    from_value(value).map_err(|error| as_config(error).prefixed(format_args!("`{key}`: ")))
}

/// Parses a duration, such as `60`, `"60s"`, `"1.5m"`, `"250ms"` or `"2h"`. A number without a unit is in seconds.
///
/// # Errors
/// When the text is not a duration, or not above zero and below 366 days.
pub fn parse_span(text: &str) -> Result<Duration> {
    let (number, unit) = number_and_unit(text);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => f64::NAN,
    };
    let span = number.map(|number| number * seconds).filter(|span| *span > 0.0 && *span < 366.0 * 86_400.0);
    span.map(Duration::from_secs_f64)
        .ok_or_else(|| Error::config(format!("expected a time such as 60s, 250ms or 2m, found {text:?}")))
}

/// Parses a size, such as `128MB`, `64KB`, `1GB` or a number of bytes. Units are powers of 1024, with or without the
/// `i`.
///
/// # Errors
/// When the text is not a size.
pub fn parse_size(text: &str) -> Result<u64> {
    let (number, unit) = number_and_unit(text);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => f64::NAN,
    };
    let size = number.map(|number| number * unit).filter(|size| *size >= 1.0 && *size < 1e15);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be between 1 and 1e15"
    )]
    size.map(|size| size as u64)
        .ok_or_else(|| Error::config(format!("expected a size such as 128MB or 64KB, found {text:?}")))
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit.trim())
}

fn span(key: &str, value: &Value) -> Result<Duration> {
    parse_span(&plain(value.clone())).map_err(|error| error.prefixed(format_args!("`{key}`: ")))
}

fn size(key: &str, value: &Value) -> Result<u64> {
    parse_size(&plain(value.clone())).map_err(|error| error.prefixed(format_args!("`{key}`: ")))
}

#[cfg(test)]
mod tests {
    use llmspell_core::Limits;

    use super::super::ParamType;
    use super::*;

    #[test]
    fn a_manifest_is_read_whole() {
        let manifest = Manifest::parse(
            "name: web\nversion: 1.2\ndescription: d\nentry: lib/main.luau\n\
             parameters:\n  url: {type: string, required: true, pattern: '^https?://'}\n  style: {enum: [brief, detailed], default: brief}\n  n: integer\n\
             permissions: {net: [example.com]}\nlimits: {wall: 60s, memory: 64MB, cost: 0.5}\nmodels: {default: openai/gpt, fallback: [anthropic/claude, mock/echo], retries: 4}\ntags: [a]\n",
        )
        .unwrap();
        assert_eq!(manifest.version.as_deref(), Some("1.2"));
        assert_eq!(manifest.parameters.len(), 3);
        assert_eq!(manifest.parameters[1].default, Some("brief".into()));
        assert_eq!(manifest.parameters[2].kind, ParamType::Integer);
        assert_eq!(
            manifest.permissions.net,
            llmspell_core::Grant::Only(vec!["example.com".parse().unwrap()])
        );
        let limits = manifest.limits.over(Limits::default());
        let (wall, memory, cost) = (Duration::from_secs(60), 64 << 20, Some(0.5));
        assert_eq!(limits, Limits { wall, memory, cost, ..Limits::default() });
        assert_eq!(manifest.model.as_deref(), Some("openai/gpt"));
        assert_eq!(manifest.retries, Some(4));
        assert_eq!(manifest.fallback, ["anthropic/claude", "mock/echo"]);
        assert_eq!(Manifest::parse("models: {fallback: mock/echo}").unwrap().fallback, ["mock/echo"]);
        assert!(manifest.warnings.is_empty());
    }

    #[test]
    fn older_shapes_are_understood() {
        let manifest = Manifest::parse(
            "timeout: 60\nmemory_limit: 128MB\ncapabilities: [llm.chat, http.get, storage.write]\nparameters: [{name: a}]",
        )
        .unwrap();
        assert_eq!(
            manifest.warnings,
            ["`capabilities` grants nothing: write what http.get needs as `permissions`"]
        );
        assert!(manifest.permissions.is_empty());
        let limits = manifest.limits.over(Limits { memory: 1, ..Limits::default() });
        assert_eq!(limits, Limits { wall: Duration::from_secs(60), ..Limits::default() });
        assert_eq!(manifest.parameters[0].name, "a");
    }

    #[test]
    fn unknown_keys_warn_and_wrong_ones_are_named() {
        let manifest = Manifest::parse("nmae: x\nparameters: {n: {type: integer, minimum: 1}}").unwrap();
        assert_eq!(manifest.warnings, ["unknown key `nmae`", "unknown key `parameters.n.minimum`"]);
        assert_eq!(Manifest::parse("").unwrap(), Manifest::default());
        for (text, message) in [
            (
                "permissions: {network: [a]}",
                "`permissions`: `Permissions` has no field `network`; it has `net`, `read`, `write`",
            ),
            ("models: {fallback: 5}", "`models.fallback`: expected "),
            ("models: {retries: -1}", "`models.retries`: expected "),
            ("models: {fallback: ['']}", "`models.fallback`: a name is empty"),
            ("permissions: {read: [data/../..]}", "`permissions.read`: `data/../..` has `..` in it"),
            (
                "permissions: {write: [~/texts]}",
                "`permissions.write`: `~/texts` has no meaning in a manifest",
            ),
            ("permissions: {read: ['']}", "`permissions.read`: `` is no path"),
            ("permissions: {net: [\"a\\e[2J.org\"]}", "is not a host: "),
            ("permissions: {net: all}", "`permissions`: `net`: expected list, found string"),
            ("permissions: {net: ['*']}", "`*` is not a host: "),
            ("limits: {time: 5}", "`limits`: there is no limit `time`"),
            (
                "limits: {wall: soon}",
                "`limits.wall`: expected a time such as 60s, 250ms or 2m, found \"soon\"",
            ),
            ("entry: ../x.luau", "`entry`: `../x.luau` does not stay inside the spell's folder"),
            ("parameters: {a: {type: text}}", "`parameters.a`: `type`: expected \"string\" or \"int\" or"),
            (
                "parameters: {a: {type: integer, default: x}}",
                "`parameters.a`: `default`: expected integer, found \"x\"",
            ),
            ("parameters: {a: {pattern: '('}}", "`parameters.a`: `pattern`: "),
            ("name: [", ""),
            ("name: a\nname: b", "duplicate"),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert!(error.message().contains(message) && error.is_config(), "{text}: {error}");
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        for (text, millis) in
            [("60", 60_000), ("1.5s", 1500), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse_span(text).unwrap(), Duration::from_millis(millis));
        }
        for bad in ["", "-1", "0", "1e9", "5 parsecs", "999999h"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        for (text, bytes) in [("64MB", 64 << 20), ("1.5 KiB", 1536), ("100", 100), ("1g", 1 << 30)] {
            assert_eq!(parse_size(text).unwrap(), bytes);
        }
        for bad in ["", "0", "12 XB", "-5"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
