//! Typed answers: the answer of a model as a value that fits a schema, or an error that names the place where it does
//! not.
//!
//! An answer is read in three steps. `lenient.rs` finds JSON in the text. `coerce.rs` converts types where nothing is
//! lost. The schema validates the result. If no value fits, the model is asked again with the validation error, a
//! bounded number of times. Agents with an `output` use the same steps.

mod coerce;
mod lenient;

use llmspell_core::chat::{ChatRequest, FinishReason, Message, OutputSpec, Reply, Usage};
use llmspell_core::{CallInfo, Context, Error, ErrorKind, OutputInfo, Result};
use serde_json::Value as Json;

use crate::fallback::add;
use crate::schema::{Schema, ValidationError, shown, size};

/// The default number of attempts.
pub(crate) const USUAL_ATTEMPTS: u32 = 3;

/// The maximum number of bytes of an answer that an error contains.
const MAX_RAW: usize = 4 << 10;

/// Options for [`extract()`].
#[derive(Debug, Clone, Copy)]
pub struct ExtractSpec {
    /// The maximum number of attempts. Each repeated request contains the validation error. Default 3.
    pub attempts: u32,
    /// Whether to use the provider's native structured output. Default: if the model is known to support it.
    pub native: Option<bool>,
}

impl Default for ExtractSpec {
    fn default() -> Self {
        Self { attempts: USUAL_ATTEMPTS, native: None }
    }
}

/// A value that fits its schema, with what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The value, including the schema's defaults.
    pub value: Json,
    /// The number of attempts.
    pub attempts: u32,
    /// The usage of all attempts.
    pub usage: Usage,
}

/// Asks a model for a value that fits a schema, and asks again if the answer is invalid.
///
/// # Errors
/// The errors of the model call, and `output_invalid` when no attempt gave a valid value.
pub async fn extract(
    cx: &Context,
    mut request: ChatRequest,
    schema: &Schema,
    options: ExtractSpec,
) -> Result<Extracted> {
    request.output = Some(OutputSpec { schema: schema.json().clone(), native: options.native });
    let mut usage = Usage::default();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let reply = cx.models().chat(request.clone()).await.map_err(|error| with_usage(error, &usage))?;
        usage = add(usage, &reply.usage);
        match read_output(&reply, schema) {
            Ok(value) => return Ok(Extracted { value, attempts, usage }),
            Err(invalid) if invalid.may_repair && attempts < options.attempts => {
                request.messages.extend(repair_turn(&reply, &invalid.error));
            }
            Err(invalid) => return Err(output_invalid(invalid, reply, attempts, usage)),
        }
    }
}

/// An answer that does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidOutput {
    /// The first violation.
    pub(crate) error: ValidationError,
    /// Whether another attempt makes sense: the model finished its answer.
    pub(crate) may_repair: bool,
}

/// Reads the value of an answer. An unfinished answer is not read.
///
/// # Errors
/// When the answer contains no value that fits.
pub(crate) fn read_output(reply: &Reply, schema: &Schema) -> Result<Json, InvalidOutput> {
    let unread = |got: String| {
        let error = ValidationError { path: "$".to_owned(), expected: schema.expected(), got };
        Err(InvalidOutput { error, may_repair: false })
    };
    match (reply.finish_reason, reply.tool_calls.first()) {
        (FinishReason::Length, _) => unread("an answer that was cut off at its most tokens".to_owned()),
        (FinishReason::ContentFilter, _) => unread("nothing: the provider held the answer back".to_owned()),
        (FinishReason::Refusal, _) => unread("nothing: the model declined to answer".to_owned()),
        (FinishReason::ToolCalls, Some(call)) if reply.text.is_empty() => {
            unread(format!("a call of the tool `{}`", call.name))
        }
        _ => read_text(&reply.text, schema).map_err(|error| InvalidOutput { error, may_repair: true }),
    }
}

/// Reads the value in a text: JSON, JSON with the mistakes that models make, or the text itself as a string.
///
/// # Errors
/// When no value in the text fits. The error is that of the largest value. If several fit, the last one counts, because a
/// model that corrects itself writes the correction last.
fn read_text(text: &str, schema: &Schema) -> Result<Json, ValidationError> {
    let lenient::FoundValues { values, is_cut } = lenient::find(text);
    let mut largest: Option<(usize, ValidationError)> = None;
    for value in values.iter().rev() {
        match coerce::fit(schema, value.clone()) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let size = size(value);
                if largest.as_ref().is_none_or(|(most, _)| size >= *most) {
                    largest = Some((size, error));
                }
            }
        }
    }
    for inner in values.iter().rev().filter_map(wrapped) {
        if let Ok(value) = coerce::fit(schema, inner.clone()) {
            return Ok(value);
        }
    }
    if values.is_empty()
        && !is_cut
        && let Some(value) = lenient::lines(text)
        && schema.expected() == "object"
        && let Ok(value) = coerce::fit(schema, value)
    {
        return Ok(value);
    }
    let said = text.trim().trim_matches('`').trim();
    match (coerce::fit(schema, said.into()), largest) {
        (Ok(value), _) if !said.is_empty() && !is_cut => Ok(value),
        (_, Some((_, error))) if !is_cut => Err(error),
        _ => {
            let got = match (said.is_empty(), is_cut) {
                (true, _) => "nothing".to_owned(),
                (_, true) => format!("JSON that ends too early in {}", shown(&said.into())),
                _ => format!("no JSON in {}", shown(&said.into())),
            };
            Err(ValidationError { path: "$".to_owned(), expected: schema.expected(), got })
        }
    }
}

/// Returns the value that a model wrapped: in an object with one field, `{"answer": {…}}`, or in the form of a tool call.
fn wrapped(value: &Json) -> Option<&Json> {
    let fields = value.as_object()?;
    match fields.len() {
        1 => fields.values().next(),
        2 if value["name"].is_string() => fields.get("arguments").or_else(|| fields.get("parameters")),
        _ => None,
    }
}

/// Returns the messages of a repair attempt: the invalid answer, and the violation.
#[must_use]
pub(crate) fn repair_turn(reply: &Reply, error: &ValidationError) -> Vec<Message> {
    let words = format!(
        "Your answer does not fit the JSON Schema. {error}\nAnswer again with the whole corrected JSON value, and with nothing else."
    );
    let answer = (!reply.text.is_empty()).then(|| Message::assistant(&reply.text));
    answer.into_iter().chain([Message::user(words)]).collect()
}

/// Returns the error for an invalid answer, with the attempts and the usage so far.
#[must_use]
pub(crate) fn output_invalid(invalid: InvalidOutput, reply: Reply, attempts: u32, usage: Usage) -> Error {
    let ValidationError { path, expected, got } = invalid.error.clone();
    let message = format!("the answer does not fit the schema: {}", invalid.error);
    let error = Error::new(ErrorKind::OutputInvalid, message)
        .with_output(OutputInfo { path, expected, got, raw: cut(reply.text) })
        .with_call(CallInfo {
            provider: Some(reply.provider),
            attempts,
            usage: Some(usage),
            ..CallInfo::default()
        });
    match reply.finish_reason {
        FinishReason::Length => error.hint("raise `max_tokens`, lower `reasoning`, or ask for less"),
        FinishReason::ContentFilter | FinishReason::Refusal => error.hint("ask in other words"),
        FinishReason::ToolCalls => error.hint("an agent calls tools and has an `output` too"),
        FinishReason::Stop | FinishReason::Other => error,
    }
}

fn cut(mut raw: String) -> String {
    if raw.len() > MAX_RAW {
        raw.truncate(raw.floor_char_boundary(MAX_RAW));
        raw.push('…');
    }
    raw
}

/// Adds the usage of earlier attempts to the error of a failed call.
fn with_usage(mut error: Error, used: &Usage) -> Error {
    if *used != Usage::default() {
        let call = error.call_mut();
        call.usage = Some(add(used.clone(), &call.usage.take().unwrap_or_default()));
    }
    error
}

#[cfg(test)]
mod tests;
