//! The invariants of absence in ARCHITECTURE.md: which crate may depend on which.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::path::Path;

/// Each workspace crate, the workspace crates that it may depend on, and words that no dependency's name may contain.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("llmspell-core", &[], &["mlua", "rquickjs", "reqwest", "hyper", "genai"]),
    ("llmspell-macros", &[], &["mlua", "reqwest", "tokio"]),
    ("llmspell-llm", &["llmspell-core"], &["mlua", "rquickjs"]),
    ("llmspell-engines", &["llmspell-core"], &["reqwest", "hyper", "genai"]),
    (
        "llmspell-bridges",
        &["llmspell-core", "llmspell-llm", "llmspell-macros"],
        &["mlua", "rquickjs", "reqwest", "genai"],
    ),
    (
        "llmspell",
        &["llmspell-bridges", "llmspell-core", "llmspell-engines", "llmspell-llm", "llmspell-macros"],
        &["mlua", "clap"],
    ),
    ("llmspell-cli", &["llmspell"], &["mlua", "reqwest", "genai"]),
];

/// Returns the names under `[dependencies]` in a crate's manifest, without features and versions.
#[expect(clippy::disallowed_methods, reason = "a test reads the manifests it is about")]
fn dependencies(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("build-");
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty())
        {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn each_crate_knows_only_what_the_map_says() {
    for (name, ours, never) in EDGES {
        let found = dependencies(name);
        assert!(!found.is_empty() || *name == "llmspell-macros", "{name} has no dependencies at all");
        let known: Vec<_> = found.iter().filter(|found| found.starts_with("llmspell")).collect();
        assert!(
            known.iter().all(|known| ours.contains(&known.as_str())),
            "{name} depends on {known:?}, may on {ours:?}"
        );
        let wrong: Vec<_> =
            found.iter().filter(|found| never.iter().any(|never| found.contains(never))).collect();
        assert!(wrong.is_empty(), "{name} must not know {wrong:?}");
    }
}

#[test]
fn every_crate_has_its_place_on_the_map() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in crates.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(EDGES.iter().any(|(known, ..)| *known == name), "crates/{name} is not in EDGES");
    }
}
