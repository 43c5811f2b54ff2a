//! An embedding program adds a capability: this file alone gives spells a label printer behind the gate, with a
//! permission row, journal and replay.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::{Arc, Mutex};

use llmspell::capability::Extension;
use llmspell::effect::Permit;
use llmspell::{
    Bridge, Grant, Method, Outcome, Permissions, Recording, Result, RunBuilder, Runtime, Spell, Value,
};

/// A printer with several trays. It is the world that spells must not reach without a permission.
#[derive(Clone, Default)]
struct LabelPrinter(Arc<Mutex<Vec<String>>>);

impl Extension for LabelPrinter {
    const NAME: &'static str = "labels";
}

impl LabelPrinter {
    async fn print(&self, _: Permit, tray: String, text: String) -> Result<usize> {
        let mut printed = self.0.lock().unwrap();
        printed.push(format!("{tray}: {text}"));
        Ok(printed.len())
    }

    fn printed(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The bridge by which spells print. A label that was printed must not be printed again, so the effect is not
/// idempotent.
fn labels() -> Bridge {
    let print = Method::future("print", |cx, mut arguments| async move {
        let (tray, text): (String, String) = (arguments.take("tray")?, arguments.take("text")?);
        arguments.end()?;
        let printer = cx.extension::<LabelPrinter>()?;
        let request = printer.request("print", &(&tray, &text))?.once(Value::Nil);
        let item = tray.clone();
        printer
            .effect(&item, request, |printer, permit| async move { printer.print(permit, tray, text).await })
            .await
    });
    Bridge::new("labels").method(print.param::<String>("tray").param::<String>("text"))
}

fn granted() -> Permissions {
    let trays: Grant<String> = ["small".to_owned()].into_iter().collect();
    Permissions { named: [("labels".to_owned(), trays)].into(), ..Permissions::default() }
}

const SPELLS: [(&str, &str); 2] = [
    ("label.luau", "return labels.print(params.tray, 'Ada')"),
    ("label.js", "export default await labels.print(params.tray, 'Ada')"),
];

fn run(runtime: &Runtime, (name, script): (&str, &str), tray: &str) -> RunBuilder {
    let spell = Spell::from_source(name, script).unwrap();
    runtime.run(spell).bridge(labels()).param("tray", tray)
}

fn wait(run: RunBuilder) -> Outcome {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(run.start().outcome())
}

#[test]
fn a_granted_item_is_used_once_and_replayed() {
    for spell in SPELLS {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.jsonl");
        let printer = LabelPrinter::default();
        let runtime = Runtime::builder().extension(printer.clone()).build().unwrap();
        let live = wait(run(&runtime, spell, "small").permissions(granted()).record(&file));
        assert_eq!(live.into_result().unwrap(), 1.into(), "{spell:?}");

        let recording = Recording::read(&file).unwrap();
        assert_eq!(recording.info.permissions, granted());
        let again = wait(run(&runtime, spell, "small").replay(recording));
        assert_eq!(again.into_result().unwrap(), 1.into(), "{spell:?}");
        assert_eq!(printer.printed(), ["small: Ada"]);
    }
}

#[test]
fn what_is_not_granted_or_not_there_fails_by_kind() {
    let printer = LabelPrinter::default();
    let with = Runtime::builder().extension(printer.clone()).build().unwrap();
    let without = Runtime::builder().build().unwrap();
    let nothing = Permissions::default;
    for (runtime, tray, permissions, kind, message) in [
        (&with, "small", nothing(), "permission.denied", "`small` is not granted for `labels`"),
        (&with, "large", granted(), "permission.denied", "`large` is not granted for `labels`"),
        (&without, "small", granted(), "unsupported", "this runtime has no `labels`"),
    ] {
        let script = "local _, err = labels.print(params.tray, 'Ada') error(err)";
        let outcome = wait(run(runtime, ("label.luau", script), tray).permissions(permissions));
        let error = outcome.error.unwrap();
        assert_eq!((error.kind().as_str(), error.message()), (kind, message));
    }
    assert!(printer.printed().is_empty());
}
