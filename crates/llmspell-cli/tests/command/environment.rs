//! API keys from the environment and from `.env`.

use crate::support::{Folder, finish, folder};

/// Returns the first provider in the output of `providers`.
fn found(folder: &Folder, environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = folder.command(&["providers"]);
    let ran = finish(command.env_remove("MOCK_LLM").envs(environment.iter().copied()));
    let first = ran.stdout.lines().nth(1).unwrap_or_default();
    (ran.code, first.split_whitespace().collect::<Vec<_>>().join(" "), ran.stderr)
}

#[test]
fn the_file_stands_behind_the_environment() {
    let folder = folder(&[(".env", "OPENAI_API_KEY='file'\nOPENAI_MODEL=from-file\n")]);
    let file = "* openai from-file OPENAI_API_KEY https://api.openai.com/v1";
    assert_eq!(found(&folder, &[]), (0, file.into(), String::new()));
    let both = "* openai from-environment OPENAI_API_KEY https://api.openai.com/v1";
    assert_eq!(found(&folder, &[("OPENAI_MODEL", "from-environment")]), (0, both.into(), String::new()));
    // An empty variable counts as set.
    let (_, cleared, _) = found(&folder, &[("OPENAI_API_KEY", ""), ("GROQ_API_KEY", "k")]);
    assert!(cleared.starts_with("* groq "), "{cleared}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_shows_no_key() {
    let malformed = folder(&[(".env", "A=1\nOPENAI_API_KEY sk-secret\n")]);
    let hint = "hint: put a value with spaces, quotes or `#` between single quotes\n";
    let stderr = format!("error: .env, line 2: expected NAME=value\n{hint}");
    assert_eq!(found(&malformed, &[]), (2, String::new(), stderr));

    let unreadable = folder(&[(".env/file", "")]);
    let (code, _, stderr) = found(&unreadable, &[]);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: cannot read .env: Is a directory"), "{stderr}");
    assert!(stderr.contains("\nhint: make .env a text file that you may read"), "{stderr}");
    // A command that calls no model does not read `.env`.
    assert_eq!(unreadable.run(&["doc", "llm.chat"]).code, 0);
}
