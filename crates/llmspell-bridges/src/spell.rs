//! The `spell` bridge: facts about the running spell, and named steps.

use llmspell_macros::bridge;

/// The running spell and its named steps.
#[bridge]
#[since("0.1")]
pub mod spell {
    use llmspell_core::{Callback, Context, Result, Value};

    /// The spell's name.
    #[constant]
    pub fn name(cx: &Context) -> Result<String> {
        Ok(cx.spell().name.clone())
    }

    /// The spell's version, if its manifest has one.
    #[constant]
    pub fn version(cx: &Context) -> Result<Option<String>> {
        Ok(cx.spell().version.clone())
    }

    /// The id of this run.
    #[constant]
    pub fn run_id(cx: &Context) -> Result<String> {
        Ok(cx.spell().run_id.clone())
    }

    /// The spell's folder, if it has one.
    #[constant]
    pub fn dir(cx: &Context) -> Result<Option<String>> {
        Ok(cx.spell().dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()))
    }

    /// Runs a named step once per run. A resumed run returns the recorded result and does not run the step again.
    ///
    /// The result of the function is stored under the step's name and must be plain data. A step that fails, by an
    /// error or by returning `nil, err`, is not stored. A second call with the same name returns the same result.
    ///
    /// ```luau
    /// local plan = spell.step("plan", function()
    ///     return llm.chat("Plan the work.")
    /// end)
    /// assert(spell.step("plan", function() error("not again") end) == plan)
    /// ```
    pub async fn step(cx: Context, name: String, work: Callback) -> Result<Value> {
        cx.step(&name, |within| async move { work.call_within(within, Vec::new()).await }).await
    }
}
