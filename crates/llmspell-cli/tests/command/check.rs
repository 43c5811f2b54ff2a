//! `llmspell check`.

use crate::support::{folder, seen};

#[test]
fn a_spell_without_mistakes_is_said_to_be_so() {
    let folder =
        folder(&[("s/main.luau", "print(1)"), ("s/lib/util.luau", "return {}"), ("s/notes.txt", "= =")]);
    assert_eq!(folder.run(&["check", "s"]), seen(0, "", "note: s: ok, 2 files\n"));
    assert_eq!(folder.run(&["check", "s/main.luau"]), seen(0, "", "note: main: ok, 1 file\n"));
}

#[test]
fn several_spells_are_checked_and_one_does_not_hide_the_other() {
    let folder = folder(&[("a.luau", "local x = = 1"), ("b.luau", "print(1)"), ("c/notes.txt", "")]);
    let ran = folder.run(&["check", "a.luau", "c", "b.luau"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for part in ["error: c is not a spell", "note: b: ok, 1 file\n", "  at a.luau:1"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(folder.run(&["check", "b.luau", "b.luau", "-q"]), seen(0, "", ""));
    let none = folder.run(&["check"]);
    assert!(none.code == 2 && none.stderr.contains("<SPELLS>"), "{}", none.stderr);
}

#[test]
fn mistakes_in_every_module_are_shown_with_their_lines() {
    let folder = folder(&[("s/main.luau", "local x = 1\nlocal y = = 2"), ("s/lib/util.luau", "return {")]);
    let ran = folder.run(&["check", "s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    for part in ["at s/main.luau:2", "local y = = 2", "at s/lib/util.luau:1"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let listed = folder.run(&["check", "s", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["place"]["file"], "s/main.luau");
    assert_eq!(listed[1]["place"]["file"], "s/lib/util.luau");
}
