//! Runs the official JSON-Schema-Test-Suite for all supported drafts, including its optional part.
//!
//! `tools/json-schema-test-suite` pins the version. `pip` downloads it into the target folder when it is first needed.
//! Cases that do not pass are listed in `SKIPPED` with a reason; the test fails if the list is wrong in either
//! direction.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "downloads and reads the suite")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use llmspell_llm::Schema;
use serde_json::{Value as Json, json};

/// A draft: its folder in the suite, its `$schema`, and the numbers of cases that pass and that are skipped.
const DRAFTS: [(&str, &str, usize, usize); 5] = [
    ("draft2020-12", "https://json-schema.org/draft/2020-12/schema", 1354, 61),
    ("draft2019-09", "https://json-schema.org/draft/2019-09/schema", 1335, 46),
    ("draft7", "http://json-schema.org/draft-07/schema#", 995, 36),
    ("draft6", "http://json-schema.org/draft-06/schema#", 905, 30),
    ("draft4", "http://json-schema.org/draft-04/schema#", 686, 24),
];

/// Files and folders that are skipped for every draft.
const NOT_RUN: [(&str, &str); 1] = [("optional/format/", "`format` is an annotation")];

/// The reason why a group of cases does not pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It refers to another document. Nothing is fetched, not even the drafts' own meta-schemas, so the schema is
    /// refused.
    Remote,
    /// It uses a custom meta-schema that declares its vocabularies, so the schema is refused.
    Vocabulary,
    /// Defaults are filled in before validation, so a default that violates its schema is an error.
    Defaults,
    /// `contentEncoding` and `contentMediaType` are annotations.
    Content,
}
use Reason::{Content, Defaults, Remote, Vocabulary};

/// Groups with cases that do not pass, for every draft that contains them: file, group and reason.
const SKIPPED: [(&str, &str, Reason); 37] = [
    ("default.json", "invalid string value for default", Defaults),
    ("default.json", "invalid type for default", Defaults),
    ("default.json", "the default keyword does not do anything if the property is missing", Defaults),
    ("definitions.json", "validate definition against metaschema", Remote),
    ("defs.json", "validate definition against metaschema", Remote),
    ("dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first", Remote),
    ("dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first", Remote),
    ("dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor", Remote),
    ("dynamicRef.json", "strict-tree schema, guards against misspelled properties", Remote),
    ("dynamicRef.json", "tests for implementation dynamic anchor and reference link", Remote),
    ("optional/content.json", "validation of binary string-encoding", Content),
    ("optional/content.json", "validation of binary-encoded media type documents", Content),
    ("optional/content.json", "validation of string-encoded content based on media type", Content),
    ("optional/cross-draft.json", "refs to future drafts are processed as future drafts", Remote),
    ("optional/cross-draft.json", "refs to historic drafts are processed as historic drafts", Remote),
    (
        "optional/format-assertion.json",
        "schema that uses custom metaschema with format-assertion: false",
        Vocabulary,
    ),
    (
        "optional/format-assertion.json",
        "schema that uses custom metaschema with format-assertion: true",
        Vocabulary,
    ),
    ("ref.json", "remote ref, containing refs itself", Remote),
    ("refRemote.json", "$ref to $ref finds detached $anchor", Remote),
    ("refRemote.json", "$ref to $ref finds location-independent $id", Remote),
    ("refRemote.json", "Location-independent identifier in remote ref", Remote),
    ("refRemote.json", "anchor within remote ref", Remote),
    ("refRemote.json", "base URI change", Remote),
    ("refRemote.json", "base URI change - change folder", Remote),
    ("refRemote.json", "base URI change - change folder in subschema", Remote),
    ("refRemote.json", "fragment within remote ref", Remote),
    ("refRemote.json", "ref within remote ref", Remote),
    ("refRemote.json", "remote HTTP ref with different $id", Remote),
    ("refRemote.json", "remote HTTP ref with different URN $id", Remote),
    ("refRemote.json", "remote HTTP ref with nested absolute ref", Remote),
    ("refRemote.json", "remote ref", Remote),
    ("refRemote.json", "remote ref with ref to definitions", Remote),
    ("refRemote.json", "remote ref with ref to defs", Remote),
    ("refRemote.json", "retrieved nested refs resolve relative to their URI not $id", Remote),
    ("refRemote.json", "root ref in remote ref", Remote),
    ("vocabulary.json", "ignore unrecognized optional vocabulary", Vocabulary),
    ("vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary", Vocabulary),
];

fn suite() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/json-schema-test-suite");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("json-schema-test-suite");
    fs::create_dir_all(&place).unwrap();
    // Each test may be a separate process.
    let lock = File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    let (wanted, installed) = (tools.join("requirements.txt"), place.join("installed.txt"));
    if fs::read(&installed).ok() != fs::read(&wanted).ok() {
        let downloads = place.join("downloads");
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads).unwrap();
        let download = Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary",
                ":all:",
                "--require-hashes",
            ])
            .arg("--requirement")
            .arg(&wanted)
            .arg("--dest")
            .arg(&downloads)
            .output()
            .expect("this test needs python3 with pip: install them, or leave out this test");
        assert!(download.status.success(), "pip download: {}", String::from_utf8_lossy(&download.stderr));
        let archive = fs::read_dir(&downloads).unwrap().next().unwrap().unwrap().path();
        let unpacked = Command::new("tar")
            .args(["--strip-components=1", "-xzf"])
            .arg(&archive)
            .current_dir(&place)
            .status()
            .expect("this test needs tar");
        assert!(unpacked.success());
        fs::copy(&wanted, &installed).unwrap();
    }
    place.join("json/tests")
}

/// Returns all test files of a draft, relative to its folder.
fn files(folder: &Path) -> Vec<String> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.retain(|file| !NOT_RUN.iter().any(|(folder, _)| file.starts_with(folder)));
    files.sort();
    files
}

/// Runs one draft. Returns the numbers of passed and of skipped cases, and what differs from the list.
fn run(suite: &Path, draft: &str, uri: &str) -> (usize, usize, Vec<String>) {
    let (mut passed, mut skipped, mut wrong) = (0, 0, Vec::new());
    let folder = suite.join(draft);
    for file in files(&folder) {
        let groups: Vec<Json> = serde_json::from_slice(&fs::read(folder.join(&file)).unwrap()).unwrap();
        for group in groups {
            let name = group["description"].as_str().unwrap();
            let mut schema = group["schema"].clone();
            if let Some(fields) = schema.as_object_mut()
                && !fields.contains_key("$schema")
            {
                fields.insert("$schema".to_owned(), json!(uri));
            }
            let schema = Schema::known(schema);
            let tests = group["tests"].as_array().unwrap();
            let mut is_refused = true;
            let failing = tests.iter().filter_map(|test| {
                let result = schema.check(test["data"].clone());
                // A refused schema fails all its cases, whatever they expect.
                let refused =
                    result.as_ref().is_err_and(|error| error.expected == "a schema that can be used");
                is_refused &= refused;
                let fails = refused || Json::Bool(result.is_ok()) != test["valid"];
                let told = result.map_or_else(|error| error.to_string(), |_| "it is accepted".to_owned());
                fails.then(|| format!("{}: {told}", test["description"]))
            });
            let failing: Vec<String> = failing.collect();
            passed += tests.len() - failing.len();
            skipped += failing.len();
            let reason = SKIPPED.iter().find(|(in_file, group, _)| *in_file == file && *group == name);
            match reason.map(|(.., reason)| *reason) {
                None if failing.is_empty() => {}
                None => wrong.push(format!("{draft}/{file}: {name}: {}", failing.join("; "))),
                Some(Remote | Vocabulary) if is_refused => {}
                Some(Defaults | Content) if !is_refused && !failing.is_empty() => {}
                Some(_) => {
                    wrong.push(format!("{draft}/{file}: {name}: is listed, and its reason does not hold"))
                }
            }
        }
    }
    (passed, skipped, wrong)
}

#[test]
fn the_official_suite_passes_but_for_what_is_listed() {
    let suite = suite();
    let results = DRAFTS.map(|(draft, uri, ..)| run(&suite, draft, uri));
    let wrong: Vec<&str> = results.iter().flat_map(|(.., wrong)| wrong).map(String::as_str).collect();
    assert_eq!(wrong.join("\n"), "");
    let counts = results.each_ref().map(|(passed, skipped, _)| (*passed, *skipped));
    assert_eq!(counts, DRAFTS.map(|(_, _, passed, skipped)| (passed, skipped)));
}
