//! An embedding program adds an engine: this file alone gives a language of three statements its entry files, `--lang`,
//! documentation, limits, journal and replay.

#![expect(clippy::disallowed_methods, reason = "a test writes the spells that it runs")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use llmspell::bridge::{Arguments, Handler};
use llmspell::capability::Models;
use llmspell::llm::{Client, Mock};
use llmspell::prelude_docs::{FunctionDoc, TypeSyntax};
use llmspell::{
    Bridge, Context, Diagnostic, Engine, EngineDescriptor, Error, ErrorKind, Language, Method, Outcome,
    PreludeDocs, Recording, Result, RunBuilder, Runtime, Session, Source, SourceLocation, Spell, Value,
    reference,
};

/// A statement of the language. Each has its own line.
enum Statement<'a> {
    /// `say TEXT` prints the text; `say` alone prints the result of the last call.
    Say(&'a str),
    /// `call BRIDGE.METHOD TEXT` calls a method of a bridge with one text.
    Call { bridge: &'a str, method: &'a str, text: &'a str },
    /// `give` ends the script and returns the result of the last call.
    Give,
}

impl<'a> Statement<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "say" => Some(Self::Say(text)),
            "give" => Some(Self::Give),
            "call" => {
                let (path, text) = text.split_once(' ').unwrap_or((text, ""));
                let (bridge, method) = path.split_once('.')?;
                Some(Self::Call { bridge, method, text })
            }
            _ => None,
        }
    }
}

struct Steps;

impl Steps {
    fn describe() -> EngineDescriptor {
        EngineDescriptor::new("steps", "1").language(Language::new("Three Steps", ["steps", "3st"]))
    }
}

impl Engine for Steps {
    fn descriptor(&self) -> EngineDescriptor {
        Self::describe()
    }

    fn prelude_docs(&self) -> Vec<PreludeDocs> {
        // Names that exist only at run time are as good as literals.
        let statements = [("say", "Prints"), ("call", "Calls"), ("give", "Returns")].map(|(name, does)| {
            let example = format!("{does} it.\n\n```steps\n{name}\n```");
            FunctionDoc::new(name.to_owned()).param("text".to_owned()).doc(example)
        });
        let docs = PreludeDocs::new("statements".to_owned(), TypeSyntax::Other("steps".into()));
        vec![statements.into_iter().fold(docs.doc("All that there is."), PreludeDocs::function)]
    }

    fn check(&self, source: &Source) -> Vec<Diagnostic> {
        let lines = source.text.lines().enumerate();
        let wrong = lines.filter(|(_, line)| Statement::parse(line).is_none());
        wrong
            .map(|(at, line)| Diagnostic {
                place: SourceLocation { file: source.name.clone(), line: at as u32 + 1, column: None },
                message: "expected `say`, `call` or `give`".to_owned(),
                excerpt: line.to_owned(),
                hint: None,
            })
            .collect()
    }

    fn open(&self, bridges: &[Arc<Bridge>], cx: Context) -> Result<Box<dyn Session>> {
        Ok(Box::new(StepsSession { bridges: bridges.to_vec(), cx, globals: RefCell::default() }))
    }
}

struct StepsSession {
    bridges: Vec<Arc<Bridge>>,
    cx: Context,
    globals: RefCell<HashMap<String, Value>>,
}

impl StepsSession {
    async fn call_method(&self, bridge: &str, method: &str, text: &str) -> Result<Value> {
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no {bridge}.{method}"));
        let bridge = self.bridges.iter().find(|known| known.name == bridge).ok_or_else(unknown)?;
        let method = bridge.methods.iter().find(|known| known.name == method).ok_or_else(unknown)?;
        let given = if text.is_empty() { Vec::new() } else { vec![Value::from(text)] };
        match &method.handler {
            Handler::Sync(call) => call(&self.cx, Arguments::new(given)),
            Handler::Async(call) => call(self.cx.clone(), Arguments::new(given)).await,
        }
    }

    async fn run(&self, source: &Source) -> Result<Value> {
        let mut last = Value::Nil;
        for line in source.text.lines() {
            self.cx.meter().check()?;
            match Statement::parse(line).ok_or_else(|| Error::syntax(format!("`{line}`")))? {
                Statement::Say("") => self.cx.console().write(format!("{}\n", text(&last)))?,
                Statement::Say(text) => self.cx.console().write(format!("{text}\n"))?,
                Statement::Call { bridge, method, text } => {
                    last = self.call_method(bridge, method, text).await?;
                }
                Statement::Give => break,
            }
        }
        Ok(last)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

impl Session for StepsSession {
    fn eval<'a>(&'a self, source: &'a Source) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(self.run(source))
    }

    fn set(&self, name: &str, value: Value) -> Result<()> {
        self.globals.borrow_mut().insert(name.to_owned(), value);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Value> {
        Ok(self.globals.borrow().get(name).cloned().unwrap_or_default())
    }

    fn call<'a>(&'a self, name: &'a str, _: Vec<Value>) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move { Err(Error::new(ErrorKind::NotFound, format!("no function `{name}`"))) })
    }

    fn register(&self, method: Method) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("`{}` has no bridge", method.name)))
    }

    fn renew(&mut self, cx: Context) -> Result<()> {
        self.cx = cx;
        self.globals.take();
        Ok(())
    }

    fn memory(&self) -> u64 {
        0
    }
}

fn runtime() -> Runtime {
    let models = Client::builder().mock(Mock::new()).build().unwrap();
    Runtime::builder()
        .engine(Steps::describe(), || Arc::new(Steps))
        .models(Arc::new(models) as Arc<dyn Models>)
        .build()
        .unwrap()
}

fn wait(run: RunBuilder) -> Outcome {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(run.start().outcome())
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const ASK: &str = "call llm.chat hello\nsay\ngive";

#[test]
fn its_scripts_are_entry_files_and_keys_choose_it() {
    let both = [("main.luau", "print('Luau')"), ("main.3st", "say Steps")];
    let with = |manifest: &'static str| [&both[..], &[("spell.yaml", manifest)]].concat();
    let runtime = runtime();
    for (files, lang, said) in [
        (vec![("main.steps", "say Steps")], None, "Steps\n"),
        (vec![("main.3st", "say Steps")], None, "Steps\n"),
        // The engines of this build go first.
        (both.to_vec(), None, "Luau\n"),
        (both.to_vec(), Some("steps"), "Steps\n"),
        (both.to_vec(), Some("three steps"), "Steps\n"),
        (both.to_vec(), Some(".3ST"), "Steps\n"),
        (both.to_vec(), Some("lua"), "Luau\n"),
        (with("engine: Steps\n"), None, "Steps\n"),
        (with("engine: 3st\n"), None, "Steps\n"),
        (with("engine: Lua\n"), None, "Luau\n"),
    ] {
        let folder = folder(&files);
        let spell = match lang {
            None => runtime.load(folder.path()),
            Some(lang) => runtime.load_in(folder.path(), lang),
        };
        let outcome = wait(runtime.run(spell.unwrap()));
        assert!(outcome.error.is_none(), "{files:?} {lang:?}: {:?}", outcome.error);
        assert_eq!(outcome.output, said, "{files:?} {lang:?}");
    }
    let error = runtime.load_in(Path::new("."), "cobol").unwrap_err();
    assert_eq!(error.message(), "there is no language `cobol`");
    assert!(error.hints()[0].ends_with("Three Steps (.steps, .3st)"), "{:?}", error.hints());
}

#[test]
fn its_statements_are_documented() {
    let runtime = runtime();
    let page = |query| reference::text(&[], &runtime.engines().prelude_docs(), Some(query)).unwrap();
    assert_eq!(page("say"), "say(text)\n\nPrints it.\n\n    say\n");
    assert!(page("statements").ends_with("say   Prints it.\ncall  Calls it.\ngive  Returns it.\n"));
    let docs = runtime.engines().prelude_docs().into_iter().find(|docs| docs.name == "statements").unwrap();
    assert!(reference::prelude_markdown(&docs).contains("```steps\nsay(text)\n```"));
}

#[test]
fn its_mistakes_are_found_without_running() {
    let runtime = runtime();
    let found = runtime.engines().by_key("steps").unwrap().check(&Source::new("main.steps", "say x\nsing x"));
    assert_eq!(found[0].place.to_string(), "main.steps:2");
}

#[test]
fn its_effects_are_recorded_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let spell = || Spell::from_source("ask.steps", ASK).unwrap();
    let live = wait(runtime().run(spell()).record(&file));
    assert_eq!((live.output.as_str(), live.model_calls), ("mock: hello\n", 1));
    assert_eq!(live.into_result().unwrap(), "mock: hello".into());

    let without_models = Runtime::builder().engine(Steps::describe(), || Arc::new(Steps)).build().unwrap();
    let again = wait(without_models.run(spell()).replay(Recording::read(&file).unwrap()));
    assert_eq!(again.into_result().unwrap(), "mock: hello".into());
}

#[test]
fn its_runs_have_limits_and_permissions() {
    for (script, kind) in [
        ("say 0123456789\nsay 0123456789", "limit.output"),
        ("call llm.chat one\ncall llm.chat two", "limit.model_calls"),
        ("call fs.read notes.txt", "permission.denied"),
    ] {
        let spell = Spell::from_source("bound.steps", script).unwrap();
        let run = runtime().run(spell).limits(|limits| {
            limits.output = 15;
            limits.model_calls = 1;
        });
        let error = wait(run).error.expect(script);
        assert_eq!(error.kind().as_str(), kind, "{script}");
    }
}
