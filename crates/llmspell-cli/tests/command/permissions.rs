//! The permissions of a run if nobody can be asked.

use crate::support::{Folder, finish, folder, run, seen};

fn spell() -> Folder {
    folder(&[
        ("web/main.luau", "print(console.read_line())"),
        ("web/spell.yaml", "permissions: {net: ['*.example.com:443', other.org]}"),
    ])
}

const OPEN: &str = "note: asked for and not granted: reach *.example.com:443\n\
                    note: asked for and not granted: reach other.org at any port\n\
                    note: --allow-asked grants what a spell asks for\n";

#[test]
fn what_comes_through_a_pipe_is_no_answer() {
    for words in [&["run", "web"][..], &["run", "web", "--no-prompt"]] {
        assert_eq!(spell().run_with_input(words, "a\n"), seen(0, "a\n", OPEN));
    }
    assert_eq!(spell().run_with_input(&["run", "web", "-q"], "a\n"), seen(0, "a\n", ""));
}

#[test]
fn unattended_runs_are_told_what_is_granted() {
    let granted = "note: granted: reach *.example.com:443\nnote: granted: reach other.org at any port\n";
    let input = |words: &[&str]| spell().run_with_input(words, "a\n");
    assert_eq!(input(&["run", "web", "--allow-asked"]), seen(0, "a\n", granted));
    assert_eq!(input(&["run", "web", "--allow-asked", "-q"]), seen(0, "a\n", ""));
    let rest = "note: granted: reach other.org at any port\n";
    assert_eq!(input(&["run", "web", "--allow-asked", "--allow-net=*.example.com"]), seen(0, "a\n", rest));
    assert_eq!(input(&["run", "web", "-A"]), seen(0, "a\n", ""));
}

#[test]
fn a_spell_that_asks_nothing_leaves_no_trace() {
    let folder = folder(&[("s/main.luau", "print(1)")]);
    assert_eq!(folder.run(&["run", "s"]), seen(0, "1\n", ""));
    assert!(!folder.path().join(".state").exists());
}

#[test]
fn no_state_folder_is_no_mistake() {
    let folder = spell();
    let mut command = folder.command(&["run", "web", "-q"]);
    // Both paths are relative. Without `HOME`, the system would be asked for the home folder.
    command.env("XDG_STATE_HOME", "relative").env("HOME", "relative");
    assert_eq!(finish(&mut command), seen(0, "nil\n", ""));
}

#[test]
fn wrong_grants_are_named() {
    for (flag, message) in [
        ("--allow-net=*", "invalid value '*' for '--allow-net=<HOST>': `*` is not a host"),
        ("--allow-net=https://x.org", "invalid value 'https://x.org' for '--allow-net=<HOST>': "),
        ("--allow-read=~/texts", "invalid value '~/texts' for '--allow-read=<DIR>': `~` means nothing here"),
        ("--allow-write=", "expected a folder; `.` is the working folder"),
    ] {
        let ran = run("", &[flag]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{flag}");
        assert!(ran.stderr.contains(message), "{flag}: {}", ran.stderr);
    }
}

#[test]
fn what_a_manifest_may_not_ask_is_named() {
    let folder = folder(&[("s/main.luau", "print(1)")]);
    for (permissions, message) in [
        ("read: [../x]", "`permissions.read`: `../x` has `..` in it\nhint: write a path outside of"),
        (
            "write: [~/x]",
            "`permissions.write`: `~/x` has no meaning in a manifest\nhint: write the whole path",
        ),
        ("net: all", "`permissions`: "),
        ("net: ['*']", "is not a host"),
        (r#"net: ["a\e[2J.org"]"#, "is not a host"),
        ("exec: [git]", "`Permissions` has no field `exec`"),
    ] {
        folder.write("s/spell.yaml", &format!("permissions: {{{permissions}}}"));
        let ran = folder.run(&["run", "s", "-A"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{permissions}");
        assert!(
            ran.stderr.starts_with("error: s/spell.yaml: ") && ran.stderr.contains(message),
            "{}",
            ran.stderr
        );
    }
    folder.write("s/spell.yaml", "capabilities: [llm.chat, http.get, fs.read]");
    let warning = "warning: s/spell.yaml: `capabilities` grants nothing: write what http.get, fs.read needs as \
                   `permissions`\n";
    assert_eq!(folder.run(&["run", "s"]), seen(0, "1\n", warning));
}

#[test]
fn calls_in_flight_are_counted_from_one() {
    let ran = run("print(llm.chat('hi') ~= nil)", &["--max-in-flight", "1", "-q"]);
    assert_eq!(ran, seen(0, "true\n", ""));
    let ran = run("", &["--max-in-flight", "0"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.starts_with("error: invalid value '0' for '--max-in-flight <COUNT>'"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_spells_own_folder_is_found_however_it_is_written() {
    let folder = folder(&[
        ("s/main.luau", "print((assert(fs.read('texts/a.txt'))))"),
        ("s/spell.yaml", "permissions: {read: [texts]}"),
        ("s/texts/a.txt", "from the spell's folder"),
        ("w/deep/notes.txt", ""),
    ]);
    let absolute = folder.path().join("w/../s");
    for (working, spell) in [
        (".", "s"),
        ("s", "."),
        ("w", "../s"),
        ("w/deep", "../../s/"),
        ("w/deep", "../../w/.././s"),
        ("w", absolute.to_str().unwrap()),
    ] {
        let mut command = folder.command(&["run", spell, "--allow-asked", "-q"]);
        let ran = finish(command.current_dir(folder.path().join(working)));
        assert_eq!(ran, seen(0, "from the spell's folder\n", ""), "{spell} in {working}");
    }
}
