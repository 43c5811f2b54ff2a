//! The invariants of absence in ARCHITECTURE.md: which crate may depend on which.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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

/// The Rust sources of all crates, without their test modules: path and text.
#[expect(clippy::disallowed_methods, reason = "a test reads the sources it is about")]
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = root.join("crates").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = crates.chain([root.join("xtask")]).map(|path| path.join("src")).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), code));
            }
        }
    }
    found
}

/// Returns the name of the type that a line defines, if the type is visible outside its module.
fn visible_type(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("pub")?;
    let line = match line.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => line,
    };
    let mut words = line.split_whitespace();
    let keyword = words.next()?;
    if !["struct", "enum", "trait", "union", "type"].contains(&keyword) {
        return None;
    }
    words.next()?.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

#[test]
fn no_two_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, code) in sources() {
        let mut names = BTreeMap::new();
        for (number, line) in code.lines().enumerate() {
            // A type with one definition for each platform has its definitions in one file.
            if let Some(name) = visible_type(line) {
                names.entry(name.to_owned()).or_insert_with(|| format!("{}:{}", path.display(), number + 1));
            }
        }
        for (name, place) in names {
            places.entry(name).or_default().push(place);
        }
    }
    assert!(places.contains_key("Context"), "the sources were not found");
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "give each of these types a name of its own: {places:#?}");
}

#[test]
fn a_definition_of_a_type_is_recognised() {
    let cases = [
        ("pub struct Budget {", Some("Budget")),
        ("    pub(crate) enum Call<'a> {", Some("Call")),
        ("pub(in crate::js) trait Chunk: Sized {", Some("Chunk")),
        ("pub type Result<T, E = Error> = std::result::Result<T, E>;", Some("Result")),
        ("pub struct NoJournal;", Some("NoJournal")),
        ("struct Inner {", None),
        ("pub fn budget() {", None),
        ("    type Item = Value;", None),
    ];
    for (line, name) in cases {
        assert_eq!(visible_type(line), name, "{line}");
    }
}
