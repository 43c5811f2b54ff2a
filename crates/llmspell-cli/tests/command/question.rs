//! The permission question on a terminal, and remembered answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Folder, folder, seen};
use crate::terminal::Terminal;

const MANIFEST: &str = "version: 1.2\npermissions: {net: [example.com], read: [./texts]}";
const ALLOW: &str = "Allow? [y]es once / [a]lways for this version of the spell / [N]o: ";

fn spell() -> Folder {
    folder(&[("web/main.luau", "print('ran')"), ("web/spell.yaml", MANIFEST)])
}

/// The question for the spell above.
fn question(folder: &Folder) -> String {
    let texts = folder.path().join("web/texts");
    format!("web 1.2 asks to\n  reach example.com at any port\n  read files in {}\n{ALLOW}", texts.display())
}

/// Runs the spell on a terminal and types an answer to the question. Returns the exit code and the screen.
fn answer(folder: &Folder, words: &[&str], keys: &str) -> (i32, String) {
    let words: Vec<&str> = ["run", "web"].iter().chain(words).copied().collect();
    let mut terminal = Terminal::start(&mut folder.command(&words), "");
    terminal.until("[N]o: ");
    terminal.type_in(keys);
    terminal.end()
}

/// Runs the spell on a terminal, without a question.
fn unasked(folder: &Folder, words: &[&str]) -> (i32, String) {
    let words: Vec<&str> = ["run", "web"].iter().chain(words).copied().collect();
    Terminal::start(&mut folder.command(&words), "").end()
}

/// Returns the permissions that a run would have.
fn granted(folder: &Folder) -> String {
    let ran = folder.run(&["run", "web", "--dry-run", "--output", "json"]);
    let preview: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    preview["permissions"]["granted_by"].to_string()
}

#[test]
fn a_spell_runs_whatever_the_answer_and_only_always_is_remembered() {
    for (keys, echo) in [
        ("y\n", "y\n"),
        ("YES\n", "YES\n"),
        ("n\n", "n\n"),
        ("\n", "\n"),
        ("what?\n", "what?\n"),
        // Ctrl-D, the end of input.
        ("\u{4}", "\n"),
    ] {
        let folder = spell();
        let screen = format!("{}{echo}ran\n", question(&folder));
        assert_eq!(answer(&folder, &[], keys), (0, screen), "{keys:?}");
        assert_eq!(granted(&folder), "{}", "{keys:?}");
        assert!(!folder.path().join(".state").exists(), "{keys:?}");
    }
}

#[test]
fn always_is_for_this_version_of_the_spell() {
    let folder = spell();
    let screen = question(&folder);
    assert_eq!(answer(&folder, &[], "a\n"), (0, format!("{screen}a\nran\n")));
    assert_eq!(unasked(&folder, &[]), (0, "ran\n".into()));
    let texts = folder.path().join("web/texts");
    let all =
        format!(r#"{{"remembered":{{"net":["example.com"],"read":["{}"],"write":[]}}}}"#, texts.display());
    assert_eq!(granted(&folder), all);
    // A remembered answer applies without a terminal too.
    assert_eq!(folder.run(&["run", "web"]), seen(0, "ran\n", ""));
    folder.write("web/main.luau", "print('changed')");
    assert_eq!(granted(&folder), "{}");
    assert_eq!(answer(&folder, &[], "always\n"), (0, format!("{screen}always\nchanged\n")));
    assert_eq!(granted(&folder), all);
    folder.write("web/lib/new.luau", "");
    assert_eq!(granted(&folder), "{}");
}

#[test]
fn the_file_of_answers_is_for_the_user_alone() {
    let folder = spell();
    answer(&folder, &[], "a\n");
    let state = folder.path().join(".state/llmspell");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("permissions.json"))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn what_flags_cover_is_not_asked() {
    let folder = spell();
    assert_eq!(unasked(&folder, &["-A"]), (0, "ran\n".into()));
    assert_eq!(unasked(&folder, &["--allow-net=example.com", "--allow-read=."]), (0, "ran\n".into()));
    let screen = format!("web 1.2 asks to\n  reach example.com at any port\n{ALLOW}a\nran\n");
    assert_eq!(answer(&folder, &["--allow-read=web"], "a\n"), (0, screen));
    // Only what the question showed was granted permanently.
    let texts = folder.path().join("web/texts");
    let screen = format!("web 1.2 asks to\n  read files in {}\n{ALLOW}a\nran\n", texts.display());
    assert_eq!(answer(&folder, &[], "a\n"), (0, screen));
    assert_eq!(unasked(&folder, &[]), (0, "ran\n".into()));
}

#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let folder = spell();
    let mut terminal = Terminal::start(&mut folder.command(&["run", "web"]), "a\n");
    terminal.until("[N]o: ");
    terminal.type_in("n\n");
    assert_eq!(terminal.end(), (0, format!("a\n{}n\nran\n", question(&folder))));
    assert_eq!(granted(&folder), "{}");
}

#[test]
fn an_interrupt_at_the_question_runs_nothing() {
    let folder = spell();
    let mut terminal = Terminal::start(&mut folder.command(&["run", "web"]), "");
    terminal.until("[N]o: ");
    terminal.interrupt();
    let (code, screen) = terminal.end();
    let error = "\u{1b}[1;31merror:\u{1b}[0m the run was cancelled\n";
    assert_eq!((code, screen), (130, format!("{}\n{error}", question(&folder))));
}

#[test]
fn the_spells_own_input_follows_the_answer() {
    let folder = spell();
    folder.write("web/main.luau", "print(console.read_line('name? '))");
    let mut terminal = Terminal::start(&mut folder.command(&["run", "web"]), "");
    terminal.until("[N]o: ");
    terminal.type_in("y\n");
    terminal.until("name? ");
    terminal.type_in("Ada\n");
    assert_eq!(terminal.end(), (0, format!("{}y\nname? Ada\nAda\n", question(&folder))));
}

#[test]
fn nothing_is_asked_that_the_user_does_not_want_to_be_asked() {
    let folder = spell();
    assert_eq!(unasked(&folder, &["--no-prompt", "-q"]), (0, "ran\n".into()));
    assert_eq!(unasked(&folder, &["--allow-asked", "-q"]), (0, "ran\n".into()));
}

#[test]
fn what_a_manifest_writes_is_shown_and_not_obeyed() {
    let folder = spell();
    folder.write(
        "web/spell.yaml",
        r#"{name: "w\eb\n", permissions: {read: ["/git\r\e[2K\u202eAllow"], write: ["/a\n  reach nothing"]}}"#,
    );
    let screen = format!(
        "{}\n  {}\n  {}\n{ALLOW}n\nran\n",
        r"w\u{1b}b\n asks to",
        r"read files in /git\r\u{1b}[2K\u{202e}Allow",
        r"write files in /a\n  reach nothing"
    );
    assert_eq!(answer(&folder, &["--raw"], "n\n"), (0, screen));
}

#[test]
fn a_link_on_the_way_is_told() {
    let folder = spell();
    fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    let link = folder.path().join("link/texts");
    folder.write("web/spell.yaml", &format!("permissions: {{read: [{}]}}", link.display()));
    let real = folder.path().join("real/texts");
    let asks = format!("read files in {}, which leads to {}", link.display(), real.display());
    assert_eq!(answer(&folder, &[], "n\n"), (0, format!("web asks to\n  {asks}\n{ALLOW}n\nran\n")));
}

#[test]
fn a_broken_file_of_answers_is_told_and_replaced() {
    let folder = spell();
    folder.write(".state/llmspell/permissions.json", "{");
    let file = folder.path().join(".state/llmspell/permissions.json");
    let warning = format!(
        "\u{1b}[1;33mwarning:\u{1b}[0m cannot read {}: EOF while parsing an object at line 1 column 1: \
         nothing is remembered\n",
        file.display()
    );
    assert_eq!(answer(&folder, &[], "a\n"), (0, format!("{warning}{}a\nran\n", question(&folder))));
    assert_eq!(unasked(&folder, &[]), (0, "ran\n".into()));
}

#[test]
fn answers_that_cannot_be_kept_are_good_for_one_run() {
    let folder = spell();
    folder.write(".state", "a file where a folder should be");
    let (code, screen) = answer(&folder, &[], "a\n");
    assert_eq!(code, 0);
    assert!(screen.ends_with(": the answer is good for this run\nran\n"), "{screen}");
}

#[test]
fn a_settings_file_cannot_say_where_answers_are_kept() {
    let folder = spell();
    answer(&folder, &[], "a\n");
    fs::rename(folder.path().join(".state"), folder.path().join("planted")).unwrap();
    folder.write(".env", &format!("XDG_STATE_HOME={}\n", folder.path().join("planted").display()));
    let mut command = folder.command(&["run", "web"]);
    command.env_remove("XDG_STATE_HOME").env("HOME", folder.path().join("home"));
    let mut terminal = Terminal::start(&mut command, "");
    terminal.until("[N]o: ");
    terminal.type_in("n\n");
    assert_eq!(terminal.end(), (0, format!("{}n\nran\n", question(&folder))));
}

/// For each language, a spell that requests permissions, and the files that it loads.
const LANGUAGES: [&[(&str, &str)]; 2] = [
    &[
        ("web/main.luau", "print('ran', require('./lib/a'))"),
        ("web/lib/a.luau", "return require('./b')"),
        ("web/lib/b.lua", "return 'approved'"),
    ],
    &[
        ("web/main.ts", "import a from './lib/a.mts'; console.log('ran', a);"),
        ("web/lib/a.mts", "import b from './b.js'; export default b;"),
        ("web/lib/b.ts", "export default 'approved' as string;"),
    ],
];

#[test]
fn always_is_for_every_file_that_the_spell_can_load() {
    for files in LANGUAGES {
        let folder = folder(files);
        folder.write("web/spell.yaml", MANIFEST);
        answer(&folder, &[], "a\n");
        let remembered = granted(&folder);
        assert!(remembered.contains("remembered"), "{remembered}");
        for (name, text) in files.iter().chain(&[("web/spell.yaml", MANIFEST)]) {
            folder.write(name, &format!("{text}\n"));
            assert_eq!(granted(&folder), "{}", "{name} is changed");
            folder.write(name, text);
            assert_eq!(granted(&folder), remembered, "{name} is as it was");
        }
    }
}

#[test]
fn a_file_that_is_swapped_during_the_question_does_not_run_with_the_grant() {
    for files in LANGUAGES {
        for (at, (name, text)) in files.iter().enumerate() {
            for key in ["y", "a"] {
                let folder = folder(files);
                folder.write("web/spell.yaml", MANIFEST);
                let mut terminal = Terminal::start(&mut folder.command(&["run", "web"]), "");
                terminal.until("[N]o: ");
                let swapped = text.replace("'ran'", "'swapped'").replace("approved", "swapped");
                folder.write(name, &format!("{swapped}\n"));
                terminal.type_in(&format!("{key}\n"));
                let (code, screen) = terminal.end();
                let expected = match at {
                    // The entry runs in the version that was read.
                    0 => (0, "approved\n".to_owned()),
                    _ => (2, format!("{name} was changed after the spell was loaded")),
                };
                assert!(screen.contains(&expected.1) && !screen.contains("swapped"), "{name}: {screen}");
                assert_eq!(code, expected.0, "{name}: {screen}");
                assert_eq!(granted(&folder), "{}", "{name}: what was granted for good does not cover it");
            }
        }
    }
}
