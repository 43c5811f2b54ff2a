//! `models`, `providers`, `doc`, `--version`.

use serde_json::Value;

use crate::support::{finish, folder, seen};

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
fn a_list_that_cannot_be_had_is_no_empty_table() {
    let folder = folder(&[]);
    let mut command = folder.command(&["models"]);
    let ran = finish(command.env_remove("MOCK_LLM").env("OLLAMA_HOST", "127.0.0.1:1"));
    assert_eq!((ran.code, ran.stdout.as_str()), (6, ""));
    assert!(ran.stderr.starts_with("error: ollama: no connection to 127.0.0.1:1: "), "{}", ran.stderr);
    let hint = "\nhint: is the server there and running? `OLLAMA_HOST` sets its address\n";
    assert!(ran.stderr.ends_with(hint), "{}", ran.stderr);
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
