//! What a spell asks for, and the fingerprint of the version that asks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "tests lay out their files themselves")]

use std::fs;
use std::path::{Path, PathBuf};

use llmspell::{Grant, Spell};
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

#[test]
fn every_change_of_what_can_run_is_another_version() {
    let files = [("main.luau", "require('./lib/a')"), ("spell.yaml", "name: a"), ("lib/a.luau", "return 1")];
    let folder = folder(&files);
    let first = digest(folder.path());
    assert!(first.len() == 64 && first.bytes().all(|digit| digit.is_ascii_hexdigit()), "{first}");
    for (name, text) in [
        ("main.luau", "require('./lib/b')"),
        ("spell.yaml", "name: b"),
        ("lib/a.luau", "return 2"),
        ("lib/b.luau", ""),
        (".hidden/c.lua", ""),
    ] {
        write(folder.path(), name, text);
        assert_ne!(digest(folder.path()), first, "{name}");
        fs::remove_file(folder.path().join(name)).unwrap();
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        assert_eq!(digest(folder.path()), first, "{name} is as it was");
    }
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
    // A link to a folder and one to a file are other ways to what is there.
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
