//! The `test` bridge, which only tests have.
#![allow(clippy::module_inception, reason = "as the other bridges are: the module is the bridge")]

use llmspell_core::{Error, ErrorKind};
use llmspell_macros::bridge;

/// Runs the spell that a test belongs to, and checks what comes of it. Only tests have it, which `llmspell test` runs.
///
/// In a test all that is live is off. What a run asks is answered by what the test scripts, and else by the recording
/// of its case, which `llmspell test --update` makes.
#[bridge]
#[since("0.1")]
pub mod test {
    use llmspell_core::{Callback, Context, Map, Result, Value};

    use super::{Course, RunOptions, RunResult, raised, same};

    /// Adds a case: a name that says what is shown, and a function that shows it.
    ///
    /// Cases run one after the other, in the order in which the file names them, when all of it was read. One fails
    /// when its function raises an error, or returns `nil` and one; the others run all the same.
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
        Course::of(cx)?.add(cx, name, Some(run))
    }

    /// Names a case that is not run, and is counted as skipped.
    ///
    /// ```luau
    /// test.skip("greets in French", function()
    ///     test.equal(test.run({name = "Ada", language = "fr"}).value, "Bonjour, Ada !")
    /// end)
    /// ```
    pub fn skip(cx: &Context, name: String, run: Option<Callback>) -> Result<()> {
        drop(run);
        Course::of(cx)?.add(cx, name, None)
    }

    /// Runs the spell with these parameters, and returns what it came to.
    ///
    /// A spell that fails is no failure of the test: `error` says why it failed. What the options script is answered by
    /// the test: `model` has what models answer, `http` what is at addresses of the web, `input` the lines that the user
    /// types, `fail` the errors of other effects. All else is answered by the recording of the case. The case fails
    /// when the run asks for what neither has, or asks for less.
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
        let course = Course::of(&cx)?;
        let run = super::super::run::run(&course, params.unwrap_or_default(), options.unwrap_or_default());
        run.await.map_err(raised)
    }

    /// Checks that two values are the same, however deep.
    ///
    /// The failure names the first place at which they differ, with what was expected there and what was found.
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

    /// Checks that a text contains another, letter by letter, or that a list contains a value.
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
    /// It is the same in all languages of spells, and as a parameter's `pattern` is in a manifest. For a text as it is,
    /// there is `test.contains`.
    ///
    /// ```luau
    /// test.case("looks for patterns", function()
    ///     test.match("took 12 ms", "^took [0-9]+ ms$")
    /// end)
    /// ```
    pub fn r#match(text: String, pattern: String) -> Result<()> {
        same::matches(&text, &pattern)
    }

    /// Checks that a text, or any data, is what it was when it was kept with `llmspell test --update`.
    ///
    /// Snapshots are files in `tests/snapshots`, to be read and kept with the spell. The failure shows the lines that
    /// differ.
    ///
    /// ```luau
    /// test.case("lays out its table", function()
    ///     test.snapshot(test.run({}, {model = {"a", "b"}}).output)
    /// end)
    /// ```
    pub fn snapshot(cx: &Context, value: Value) -> Result<()> {
        Course::of(cx)?.snapshot(&value).map_err(raised)
    }
}

use super::course::Course;
use super::options::RunOptions;
use super::run::RunResult;
use super::same;

/// What goes wrong beside a check fails the case as well: it is raised, where a bridge would hand it to the script.
fn raised(error: Error) -> Error {
    let is_raised = matches!(error.kind(), ErrorKind::Argument | ErrorKind::Assertion | ErrorKind::Replay);
    if is_raised || error.is_final() {
        return error;
    }
    error.hints().iter().fold(same::failed(error.message()), Error::hint)
}
