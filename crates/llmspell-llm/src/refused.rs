//! Optional parameters that a server refused, learned from its errors.
//!
//! The catalogue and the rules of `model_rules.rs` know what most models refuse. What they do not know yet is learned
//! from the first error, for the life of the process: the call is made once more without the parameter, with a warning.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use llmspell_core::chat::ChatRequest;
use serde_json::Value as Json;

/// The maximum number of refusals that are stored.
const MOST_LEARNED: usize = 1_000;

/// An optional parameter of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Parameter {
    Temperature,
    TopP,
    /// Sent under its other name if it is refused.
    MaxTokens,
    Stop,
    Seed,
    Reasoning,
    /// The native structured output. The schema is described in the prompt if it is refused.
    Output,
    /// An option of Chat Completions that requests the usage of a stream.
    StreamOptions,
}

/// All parameters with their names in the APIs, in lower case.
const PARAMETERS: [(Parameter, &[&str]); 8] = [
    (Parameter::StreamOptions, &["stream_options"]),
    (Parameter::Temperature, &["temperature"]),
    (Parameter::TopP, &["top_p", "topp"]),
    (Parameter::MaxTokens, &["max_tokens", "max_completion_tokens", "max_output_tokens", "maxoutputtokens"]),
    (Parameter::Stop, &["stop", "stop_sequences", "stopsequences"]),
    (Parameter::Seed, &["seed"]),
    (
        Parameter::Reasoning,
        &[
            "reasoning_effort",
            "reasoningeffort",
            "reasoning.effort",
            "reasoning",
            "thinking",
            "think",
            "thinkingconfig",
            "thinking_config",
            "thinking_budget",
            "thinkingbudget",
            "thinking_level",
            "effort",
        ],
    ),
    (
        Parameter::Output,
        &[
            "response_format",
            "output_config",
            "output_format",
            "text.format",
            "json_schema",
            "responsejsonschema",
            "response_schema",
            "responsemimetype",
        ],
    ),
];

/// Names that are common words: in a message they count only where they must be a parameter.
const COMMON_WORDS: [&str; 6] = ["stop", "seed", "reasoning", "thinking", "think", "effort"];

/// Codes of errors that refuse a parameter or its value.
const CODES: [&str; 4] =
    ["unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"];

/// What messages say that refuse a parameter.
const SAYINGS: [&str; 15] = [
    "unsupported",
    "not supported",
    "not support",
    "n't support",
    "not permitted",
    "unrecognized",
    "unknown name",
    "unknown parameter",
    "unexpected keyword",
    "deprecated",
    "cannot both be",
    "not enabled",
    "unavailable",
    "is allowed for this model",
    "may only be set to",
];

impl Parameter {
    /// Returns the name in a request of ours.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::MaxTokens => "max_tokens",
            Self::Stop => "stop",
            Self::Seed => "seed",
            Self::Reasoning => "reasoning",
            Self::Output => "output",
            Self::StreamOptions => "stream_options",
        }
    }

    /// Whether a request may lead to the parameter.
    pub(crate) fn is_in(self, request: &ChatRequest) -> bool {
        match self {
            Self::Temperature => request.temperature.is_some(),
            Self::TopP => request.top_p.is_some(),
            Self::MaxTokens => request.max_tokens.is_some(),
            Self::Stop => !request.stop.is_empty(),
            Self::Seed => request.seed.is_some(),
            Self::Reasoning => request.reasoning.is_some(),
            Self::Output => request.output.is_some(),
            Self::StreamOptions => true,
        }
    }

    /// Tells the user what to do if the parameter cannot be left out for them.
    fn hint(self) -> String {
        match self {
            Self::MaxTokens => "leave `max_tokens` out, or ask the model as `openai-responses/…`".to_owned(),
            Self::Reasoning => {
                "set `reasoning` to another value, or leave it out if the model cannot reason".to_owned()
            }
            other => format!("leave `{}` out: the model does not take it", other.name()),
        }
    }
}

/// The source of an error that refuses one of these parameters.
#[derive(Debug)]
pub(crate) struct RefusedParameters(pub(crate) Vec<Parameter>);

impl fmt::Display for RefusedParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter is refused")
    }
}

impl std::error::Error for RefusedParameters {}

impl RefusedParameters {
    /// Reads which parameters an error refuses: by its fields, or else by its words.
    pub(crate) fn read(error: &Json, message: &str) -> Option<(Self, String)> {
        let message = message.to_lowercase();
        let details = [&error["detail"], &error["message"]["detail"]].into_iter().filter_map(Json::as_array);
        let details: Vec<&Json> = details.flatten().collect();
        let is_coded = [&error["code"], &error["type"]]
            .into_iter()
            .chain(details.iter().map(|detail| &detail["type"]))
            .any(|code| code.as_str().is_some_and(|code| CODES.contains(&code)));
        if !is_coded && !SAYINGS.iter().any(|saying| message.contains(saying)) {
            return None;
        }
        let mut fields: Vec<String> = error["param"].as_str().map(str::to_lowercase).into_iter().collect();
        let places = details.iter().flat_map(|detail| detail["loc"].as_array().into_iter().flatten());
        fields.extend(places.filter_map(Json::as_str).map(str::to_lowercase));
        let found: Vec<Parameter> = PARAMETERS
            .iter()
            .filter(|(_, names)| {
                names.iter().any(|name| fields.iter().any(|field| field == name) || mentions(&message, name))
            })
            .map(|(parameter, _)| *parameter)
            .collect();
        let hint = match (message.contains("tools"), found.first()?) {
            (true, Parameter::Reasoning) => {
                "set `reasoning = \"none\"`, or ask the model as `openai-responses/…`: it does not call tools while it reasons"
                    .to_owned()
            }
            (_, first) => first.hint(),
        };
        Some((Self(found), hint))
    }
}

/// Whether a message in lower case mentions a parameter.
fn mentions(message: &str, name: &str) -> bool {
    if COMMON_WORDS.contains(&name) {
        let quoted = ['\'', '"', '`'].iter().any(|quote| {
            message.contains(&format!("{quote}{name}{quote}")) || message.contains(&format!("{quote}{name}."))
        });
        let before = ["parameter ", "parameter: ", "argument ", "supplied: ", "model: ", "support "];
        let after = [" is not supported", " is not enabled", " is unsupported"];
        return quoted
            || before.iter().any(|before| is_word_in(message, &format!("{before}{name}"), name.len()))
            || after.iter().any(|after| message.contains(&format!("{name}{after}")));
    }
    is_word_in(message, name, name.len())
}

/// Whether a text contains a phrase whose last `length` bytes are a word of their own.
fn is_word_in(text: &str, phrase: &str, length: usize) -> bool {
    let is_inner = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(phrase).any(|(at, _)| {
        let bytes = text.as_bytes();
        let (begin, end) = (at + phrase.len() - length, at + phrase.len());
        !is_inner(begin.checked_sub(1).and_then(|before| bytes.get(before))) && !is_inner(bytes.get(end))
    })
}

type Learned = HashMap<(String, String), HashSet<Parameter>>;

/// What this process learned, by base URL and model.
static LEARNED: LazyLock<Mutex<Learned>> = LazyLock::new(Mutex::default);

/// Stores that a model refuses a parameter.
pub(crate) fn learn(base_url: &str, model: &str, parameter: Parameter) {
    let mut learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if learned.len() >= MOST_LEARNED {
        learned.clear();
    }
    learned.entry((base_url.to_owned(), model.to_owned())).or_default().insert(parameter);
}

/// Whether a model is known to refuse a parameter.
pub(crate) fn is_refused(base_url: &str, model: &str, parameter: Parameter) -> bool {
    let learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    !learned.is_empty()
        && learned
            .get(&(base_url.to_owned(), model.to_owned()))
            .is_some_and(|refused| refused.contains(&parameter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_parameters_that_they_refuse() {
        use Parameter::*;
        for (error, expected) in [
            (
                json!({"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "param": "max_tokens", "code": "unsupported_parameter"}),
                &[MaxTokens][..],
            ),
            (
                json!({"message": "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "param": "temperature", "code": "unsupported_value"}),
                &[Temperature],
            ),
            (json!({"message": "`temperature` is deprecated for this model."}), &[Temperature]),
            (
                json!({"message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one."}),
                &[Temperature, TopP],
            ),
            (json!({"message": "invalid temperature: only 1 is allowed for this model"}), &[Temperature]),
            (json!({"message": "\"llama3.2\" does not support thinking"}), &[Reasoning]),
            (json!({"message": "Model grok-4 does not support parameter reasoningEffort."}), &[Reasoning]),
            (json!({"message": "Argument not supported on this model: stop"}), &[Stop]),
            (json!({"message": "Unrecognized request argument supplied: stream_options"}), &[StreamOptions]),
            (
                json!({"message": "Invalid JSON payload received. Unknown name \"thinkingConfig\" at 'generation_config': Cannot find field."}),
                &[Reasoning],
            ),
            (json!({"message": "property 'reasoning_effort' is unsupported"}), &[Reasoning]),
            (json!({"message": "This model does not support response format `json_schema`."}), &[Output]),
            (json!({"message": "This response_format type is unavailable now"}), &[Output]),
            (
                json!({"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}}),
                &[Seed],
            ),
            (
                json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}),
                &[Seed],
            ),
            (
                json!({"message": "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions."}),
                &[Reasoning],
            ),
            // Mistakes of the request.
            (
                json!({"message": "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.", "param": "temperature", "code": "decimal_above_max_value"}),
                &[],
            ),
            (json!({"message": "messages: text content blocks must be non-empty"}), &[]),
            (json!({"message": "The image format is not supported; stop and think"}), &[]),
        ] {
            let message = error["message"].as_str().unwrap_or_default();
            let found = RefusedParameters::read(&error, message).map(|(refused, _)| refused.0);
            assert_eq!(found.unwrap_or_default(), expected, "{error}");
        }
    }
}
