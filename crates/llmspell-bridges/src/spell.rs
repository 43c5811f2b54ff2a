//! The `spell` bridge.

use llmspell_macros::bridge;

/// The spell that runs, and its named steps.
#[bridge]
#[since("0.1")]
pub mod spell {
    use llmspell_core::{Callback, Context, Result, Value};

    /// The spell's name.
    #[constant]
    pub fn name(cx: &Context) -> Result<String> {
        Ok(cx.spell().name.clone())
    }

    /// Its version, when its manifest has one.
    #[constant]
    pub fn version(cx: &Context) -> Result<Option<String>> {
        Ok(cx.spell().version.clone())
    }

    /// This run's id.
    #[constant]
    pub fn run_id(cx: &Context) -> Result<String> {
        Ok(cx.spell().run_id.clone())
    }

    /// The spell's folder, when it has one.
    #[constant]
    pub fn dir(cx: &Context) -> Result<Option<String>> {
        Ok(cx.spell().dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()))
    }

    /// Takes a named step, once in a run: a run that is resumed has its result and does not take it again.
    ///
    /// The function's result is kept by the step's name, and is data. A step that fails, by an error or by returning
    /// `nil, err`, has not been taken. The same name again gives the same result.
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
