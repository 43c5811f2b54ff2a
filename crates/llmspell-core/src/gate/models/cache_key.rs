//! The use of the answer cache by a model call.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, CachePolicy};
use crate::chat::{ChatRequest, FinishReason, Reply, Usage};
use crate::context::Context;
use crate::convert::{from_value, to_value};
use crate::error::{Error, Result};
use crate::outcome::LogLevel;
use crate::value::{Map, Value};

/// The cache slot of one request.
pub(super) struct CacheKey {
    cx: Context,
    cache: Arc<dyn Cache>,
    key: Value,
    max_age: Option<Duration>,
}

impl CacheKey {
    /// Returns the slot of a request whose provider and model are resolved. `None` if the request does not use the
    /// cache, or the runtime has none.
    pub(super) fn of(cx: &Context, request: &ChatRequest) -> Result<Option<Self>> {
        let Some(CachePolicy::On(max_age)) = request.cache else { return Ok(None) };
        let Some(cache) = cx.cache() else { return Ok(None) };
        // These fields change how the model is called, but not the question.
        let key = ChatRequest {
            cache: None,
            timeout: None,
            retries: None,
            fallback: Vec::new(),
            ..request.clone()
        };
        Ok(Some(Self { cx: cx.clone(), cache: Arc::clone(cache), key: to_value(&key)?, max_age }))
    }

    /// Returns the cached answer, with zero usage and cost. A cache that cannot be read counts as empty.
    pub(super) async fn find(&self) -> Result<Option<Reply>> {
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
    pub(super) async fn keep(&self, reply: &Reply) -> Result<()> {
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
    fn warn(&self, what: &str, error: &Error) -> Result<()> {
        self.cx.log(LogLevel::Warn, format!("the cache could not be {what}: {error}"), Map::new())
    }
}
