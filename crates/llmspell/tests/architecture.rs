//! The invariants of absence in ARCHITECTURE.md: which crate may depend on which, how large the import circles between
//! the modules of a crate may be, and how long a source file may be.
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

/// The maximum number of modules of a crate that import each other in a circle.
fn largest_circle(name: &str) -> usize {
    match name {
        "llmspell-core" => 6,
        "llmspell-cli" => 0,
        _ => 4,
    }
}

/// The maximum number of lines of a source file.
const LONGEST_FILE: usize = 600;

/// Returns the name at the start of a text.
fn leading_name(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// Returns, for each name that the crate root re-exports, the module that defines it. An import of such a name is an
/// import of that module.
fn re_exports(root: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for item in root.split(';') {
        let Some(path) = item.split("pub use ").nth(1).or_else(|| item.split("pub(crate) use ").nth(1))
        else {
            continue;
        };
        let Some((module, names)) =
            path.trim_start_matches("self::").trim_start_matches("crate::").split_once("::")
        else {
            continue;
        };
        for name in names.split(|letter: char| !letter.is_alphanumeric() && letter != '_') {
            found.insert(name, module);
        }
    }
    found
}

/// Removes the comments: a link to an item is no import.
fn without_comments(code: &str) -> String {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Returns the modules that a source imports. `depth` is how many folders below the crate root the source lies:
/// `super::` leads to the root after one step more.
fn imports<'a>(code: &'a str, depth: usize, exports: &BTreeMap<&'a str, &'a str>) -> BTreeSet<&'a str> {
    let to_root = "super::".repeat(depth + 1);
    let from_crate = code.split("crate::").skip(1);
    let from_super = code.split(to_root.as_str()).skip(1).filter(|rest| !rest.starts_with("super::"));
    let roots = from_crate.chain(from_super);
    let mut found = BTreeSet::new();
    for rest in roots {
        // `crate::{a, b::c}` imports several modules.
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(|item| leading_name(item.trim()))
                .collect(),
            None => vec![leading_name(rest)],
        };
        found.extend(names.into_iter().map(|name| exports.get(name).copied().unwrap_or(name)));
    }
    found
}

/// Returns the largest set of modules that import each other in a circle.
fn circle(edges: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeSet<String> {
    let reachable = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(module) = open.pop() {
            for next in edges.get(module.as_str()).into_iter().flatten() {
                if edges.contains_key(next) && seen.insert((*next).to_owned()) {
                    open.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        edges.keys().map(|module| (*module, reachable(module))).collect();
    let circles = reached.iter().map(|(module, seen)| {
        seen.iter()
            .filter(|other| reached[other.as_str()].contains(*module))
            .cloned()
            .collect::<BTreeSet<String>>()
    });
    circles.max_by_key(BTreeSet::len).unwrap_or_default()
}

#[test]
fn import_circles_within_a_crate_stay_small() {
    let sources: Vec<_> = sources().into_iter().map(|(path, code)| (path, without_comments(&code))).collect();
    for (name, ..) in EDGES {
        let folder = PathBuf::from("crates").join(name).join("src");
        let files: Vec<_> = sources
            .iter()
            .filter_map(|(path, code)| Some((path.strip_prefix(&folder).ok()?, code.as_str())))
            .filter(|(path, _)| !path.ends_with("tests.rs"))
            .collect();
        let root = files.iter().find(|(path, _)| path.to_str() == Some("lib.rs"));
        let exports = root.map(|(_, code)| re_exports(code)).unwrap_or_default();
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, code) in &files {
            let module =
                path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
            if !["lib", "main"].contains(&module) {
                let depth = path.components().count() - 1;
                let imported = imports(code, depth, &exports).into_iter().filter(|other| *other != module);
                edges.entry(module).or_default().extend(imported);
            }
        }
        let (circle, most) = (circle(&edges), largest_circle(name));
        assert!(
            circle.len() <= most,
            "modules of {name} import each other in a circle: {circle:?}; at most {most} may"
        );
    }
}

#[test]
fn an_import_names_a_module_however_it_is_written() {
    let exports = re_exports("mod error;\npub use error::{Error, Result};\npub use self::value::Value;\n");
    let cases = [
        ("use crate::error::Error;", 0, &["error"][..]),
        ("use crate::Error;", 0, &["error"]),
        ("use crate::{chat, value::Value};", 0, &["chat", "value"]),
        ("use super::Value;", 0, &["value"]),
        ("use super::Value;", 1, &[]),
        ("use super::super::chat::Usage;", 1, &["chat"]),
        ("use crate::{\n    chat::Usage,\n    Error,\n};", 0, &["chat", "error"]),
    ];
    for (code, depth, expected) in cases {
        assert_eq!(imports(code, depth, &exports), expected.iter().copied().collect(), "{code}");
    }
    let edges = [("a", &["b"][..]), ("b", &["c"]), ("c", &["b"])];
    let edges = edges.into_iter().map(|(from, to)| (from, to.iter().copied().collect())).collect();
    assert_eq!(circle(&edges), ["b", "c"].map(str::to_owned).into());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads the sources it is about")]
fn source_files_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let long: Vec<PathBuf> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| std::fs::read_to_string(root.join(path)).unwrap().lines().count() > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "split these files past {LONGEST_FILE} lines by their concepts: {long:?}");
}
