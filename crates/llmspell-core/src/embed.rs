//! The neutral types of an embedding call.

use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, Message, Seconds, Usage};

/// A request for embedding vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedRequest {
    /// The texts.
    pub texts: Vec<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, if the model's name does not include it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The number of dimensions of each vector, for models that let the caller choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// The maximum duration of the whole call in seconds, including retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
}

impl EmbedRequest {
    /// Returns a chat request with the same input tokens and no output, for the estimate of the cost.
    #[must_use]
    pub fn as_question(&self) -> ChatRequest {
        ChatRequest {
            messages: self.texts.iter().map(Message::user).collect(),
            provider: self.provider.clone(),
            model: self.model.clone(),
            max_tokens: Some(0),
            ..ChatRequest::default()
        }
    }
}

/// The result of an embedding call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Embeddings {
    /// One vector for each text, in the order of the texts.
    pub vectors: Vec<Vec<f64>>,
    /// The model that computed the vectors.
    pub model: String,
    /// The provider that computed the vectors.
    pub provider: String,
    /// The usage of the call.
    pub usage: Usage,
}
