//! Spells test spells. Each `tests/spells/<bridge>/<case>.<extension>` runs on the mock provider, and its output and
//! result must equal the file of the same name with the extension `.out`. Each case exists in both languages and has
//! one expected output for both. Features of only one language are in the folders `luau` and `javascript`. The examples
//! in the documentation of bridges and preludes run as well.
//!
//! Each run has a new working folder. It may read and write the folder `granted` in it, and reach the host
//! `pages.example`. The model's answers may be given in a file with the extension `.json`.
//!
//! `UPDATE=1 cargo test -p llmspell --test spells` rewrites the `.out` files. Review the difference before you commit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod twins;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use llmspell::capability::Models;
use llmspell::llm::{Client, Mock};
use llmspell::testing::{CaseState, RecordingSettings, Tests};
use llmspell::{Outcome, Runtime, Spell, reference};
use world::run;

fn main() {
    let arguments = Arguments::from_args();
    let cases = cases();
    let mut trials = twins::trials(&root(), &cases);
    trials.extend(cases.into_iter().map(case));
    trials.extend(examples());
    libtest_mimic::run(&arguments, trials).exit();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/spells")
}

/// Formats the output and the result of a run, like a `.out` file. For a case in both languages, source positions are
/// reduced to what both have in common: line numbers of a file without its extension.
fn told(outcome: &Outcome, is_twin: bool) -> String {
    let mut text = outcome.output.clone();
    for entry in &outcome.logs {
        let fields = serde_json::to_string(&entry.fields).unwrap_or_default();
        let _ = writeln!(text, "[{}] {} {fields}", entry.level.as_str(), entry.message);
    }
    if !outcome.value.is_nil() {
        let _ = writeln!(text, "=> {}", serde_json::to_string(&outcome.value).unwrap_or_default());
    }
    if let Some(error) = &outcome.error {
        let _ = writeln!(text, "{} error: {error}", error.kind());
        match error.place() {
            Some(place) if is_twin => {
                let name = Path::new(&place.file).with_extension("");
                let _ = writeln!(text, "  at {}, line {}", name.display(), place.line);
            }
            Some(place) => {
                let _ = writeln!(text, "  at {place}");
            }
            None => {}
        }
        if let Some(value) = error.value() {
            let _ = writeln!(text, "  raised {}", serde_json::to_string(value).unwrap_or_default());
        }
        for hint in error.hints() {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

fn cases() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "lib") {
                folders.push(path);
            } else if path.is_file()
                && path.extension().is_some_and(|extension| extension != "out" && extension != "json")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[expect(clippy::disallowed_methods, reason = "a test reads its expectation beside the spell")]
fn case(path: PathBuf) -> Trial {
    let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
    Trial::test(name, move || {
        let told = told(&run(Spell::load(&path)?, answers(&path)?), twins::is_twin(&root(), &path));
        let expected = path.with_extension("out");
        if std::env::var_os("UPDATE").is_some() {
            return Ok(std::fs::write(&expected, told)?);
        }
        let expected = std::fs::read_to_string(&expected)
            .map_err(|error| format!("{}: {error}\nit says:\n{told}", expected.display()))?;
        if told == expected {
            Ok(())
        } else {
            Err(Failed::from(format!("expected:\n{expected}\nfound:\n{told}")))
        }
    })
}

/// A model with the answers in the file of the same name with the extension `.json`: a list of texts, and of tool calls
/// by name with arguments. Without such a file, the model echoes its prompt.
#[expect(clippy::disallowed_methods, reason = "a test reads what is beside the spell")]
fn answers(path: &Path) -> Result<Mock, Failed> {
    let Ok(text) = std::fs::read_to_string(path.with_extension("json")) else { return Ok(Mock::new()) };
    let answers: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    Ok(answers.iter().fold(Mock::new(), |mock, answer| match answer {
        serde_json::Value::String(text) => mock.reply(text),
        calls => {
            let calls = calls.as_object().into_iter().flatten();
            mock.reply_tool_calls("", calls.map(|(name, arguments)| (name.clone(), arguments.clone())))
        }
    }))
}

/// Returns the examples in the documentation of all bridge methods and prelude functions. Each is a spell that must
/// succeed.
fn examples() -> Vec<Trial> {
    let mut trials = Vec::new();
    let runtime = Runtime::builder().build().expect("a runtime");
    let mut documented = Vec::new();
    for bridge in reference::bridges(&runtime) {
        let classes = bridge.classes.iter().flat_map(|class| &class.methods);
        let methods = bridge.methods.iter().chain(classes);
        documented.extend(
            methods.map(|method| (format!("{}.{}", bridge.name, method.name), method.doc.to_string())),
        );
    }
    for piece in runtime.engines().prelude_docs() {
        documented.extend(
            piece
                .all()
                .map(|function| (format!("{}.{}", piece.name, function.name), function.doc.to_string())),
        );
        documented.extend(
            piece
                .classes
                .iter()
                .map(|class| (format!("{}.{}", piece.name, class.name), class.doc.to_string())),
        );
    }
    for (name, doc) in documented {
        for (number, (file, example)) in blocks(&doc).into_iter().enumerate() {
            let of_a_test = name.starts_with("test.");
            let name = format!("example {name} {}", number + 1);
            trials.push(Trial::test(name, move || {
                if of_a_test {
                    return as_test(&example);
                }
                let outcome = run(Spell::from_source(file, example)?, Mock::new());
                match outcome.error {
                    None => Ok(()),
                    Some(_) => Err(Failed::from(told(&outcome, false))),
                }
            }));
        }
    }
    trials
}

/// Runs an example as a spell test that scripts a model: it records first, and then must pass again.
#[expect(clippy::disallowed_methods, reason = "lays out the spell that the example tests")]
fn as_test(example: &str) -> Result<(), Failed> {
    const SPELL: &str = "local answer, err = llm.chat(`Greet {params.name}.`)\nif not answer then error(err) end\nprint(answer)\n";
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("tests"))?;
    std::fs::write(folder.path().join("main.luau"), SPELL)?;
    std::fs::write(folder.path().join("tests/example.luau"), example)?;
    let models = Client::builder().mock(Mock::new()).build()?;
    let runtime = Runtime::builder().workers(1).models(Arc::new(models) as Arc<dyn Models>).build()?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tests = || Tests::new(&runtime, Spell::load(folder.path())?);
    for tests in [tests()?.record(RecordingSettings::default()), tests()?] {
        let report = tokio.block_on(tests.run(|_| ()))?;
        if report.cases.is_empty() || report.count(CaseState::Failed) > 0 {
            return Err(Failed::from(format!("{report:#?}")));
        }
    }
    Ok(())
}

/// Returns the fenced script blocks of a Markdown text, each with a file name for its language.
fn blocks(markdown: &str) -> Vec<(&'static str, String)> {
    const FENCES: [(&str, &str); 2] = [("```luau", "example.luau"), ("```js", "example.js")];
    let mut blocks = Vec::new();
    let mut inside: Option<(&'static str, String)> = None;
    for line in markdown.lines() {
        let fence = line.trim_start();
        match &mut inside {
            None => {
                let found = FENCES.iter().find(|(begin, _)| fence.starts_with(begin));
                inside = found.map(|(_, file)| (*file, String::new()));
            }
            Some(_) if fence.starts_with("```") => blocks.extend(inside.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}
