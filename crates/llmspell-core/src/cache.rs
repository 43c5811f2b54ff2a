//! The cache of model answers, shared by all runs of a runtime.
//!
//! A request opts in with `cache`. The key is the request after its provider and model were resolved, so a spell whose
//! default model changes does not receive an answer of another model. The cache is consulted behind the journal: a
//! cached answer is recorded like any other, and a replay does not need the cache.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::chat::{ChatRequest, FinishReason, Reply, Usage};
use crate::context::Context;
use crate::convert::{from_value, to_value};
use crate::error::Result;
use crate::outcome::LogLevel;
use crate::value::{Map, Value};

/// Stores model answers by request.
pub trait Cache: Send + Sync {
    /// Returns the answer to a request; `None` if there is none, or it is older than `max_age`.
    ///
    /// # Errors
    /// When the cache cannot be read.
    fn find<'a>(
        &'a self,
        request: &'a Value,
        max_age: Option<Duration>,
    ) -> BoxFuture<'a, Result<Option<Value>>>;

    /// Stores an answer and replaces an older one.
    ///
    /// # Errors
    /// When the cache cannot be written.
    fn keep<'a>(&'a self, request: &'a Value, answer: &'a Value) -> BoxFuture<'a, Result<()>>;
}

/// Whether a request may be answered from the cache: `true`, `false`, or the maximum age of the answer in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CachePolicyForm", into = "CachePolicyForm")]
pub enum CachePolicy {
    /// The model is called, and its answer is not stored.
    Off,
    /// A cached answer is used if it is not older than this; `None` accepts any age.
    On(Option<Duration>),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum CachePolicyForm {
    Whether(bool),
    Seconds(f64),
}

impl TryFrom<CachePolicyForm> for CachePolicy {
    type Error = String;

    fn try_from(written: CachePolicyForm) -> Result<Self, String> {
        match written {
            CachePolicyForm::Whether(false) => Ok(Self::Off),
            CachePolicyForm::Whether(true) => Ok(Self::On(None)),
            CachePolicyForm::Seconds(seconds) => match Duration::try_from_secs_f64(seconds) {
                Ok(age) => Ok(Self::On(Some(age))),
                Err(_) => Err(format!("expected true, false or seconds, found {seconds}")),
            },
        }
    }
}

impl From<CachePolicy> for CachePolicyForm {
    fn from(policy: CachePolicy) -> Self {
        match policy {
            CachePolicy::Off => Self::Whether(false),
            CachePolicy::On(None) => Self::Whether(true),
            CachePolicy::On(Some(age)) => Self::Seconds(age.as_secs_f64()),
        }
    }
}

impl JsonSchema for CachePolicy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CachePolicy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "boolean"}, {"type": "number"}]})
    }
}

/// The cache slot of one request.
pub(crate) struct CacheKey {
    cx: Context,
    cache: Arc<dyn Cache>,
    key: Value,
    max_age: Option<Duration>,
}

impl CacheKey {
    /// Returns the slot of a request whose provider and model are resolved. `None` if the request does not use the
    /// cache, or the runtime has none.
    pub(crate) fn of(cx: &Context, request: &ChatRequest) -> Result<Option<Self>> {
        let Some(CachePolicy::On(max_age)) = request.cache else { return Ok(None) };
        let Some(cache) = cx.cache() else { return Ok(None) };
        // These fields change how the model is called, but not the question.
        let key = ChatRequest { cache: None, timeout: None, fallback: Vec::new(), ..request.clone() };
        Ok(Some(Self { cx: cx.clone(), cache: Arc::clone(cache), key: to_value(&key)?, max_age }))
    }

    /// Returns the cached answer, with zero usage and cost. A cache that cannot be read counts as empty.
    pub(crate) async fn find(&self) -> Result<Option<Reply>> {
        let found = self.cache.find(&self.key, self.max_age).await;
        let found = found.and_then(|found| found.map(from_value).transpose());
        let reply: Option<Reply> = match found {
            Ok(reply) => reply,
            Err(error) => {
                self.warn("read", &error)?;
                None
            }
        };
        Ok(reply.map(|reply| Reply {
            usage: Usage { cost_usd: Some(0.0), ..Usage::default() },
            cached: true,
            attempts: 0,
            ..reply
        }))
    }

    /// Stores an answer if it is complete and comes from the requested model, not from a fallback.
    pub(crate) async fn keep(&self, reply: &Reply) -> Result<()> {
        let is_whole = matches!(reply.finish_reason, FinishReason::Stop | FinishReason::ToolCalls);
        if !is_whole || !reply.failed.is_empty() {
            return Ok(());
        }
        let reply = to_value(reply)?;
        match self.cache.keep(&self.key, &reply).await {
            Ok(()) => Ok(()),
            Err(error) => self.warn("written", &error),
        }
    }

    /// Logs a failure of the cache. The script still gets its answer.
    fn warn(&self, what: &str, error: &crate::Error) -> Result<()> {
        self.cx.log(LogLevel::Warn, format!("the cache could not be {what}: {error}"), Map::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_switch_or_an_age() {
        let read = |text: &str| serde_json::from_str::<CachePolicy>(text).map_err(|error| error.to_string());
        assert_eq!(read("true"), Ok(CachePolicy::On(None)));
        assert_eq!(read("false"), Ok(CachePolicy::Off));
        assert_eq!(read("0.5"), Ok(CachePolicy::On(Some(Duration::from_millis(500)))));
        assert_eq!(read("-1"), Err("expected true, false or seconds, found -1".to_owned()));
        for policy in ["true", "false", "60.0"] {
            assert_eq!(serde_json::to_string(&read(policy).unwrap()).unwrap(), policy);
        }
    }
}
