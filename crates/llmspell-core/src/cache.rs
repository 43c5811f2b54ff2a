//! The cache of model answers, shared by all runs of a runtime.
//!
//! A request opts in with `cache`. The key is the request after its provider and model were resolved, so a spell whose
//! default model changes does not receive an answer of another model. The cache is consulted behind the journal: a
//! cached answer is recorded like any other, and a replay does not need the cache.

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use crate::chat::CachePolicy;
use crate::error::Result;
use crate::value::Value;

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
