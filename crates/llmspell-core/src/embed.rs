//! The neutral words of a call that turns texts into vectors.

use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, Message, Seconds, Usage};

/// Texts to turn into vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedRequest {
    /// The texts.
    pub texts: Vec<String>,
    /// The model: `provider/model`, or a name that the chosen provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider, where the model's name does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How many numbers a vector has, for models that let one choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// The most seconds the whole call may take, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
}

impl EmbedRequest {
    /// A question that takes as many tokens, whose answer takes none.
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

/// What texts became.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Embeddings {
    /// A vector for each text, in their order.
    pub vectors: Vec<Vec<f64>>,
    /// The model that made them.
    pub model: String,
    /// The provider that made them.
    pub provider: String,
    /// What it used.
    pub usage: Usage,
}
