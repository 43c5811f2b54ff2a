//! The `async` bridge: waiting for callbacks of background calls.

use llmspell_macros::bridge;

/// Waits for background calls whose results go to callbacks, such as `llm.chat_async`.
///
/// Callbacks run by themselves whenever the spell waits, and at the latest before it ends. These methods are needed
/// only to wait for them at a certain place. In new spells, `promise` is easier.
#[bridge]
#[since("0.1")]
pub mod r#async {
    use llmspell_core::{Context, Result};

    use crate::background_calls::BackgroundCalls;

    /// Waits until a callback has run. Returns the number of callbacks that ran since the last call.
    ///
    /// Waits at most 100 ms, and not at all when no call is pending.
    ///
    /// ```luau
    /// local answers = {}
    /// for _, question in {"One?", "Two?"} do
    ///     llm.chat_async(question, function(answer)
    ///         table.insert(answers, answer)
    ///     end)
    /// end
    /// while async.pending_count() > 0 do
    ///     async.process_callbacks()
    /// end
    /// assert(#answers == 2)
    /// ```
    pub async fn process_callbacks(cx: Context) -> Result<u64> {
        cx.state::<BackgroundCalls>().next(&cx).await
    }

    /// Returns the number of calls whose callbacks have not run.
    ///
    /// ```luau
    /// assert(async.pending_count() == 0)
    /// ```
    pub fn pending_count(cx: &Context) -> Result<u64> {
        Ok(cx.state::<BackgroundCalls>().count())
    }
}
