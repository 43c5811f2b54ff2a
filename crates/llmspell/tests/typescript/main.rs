//! TypeScript compared with its compilers: scripts fit the types that `llmspell types` writes, and a TypeScript script
//! does the same as the compilers' output (`references.rs`).
//!
//! `tools/typescript` pins the compilers. `npm ci` installs them in the target folder when a test first needs them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "starts the compiler and lays out what it reads")]

mod cases;
mod generate;
mod references;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use llmspell::{Runtime, reference};
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns the folder with the compilers, installed from the lock file.
fn compilers() -> PathBuf {
    let (tools, place) =
        (repository().join("tools/typescript"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript"));
    fs::create_dir_all(&place).unwrap();
    // Each test may be a separate process.
    let lock = File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    let (wanted, installed) = (tools.join("package-lock.json"), place.join("installed.json"));
    if fs::read(&installed).ok() != fs::read(&wanted).ok() {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(tools.join(file), place.join(file)).unwrap();
        }
        let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&place).output();
        let npm =
            npm.expect("this test needs npm and node, 20 or later: install them, or leave out this test");
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
        fs::copy(wanted, installed).unwrap();
    }
    place
}

/// Returns a folder with the output of `llmspell types`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::builder().build().unwrap();
    fs::create_dir(folder.path().join("types")).unwrap();
    for file in reference::editor_files(&reference::bridges(&runtime), &runtime.engines().prelude_docs()) {
        fs::write(folder.path().join(file.path), file.text).unwrap();
    }
    folder
}

/// Returns the compiler's messages about a project.
fn check(project: &Path) -> String {
    let ran = Command::new("node")
        .arg(compilers().join("node_modules/typescript/bin/tsc"))
        .args(["--pretty", "false", "--project"])
        .arg(project)
        .current_dir(project.parent().unwrap())
        .output()
        .expect("this test needs node, 20 or later");
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.success(), said.is_empty(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    said
}

/// Checks files of the repository with the configuration of `llmspell types` and further options.
fn check_ours(patterns: &[&str], options: &str) -> String {
    let (folder, repository) = (folder(), repository());
    let include: Vec<PathBuf> = patterns.iter().map(|pattern| repository.join(pattern)).collect();
    let include =
        serde_json::to_string(&[&[repository.join("types/llmspell.d.ts")], &include[..]].concat()).unwrap();
    // This case contains a syntax error on purpose.
    let exclude = serde_json::to_string(&[repository.join("tests/spells/javascript/syntax.js")]).unwrap();
    let project = folder.path().join("ours.json");
    let text = format!(
        r#"{{"extends": "./tsconfig.json", "compilerOptions": {options}, "include": {include}, "exclude": {exclude}}}"#
    );
    fs::write(&project, text).unwrap();
    check(&project)
}

#[test]
fn spells_in_typescript_are_strictly_typed() {
    assert_eq!(check_ours(&["examples/**/*.ts", "tests/spells/**/*.ts"], "{}"), "");
}

/// JavaScript cannot declare the type of a parameter or of a caught error, so these may be `any`.
#[test]
fn spells_in_javascript_fit_the_types() {
    let options = r#"{"checkJs": true, "noImplicitAny": false, "useUnknownInCatchVariables": false}"#;
    assert_eq!(check_ours(&["examples/**/*.js", "tests/spells/**/*.js"], options), "");
}

#[test]
fn what_is_wrong_is_found_where_it_stands() {
    let folder = folder();
    let cases = [
        ("await llm.chat({ messages: [], maxTokenz: 5 });", "maxTokenz"),
        ("await llm.chat({ messages: [{ role: 'users', content: '' }] });", "users"),
        ("const size: number = await fs.read('a.txt');", "number"),
        ("const bytes: string = crypto.base64Decode('aGk=');", "Uint8Array"),
        ("(await http.request({ url: '' })).headerz;", "headerz"),
        ("llm.stream_chat('hi', console.log);", "streamChat"),
        ("await storage.sett('a', 1);", "sett"),
        ("document.title;", "document"),
        ("process.exit(1);", "process"),
    ];
    for (number, (script, _)) in cases.iter().enumerate() {
        fs::write(folder.path().join(format!("case{number}.ts")), script).unwrap();
    }
    let said = check(&folder.path().join("tsconfig.json"));
    for (number, (script, about)) in cases.iter().enumerate() {
        let file = format!("case{number}.ts(1,");
        let found: Vec<&str> = said.lines().filter(|line| line.starts_with(&file)).collect();
        assert!(matches!(found[..], [line] if line.contains(about)), "{script}\n{found:#?}");
    }
}

#[test]
fn a_script_alone_is_a_module_in_which_await_works() {
    let folder = folder();
    for (name, text) in [
        ("one.ts", "const answer = await llm.chat('hi');\nconsole.log(answer);\n"),
        (
            "two.ts",
            "import { area } from './lib/area.ts';\nconst answer: number = area(2);\nexport default answer;\n",
        ),
        ("lib/area.ts", "export const area = (r: number) => r * r * 3;\n"),
        ("three.js", "const answer = await llm.chat(params.question);\nexport default { answer };\n"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(check(&folder.path().join("tsconfig.json")), "");
}
