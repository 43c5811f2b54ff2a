//! The `async` bridge.

use llmspell_macros::bridge;

/// Looks after calls whose answers go to callbacks, such as those of `llm.chat_async`.
///
/// Callbacks run by themselves whenever the spell waits, and all of them before it ends; a spell calls these only to
/// wait for them at a place of its choice. New spells find `promise` easier.
#[bridge]
#[since("0.1")]
pub mod r#async {
    use llmspell_core::{Context, Result};

    use crate::pending::Pending;

    /// Waits until a callback has run, and returns how many have since it was last called.
    ///
    /// It waits at most 100 ms, and not at all when no call is pending.
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
        cx.state::<Pending>().next(&cx).await
    }

    /// Counts the calls whose callbacks have not run.
    ///
    /// ```luau
    /// assert(async.pending_count() == 0)
    /// ```
    pub fn pending_count(cx: &Context) -> Result<u64> {
        Ok(cx.state::<Pending>().count())
    }
}
