//! The arguments and result of `llm.embed`, for one text or several.

use std::borrow::Cow;

use llmspell_core::bridge::FromArgument;
use llmspell_core::chat::Seconds;
use llmspell_core::embed::EmbedRequest;
use llmspell_core::{Context, Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::selection::Selection;

/// The maximum number of texts per call.
const MAX_TEXTS: usize = 10_000;

/// The maximum size of all texts of a call, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// One text, or several.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Texts {
    /// One text.
    One(String),
    /// Several texts.
    Many(Vec<String>),
}

impl FromArgument for Texts {
    fn from_argument(value: Value) -> Result<Self> {
        match value {
            Value::Str(text) => Ok(Self::One(text)),
            list @ (Value::List(_) | Value::Map(_)) => from_value(list).map(Self::Many),
            other => {
                let found = other.type_name();
                Err(Error::argument(format!("expected string or list of strings, found {found}")))
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

/// The embedding vectors: a single vector for one text, a list for several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Vectors {
    /// The vector of one text.
    One(Vec<f64>),
    /// The vectors of several texts.
    Many(Vec<Vec<f64>>),
}

/// The schema accepts anything. The argument decides which variant is returned, and typed languages cannot express
/// that; with a union, every caller would have to narrow the type.
impl JsonSchema for Vectors {
    fn schema_name() -> Cow<'static, str> {
        "Vectors".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

/// Options for embeddings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedOptions {
    /// The model: `provider/model`, or a name that the chosen provider knows.
    model: Option<String>,
    /// The provider, if the model's name does not include it.
    provider: Option<String>,
    /// The number of dimensions of each vector, for models that let the caller choose.
    dimensions: Option<u32>,
    /// The maximum duration of the whole call in seconds, including retries.
    timeout: Option<Seconds>,
}

/// Computes the embedding vectors of texts.
pub(super) async fn embed(cx: &Context, texts: Texts, options: EmbedOptions) -> Result<Vectors> {
    let (texts, is_one) = match texts {
        Texts::One(text) => (vec![text], true),
        Texts::Many(texts) => (texts, false),
    };
    check(&texts)?;
    if texts.is_empty() {
        return Ok(Vectors::Many(Vec::new()));
    }
    let EmbedOptions { model, provider, dimensions, timeout } = options;
    let (provider, model) = meant(cx, provider, model)?;
    let request = EmbedRequest { texts, model, provider, dimensions, timeout };
    let mut vectors = cx.models().embed(request).await?.vectors;
    let bytes: usize = vectors.iter().map(|vector| size_of_val(vector.as_slice())).sum();
    cx.meter().allow_memory(2 * bytes as u64)?;
    match vectors.pop() {
        Some(vector) if is_one => Ok(Vectors::One(vector)),
        last => {
            vectors.extend(last);
            Ok(Vectors::Many(vectors))
        }
    }
}

fn check(texts: &[String]) -> Result<()> {
    let bytes: usize = texts.iter().map(String::len).sum();
    if texts.len() > MAX_TEXTS {
        return Err(Error::argument(format!("too many texts for one call: {} of {MAX_TEXTS}", texts.len())));
    }
    if bytes > MAX_BYTES {
        return Err(Error::argument(format!("too much text for one call: {bytes} of {MAX_BYTES} bytes")));
    }
    Ok(())
}

/// Applies the provider that the run has selected. The selected model is not used, because it is a chat model.
fn meant(
    cx: &Context,
    provider: Option<String>,
    model: Option<String>,
) -> Result<(Option<String>, Option<String>)> {
    match (provider, model) {
        (None, None) => Ok((Some(Selection::current(cx)?.provider), None)),
        (None, Some(model)) => {
            let found = Selection::resolve(cx, None, Some(&model))?;
            Ok((Some(found.provider), Some(found.model)))
        }
        named => Ok(named),
    }
}
