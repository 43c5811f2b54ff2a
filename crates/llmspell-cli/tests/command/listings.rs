//! `models`, `providers`, `doc`, `--version`.

use serde_json::Value;

use crate::support::{folder, seen};

#[test]
fn models_are_a_table_or_json() {
    let folder = folder(&[]);
    let text = folder.run(&["models", "-q"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""));
    assert!(text.stdout.starts_with("MODEL "), "{}", text.stdout);
    let json = folder.run(&["models", "mock", "--output", "json", "-q"]);
    let models: Value = serde_json::from_str(&json.stdout).unwrap();
    let ids = models.as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap());
    assert!(ids.clone().count() > 0);
    for id in ids {
        assert!(text.stdout.contains(&format!("\n{id} ")), "{id}");
    }
    let unknown = folder.run(&["models", "nobody"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""));
}

#[test]
fn providers_are_a_table_or_json() {
    let folder = folder(&[]);
    let json = folder.run(&["providers", "--output", "json", "-q"]);
    let providers: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&providers[0]["name"], &providers[0]["default"]), (&"mock".into(), &true.into()));
    assert!(folder.run(&["providers"]).stdout.contains("\n* mock "));
}

#[test]
fn doc_shows_a_bridge_and_a_method() {
    let folder = folder(&[]);
    for (name, part) in [("llm", "stream_chat"), ("llm.chat", "Asks a model")] {
        let ran = folder.run(&["doc", name]);
        assert!(ran.code == 0 && ran.stdout.contains(part), "{}{}", ran.stdout, ran.stderr);
    }
    let unknown = folder.run(&["doc", "llm.chta"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""));
    assert!(unknown.stderr.contains("chat"), "{}", unknown.stderr);
}

#[test]
fn the_version_is_on_stdout() {
    let version = format!("llmspell {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(folder(&[]).run(&["--version"]), seen(0, &version, ""));
}
