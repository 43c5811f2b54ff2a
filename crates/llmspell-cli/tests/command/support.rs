//! A folder with spells, and the command that runs in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A working folder, removed when dropped.
pub(crate) struct Folder(TempDir);

/// The visible result of a command: exit code, stdout and stderr.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn seen(code: i32, stdout: &str, stderr: &str) -> Seen {
    Seen { code, stdout: stdout.into(), stderr: stderr.into() }
}

/// Creates a folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder(tempfile::tempdir().unwrap());
    for (name, text) in files {
        folder.write(name, text);
    }
    folder
}

/// Runs a single spell on the mock, with further arguments.
pub(crate) fn run(source: &str, words: &[&str]) -> Seen {
    let words: Vec<&str> = ["run", "spell.luau"].iter().chain(words).copied().collect();
    folder(&[("spell.luau", source)]).run(&words)
}

/// Returns the folder of the example spells.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns the command. Its environment only selects the mock and stores state in this folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmspell"));
        command.args(words).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("MOCK_LLM", "true").env("XDG_STATE_HOME", self.path().join(".state"));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Seen {
        finish(&mut self.command(words))
    }

    /// Runs the command with input.
    pub(crate) fn run_with_input(&self, words: &[&str], input: &str) -> Seen {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        as_seen(child.wait_with_output().unwrap())
    }
}

pub(crate) fn finish(command: &mut Command) -> Seen {
    as_seen(command.output().unwrap())
}

fn as_seen(output: std::process::Output) -> Seen {
    Seen {
        code: output.status.code().expect("the process ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: without_time(&String::from_utf8(output.stderr).unwrap()),
    }
}

/// Removes the time at the end of the usage note, which varies.
fn without_time(stderr: &str) -> String {
    let line = |line: &str| match line.rsplit_once(", ") {
        Some((used, _)) if used.starts_with("note: ") && used.contains(" model call") => {
            format!("{used}, TIME\n")
        }
        _ => line.to_owned(),
    };
    stderr.split_inclusive('\n').map(line).collect()
}

/// Reads one complete request. Returns its head and its body. A server that answers earlier may reset the connection.
pub(crate) fn read_request(socket: &mut TcpStream) -> (String, String) {
    let mut reader = BufReader::new(socket);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some((_, value)) = line.to_lowercase().split_once("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}
