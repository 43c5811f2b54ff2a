//! The `test` bridge, which only test files have.
#![allow(clippy::module_inception, reason = "as the other bridges are: the module is the bridge")]

use llmspell_core::{Error, ErrorKind};
use llmspell_macros::bridge;

/// Runs the spell that a test belongs to, and checks the result. Only tests that `llmspell test` runs have this bridge.
///
/// In a test all live effects are off. The effects of a run are answered by what the test scripts, and otherwise by the
/// recording of its case, which `llmspell test --update` makes.
#[bridge]
#[since("0.1")]
pub mod test {
    use llmspell_core::{Callback, Context, Map, Result, Value};

    use super::{RunOptions, RunResult, TestFile, raised, same};

    /// Adds a case: a name that says what is shown, and a function that shows it.
    ///
    /// The cases run one after the other, in order, once the whole file has been read. A case fails when its function
    /// raises an error, or returns `nil` and an error. The other cases run anyway.
    ///
    /// ```luau
    /// test.case("adds up", function()
    ///     test.equal(1 + 1, 2)
    /// end)
    ///
    /// for _, name in {"Ada", "Grace"} do
    ///     test.case("greets " .. name, function()
    ///         local run = test.run({name = name}, {model = {"Hello, " .. name .. "!"}})
    ///         test.contains(run.output, name)
    ///     end)
    /// end
    /// ```
    pub fn case(cx: &Context, name: String, run: Callback) -> Result<()> {
        TestFile::of(cx)?.add(cx, name, Some(run))
    }

    /// Adds a case that is not run, and is counted as skipped.
    ///
    /// ```luau
    /// test.skip("greets in French", function()
    ///     test.equal(test.run({name = "Ada", language = "fr"}).value, "Bonjour, Ada !")
    /// end)
    /// ```
    pub fn skip(cx: &Context, name: String, run: Option<Callback>) -> Result<()> {
        drop(run);
        TestFile::of(cx)?.add(cx, name, None)
    }

    /// Runs the spell with these parameters, and returns the result.
    ///
    /// A spell that fails does not fail the test: `error` in the result says why it failed. The options script answers:
    /// `model` for models, `http` for web addresses, `input` for the lines that the user types, and `fail` for errors
    /// of other effects. All else is answered by the recording of the case. The case fails when the run asks for
    /// something that neither has, or asks for less.
    ///
    /// ```luau
    /// test.case("says hello", function()
    ///     local run = test.run({name = "Ada"}, {model = {"Hello, Ada!"}})
    ///     test.equal(run.error, nil)
    ///     test.equal(run.output, "Hello, Ada!\n")
    ///     test.equal(run.calls, 1)
    /// end)
    ///
    /// test.case("waits when there are too many calls", function()
    ///     local run = test.run({}, {model = {{status = 429, retry_after = 0}, "Hello!"}})
    ///     test.equal(run.output, "Hello!\n")
    /// end)
    ///
    /// test.case("fails when the model does", function()
    ///     local run = test.run({}, {fail = {models = {kind = "auth", message = "no such key"}}})
    ///     test.equal(run.error.kind, "auth")
    /// end)
    /// ```
    pub async fn run(cx: Context, params: Option<Map>, options: Option<RunOptions>) -> Result<RunResult> {
        let test_file = TestFile::of(&cx)?;
        let run = super::super::run::run(&test_file, params.unwrap_or_default(), options.unwrap_or_default());
        run.await.map_err(raised)
    }

    /// Checks that two values are equal. Lists and tables are compared in depth.
    ///
    /// The failure names the first place at which they differ, with the expected and the found value.
    ///
    /// ```luau
    /// test.case("compares whole tables", function()
    ///     test.equal({name = "Ada", likes = {"tides"}}, {likes = {"tides"}, name = "Ada"})
    ///     local ok, err = pcall(test.equal, {name = "Ada"}, {name = "Grace"})
    ///     test.contains(err, "the values differ at `name`")
    /// end)
    /// ```
    pub fn equal(found: Value, expected: Value) -> Result<()> {
        same::equal(found, expected)
    }

    /// Checks that a text contains another text exactly, or that a list contains a value.
    ///
    /// ```luau
    /// test.case("looks into texts and lists", function()
    ///     test.contains("Hello, Ada!", "Ada")
    ///     test.contains({"tea", "coffee"}, "tea")
    /// end)
    /// ```
    pub fn contains(found: Value, part: Value) -> Result<()> {
        same::contains(&found, &part)
    }

    /// Checks that a regular expression matches somewhere in a text.
    ///
    /// The syntax is the same in all languages of spells, and in a parameter's `pattern` in a manifest. For a literal
    /// text there is `test.contains`.
    ///
    /// ```luau
    /// test.case("looks for patterns", function()
    ///     test.match("took 12 ms", "^took [0-9]+ ms$")
    /// end)
    /// ```
    pub fn r#match(text: String, pattern: String) -> Result<()> {
        same::matches(&text, &pattern)
    }

    /// Checks that a text, or any data, is the same as its snapshot, which `llmspell test --update` stores.
    ///
    /// Snapshots are files in `tests/snapshots`; review them and commit them with the spell. The failure shows the
    /// lines that differ.
    ///
    /// ```luau
    /// test.case("lays out its table", function()
    ///     test.snapshot(test.run({}, {model = {"a", "b"}}).output)
    /// end)
    /// ```
    pub fn snapshot(cx: &Context, value: Value) -> Result<()> {
        TestFile::of(cx)?.snapshot(&value).map_err(raised)
    }
}

use super::options::RunOptions;
use super::run::RunResult;
use super::same;
use super::test_file::TestFile;

/// Makes every error fail the case: it is raised, where other bridges would return it to the script.
fn raised(error: Error) -> Error {
    let is_raised = matches!(error.kind(), ErrorKind::Argument | ErrorKind::Assertion | ErrorKind::Replay);
    if is_raised || error.is_final() {
        return error;
    }
    error.hints().iter().fold(same::failed(error.message()), Error::hint)
}
