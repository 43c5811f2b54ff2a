//! The permissions that a spell requests, and the digest of the version that requests them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "tests lay out their files themselves")]

use std::fs;
use std::path::{Path, PathBuf};

use llmspell::{EngineDescriptor, Grant, Language, Result, Runtime, Spell, Value};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn digest(path: &Path) -> String {
    Spell::load(path).unwrap().digest().unwrap()
}

#[test]
fn paths_in_a_manifest_are_beneath_the_spells_folder() {
    let folder = folder(&[
        ("main.luau", ""),
        ("spell.yaml", "permissions: {read: [., ./data, /srv/texts], write: [out/a]}"),
    ]);
    let spell = Spell::load(folder.path()).unwrap();
    let here = folder.path();
    assert_eq!(
        spell.asked().read,
        Grant::Only(vec![here.into(), here.join("data"), PathBuf::from("/srv/texts")])
    );
    assert_eq!(spell.asked().write, Grant::Only(vec![here.join("out/a")]));
    let lone = Spell::load(&here.join("main.luau")).unwrap();
    assert!(lone.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn a_link_in_the_folder_lends_its_name_to_no_place_outside() {
    let folder =
        folder(&[("main.luau", ""), ("data/a.txt", ""), ("spell.yaml", "permissions: {read: [texts]}")]);
    let link = folder.path().join("texts");
    std::os::unix::fs::symlink("data", &link).unwrap();
    assert!(Spell::load(folder.path()).is_ok());
    for target in ["/", "..", "../nowhere"] {
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
        let error = Spell::load(folder.path()).unwrap_err();
        let expected = "spell.yaml: `permissions.read`: `texts` does not stay inside the spell's folder: \
                        a link leads out of it";
        assert!(error.message().ends_with(expected), "{target}: {error}");
    }
}

/// Every file that an engine may load, and the manifest.
const FILES: [(&str, &str); 14] = [
    ("spell.yaml", "name: a"),
    ("main.luau", "require('./lib/a')"),
    ("main.ts", "import './lib/a.js'"),
    ("lib/a.luau", "return 1"),
    ("lib/b.lua", "return 1"),
    ("lib/c/init.luau", "return 1"),
    ("lib/a.js", "export default 1"),
    ("lib/b.mjs", "export default 1"),
    ("lib/c.ts", "export default 1"),
    ("lib/d.mts", "export default 1"),
    ("lib/e/index.ts", "export default 1"),
    ("lib/UP.MTS", "export default 1"),
    (".hidden/f.js", "export default 1"),
    ("tests/greet.test.mts", "test.case('a', () => {})"),
];

#[test]
fn every_change_of_what_can_run_is_another_version() {
    let folder = folder(&FILES);
    let first = digest(folder.path());
    assert!(first.len() == 64 && first.bytes().all(|digit| digit.is_ascii_hexdigit()), "{first}");
    for (name, text) in FILES {
        write(folder.path(), name, &format!("{text} "));
        assert_ne!(digest(folder.path()), first, "{name} is changed");
        if name != "main.luau" {
            fs::remove_file(folder.path().join(name)).unwrap();
            assert_ne!(digest(folder.path()), first, "{name} is removed");
        }
        write(folder.path(), name, text);
        assert_eq!(digest(folder.path()), first, "{name} is as it was");
    }
}

#[test]
fn every_extension_of_an_engine_counts() {
    let toy = EngineDescriptor::new("toy", "1").language(Language::new("Toy", ["toy", "toi"]));
    let runtime = Runtime::builder().engine(toy, || unreachable!("nothing runs")).build().unwrap();
    for engine in runtime.engines().descriptors() {
        for extension in engine.extensions() {
            let folder = folder(&[("main.luau", "")]);
            let digest = || runtime.load(folder.path()).unwrap().digest().unwrap();
            let first = digest();
            write(folder.path(), &format!("new.{extension}"), "");
            assert_ne!(digest(), first, "{extension}");
        }
    }
}

/// A script and its modules.
type Files = &'static [(&'static str, &'static str)];

const LUAU: Files = &[
    ("main.luau", "return require('./lib/a')"),
    ("lib/a.luau", "return 'lib ' .. require('./deep')"),
    ("lib/deep/init.luau", "return 'deep'"),
];

const TYPESCRIPT: Files = &[
    ("main.ts", "import a from './lib/a.mts'; export default a;"),
    ("lib/a.mts", "import deep from './deep.js'; export default 'lib ' + deep;"),
    ("lib/deep.ts", "export default 'deep' as string;"),
];

async fn run(spell: &Spell) -> Result<Value> {
    let runtime = Runtime::builder().workers(1).build()?;
    runtime.run(spell.clone()).start().outcome().await.into_result()
}

#[tokio::test]
async fn no_module_runs_that_is_not_as_it_was_in_the_digest() {
    for files in [LUAU, TYPESCRIPT] {
        for lone in [false, true] {
            let folder = folder(files);
            let path = if lone { folder.path().join(files[0].0) } else { folder.path().to_owned() };
            let spell = Spell::load(&path).unwrap();
            spell.digest().unwrap();
            assert_eq!(run(&spell).await.unwrap(), "lib deep".into());
            for (name, text) in &files[1..] {
                write(folder.path(), name, &format!("{text} "));
                let changed = run(&spell).await;
                fs::remove_file(folder.path().join(name)).unwrap();
                let removed = run(&spell).await;
                write(folder.path(), name, text);
                if lone {
                    // The modules of this spell were not approved: it has no folder and requests no permissions.
                    assert_eq!(changed.unwrap(), "lib deep".into());
                    continue;
                }
                for (what, result) in [("changed", changed), ("removed", removed)] {
                    let file = folder.path().join(name);
                    let expected = format!("{} was {what} after the spell was loaded", file.display());
                    let error = result.unwrap_err();
                    assert!(error.is_load() && error.message().ends_with(&expected), "{what}: {error}");
                }
                assert_eq!(run(&spell).await.unwrap(), "lib deep".into());
            }
        }
    }
}

#[tokio::test]
async fn no_module_runs_that_was_created_after_the_digest() {
    let optional = "local ok, found = pcall(require, './new'); return if ok then found else tostring(found)";
    for (main, text, created) in [
        // It would be found instead of the approved file.
        ("main.luau", "return require('./lib')", "lib.luau"),
        ("main.ts", "import a from './lib'; export default a;", "lib.js"),
        ("main.ts", "import a from './lib.js'; export default a;", "lib.js"),
        ("main.luau", optional, "new.lua"),
        ("main.ts", "export default await import('./new').catch((e) => e.message);", "new.mjs"),
    ] {
        let folder = folder(&[
            (main, text),
            ("lib/init.luau", "return 'approved'"),
            ("lib.ts", "export default 'approved';"),
        ]);
        let spell = Spell::load(folder.path()).unwrap();
        spell.digest().unwrap();
        write(folder.path(), created, "export default 'created'; return 'created'");
        let said = match run(&spell).await {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.message().to_owned(),
        };
        let expected = format!("{created} was created after the spell was loaded");
        assert!(said.contains(&expected), "{main} {created}: {said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_a_folder_leads_where_it_did() {
    use std::os::unix::fs::symlink;
    for (main, text, module) in [
        ("main.luau", "return require('./lib/x')", "x.luau"),
        ("main.js", "import x from './lib/x.js'; export default x;", "x.js"),
    ] {
        let one = if main == "main.js" { "export default 1" } else { "return 1" };
        let two = one.replace('1', "2");
        let (a, b) = (format!("a/{module}"), format!("b/{module}"));
        let folder = folder(&[(main, text), (&a, one), (&b, &two)]);
        symlink("a", folder.path().join("lib")).unwrap();
        let spell = Spell::load(folder.path()).unwrap();
        spell.digest().unwrap();
        assert_eq!(run(&spell).await.unwrap(), 1.into());
        fs::remove_file(folder.path().join("lib")).unwrap();
        symlink("b", folder.path().join("lib")).unwrap();
        let error = run(&spell).await.unwrap_err();
        assert!(error.message().ends_with("was changed after the spell was loaded"), "{error}");
    }
}

#[tokio::test]
async fn a_run_looks_for_a_bounded_number_of_missing_modules() {
    let text = "for i = 1, 2000 do local ok, why = pcall(require, './m' .. i)
                    if not tostring(why):find('there is no module') then return tostring(why) end
                end";
    let folder = folder(&[("main.luau", text)]);
    let said = run(&Spell::load(folder.path()).unwrap()).await.unwrap();
    let said = said.as_str().unwrap();
    assert!(said.contains("a run looks for at most 1000 modules that are not there"), "{said}");
}

#[test]
fn data_beside_the_scripts_is_no_part_of_a_version() {
    let folder = folder(&[("main.luau", ""), ("data/a.txt", "1")]);
    let first = digest(folder.path());
    write(folder.path(), "data/a.txt", "2");
    write(folder.path(), "data/b.json", "2");
    assert_eq!(digest(folder.path()), first);
}

#[test]
fn the_border_between_two_scripts_counts() {
    let one = folder(&[("main.luau", ""), ("a.luau", "xy"), ("b.luau", "")]);
    let other = folder(&[("main.luau", ""), ("a.luau", "x"), ("b.luau", "y")]);
    assert_ne!(digest(one.path()), digest(other.path()));
}

#[test]
fn a_lone_script_is_itself_alone() {
    let folder = folder(&[("greet.luau", "print(1)"), ("other.luau", "")]);
    let path = folder.path().join("greet.luau");
    let first = digest(&path);
    write(folder.path(), "other.luau", "print(2)");
    assert_eq!(digest(&path), first);
    write(folder.path(), "greet.luau", "print(2)");
    assert_ne!(digest(&path), first);
}

#[cfg(unix)]
#[test]
fn links_are_seen_and_lead_nowhere_outside() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("far.luau", "return 1"), ("folder/x.luau", "return 1")]);
    let folder =
        folder(&[("main.luau", ""), ("a/x.luau", "return 1"), ("b/x.luau", "return 2"), ("t.txt", "1")]);
    let first = digest(folder.path());
    symlink(outside.path().join("far.luau"), folder.path().join("far.luau")).unwrap();
    symlink(outside.path().join("folder"), folder.path().join("far")).unwrap();
    symlink("loop.luau", folder.path().join("loop.luau")).unwrap();
    assert_eq!(digest(folder.path()), first, "no module is read through these");
    // A link to a folder and a link to a file are other paths to the same files.
    symlink("a", folder.path().join("lib")).unwrap();
    let to_a = digest(folder.path());
    fs::remove_file(folder.path().join("lib")).unwrap();
    symlink("b", folder.path().join("lib")).unwrap();
    let to_b = digest(folder.path());
    symlink("t.txt", folder.path().join("t.luau")).unwrap();
    let text = digest(folder.path());
    write(folder.path(), "t.txt", "2");
    let versions = [first, to_a, to_b, text, digest(folder.path())];
    let different: std::collections::BTreeSet<_> = versions.iter().collect();
    assert_eq!(different.len(), versions.len());
}
