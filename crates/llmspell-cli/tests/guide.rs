//! Tests of the guides for spell authors: their examples must produce what the guides show.
//!
//! Each section (`##`) is one test in its own folder, performed from top to bottom. A Luau or YAML block whose first
//! line is a comment with a path is written to that file. A Luau block without a path is a complete spell that must
//! succeed. A shell runs the commands of a `console` block on the mock provider, and their whole output must follow
//! them. Where a command grants `example.com`, a server on loopback replaces it. The duration of each test case is
//! shown as 2 ms.
//!
//! A table of the exit codes, in a guide or the README, must be the one of `llmspell --help`.
//!
//! `UPDATE=1 cargo test -p llmspell-cli --test guide` writes the actual output into the guides. Review it before you
//! commit.
#![expect(clippy::disallowed_methods, reason = "the test starts the command and lays out its files itself")]
#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

/// A note that the guides show once and then omit.
const NOTE: &str = "note: MOCK_LLM is set: using the mock provider\n";

/// The page of the server that replaces `example.com`.
const PAGE: &str = "<html><head><title>Example</title></head>\
                    <body><h1>Example Domain</h1><p>For use in documents.</p></body></html>";

/// The guides, each with the commands whose flags it may mention.
const GUIDES: [(&str, &[&str]); 5] = [
    ("spell-development.md", &["run", "test"]),
    ("testing-spells.md", &["run", "test"]),
    ("runs.md", &["run", "runs resume", "runs prune"]),
    ("typed-output.md", &["run", "test"]),
    ("agents.md", &["run", "test"]),
];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, commands) in GUIDES {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let text = fs::read_to_string(&guide).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            let told: String = sections(&text).into_iter().map(|(_, section)| tell(section)).collect();
            fs::write(guide, told).unwrap();
            continue;
        }
        trials.extend(sections(&text).into_iter().map(|section| trial(name, section)));
        let unknown = unknown_flags(&text, commands);
        trials.push(Trial::test(format!("{name}: flags"), move || match unknown.as_slice() {
            [] => Ok(()),
            unknown => Err(Failed::from(format!("the commands have no flags {unknown:?}"))),
        }));
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let told = with_exit_codes(&text);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(readme, told).unwrap();
    } else {
        trials.push(Trial::test("README.md: exit codes", move || {
            if told == text { Ok(()) } else { Err(difference(&text, &told)) }
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(guide: &str, (line, section): (usize, &str)) -> Trial {
    let (heading, section) = (section.lines().next().unwrap_or_default(), section.to_owned());
    let name = format!("{guide}: {} (line {line})", heading.trim_start_matches(['#', ' ']));
    Trial::test(name, move || {
        let told = tell(&section);
        if told == section { Ok(()) } else { Err(difference(&section, &told)) }
    })
}

/// Returns the flags that a guide mentions but no command has.
fn unknown_flags(text: &str, commands: &[&str]) -> Vec<String> {
    let help: String = commands
        .iter()
        .map(|command| {
            String::from_utf8(Desk::new().shell(&format!("llmspell {command} --help")).stdout).unwrap()
        })
        .collect();
    let known = flags(&help);
    flags(text).difference(&known).map(|flag| (*flag).to_owned()).collect()
}

fn flags(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 3).collect()
}

fn difference(expected: &str, found: &str) -> Failed {
    let line = expected.lines().zip(found.lines()).take_while(|(expected, found)| expected == found).count();
    let from = |text: &str| text.lines().skip(line).take(12).collect::<Vec<_>>().join("\n");
    Failed::from(format!(
        "from line {} of the section, expected:\n{}\nfound:\n{}",
        line + 1,
        from(expected),
        from(found)
    ))
}

/// Returns the sections of a guide with their first line numbers.
fn sections(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![(1, 0)];
    let mut at = 0;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        if content.starts_with("## ") {
            starts.push((line + 1, at));
        }
        at += content.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(_, at)| *at).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|((line, start), end)| (line, &text[start..end])).collect()
}

/// Performs a section. Returns it with the actual output of its commands.
fn tell(section: &str) -> String {
    let desk = Desk::new();
    let mut told = String::new();
    let mut rest = section;
    while let Some((before, block)) = rest.split_once("```") {
        let (language, block) = block.split_once('\n').unwrap();
        let (content, after) = block.split_once("```\n").unwrap();
        let content = match language {
            "console" => desk.type_in(content),
            "luau" | "yaml" => {
                desk.lay_out(language, content);
                content.to_owned()
            }
            _ => content.to_owned(),
        };
        told.push_str(&format!("{before}```{language}\n{content}```\n"));
        rest = after;
    }
    with_exit_codes(&(told + rest))
}

/// Replaces the table of the exit codes, if there is one, by that of the help.
fn with_exit_codes(text: &str) -> String {
    const HEAD: &str = "| code | meaning |\n|---|---|\n";
    let Some((before, table)) = text.split_once(HEAD) else { return text.to_owned() };
    let after = table.split_once("\n\n").map_or("", |(_, after)| after);
    let help = String::from_utf8(Desk::new().shell("llmspell --help").stdout).unwrap();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let rows: String = codes
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(code, meaning)| format!("| {code} | {} |\n", meaning.trim_start()))
        .collect();
    format!("{before}{HEAD}{rows}\n{after}")
}

/// The folder in which a section is performed.
struct Desk {
    home: tempfile::TempDir,
    folder: PathBuf,
    server: u16,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("spells");
        fs::create_dir(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().port();
        std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
        Self { home, folder, server }
    }

    /// Writes a block into its file, or runs it.
    fn lay_out(&self, language: &str, content: &str) {
        let first = content.lines().next().unwrap_or_default();
        let path = first.trim_start_matches(['-', '#', ' ']);
        let is_named = first.starts_with(['-', '#']) && path.ends_with(&format!(".{language}"));
        let file = self.folder.join(if is_named { path } else { "snippet.luau" });
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        if !is_named {
            assert_eq!(language, "luau", "a block of {language} begins with the path of its file: {first}");
            let output = self.shell("llmspell run snippet.luau");
            assert!(output.status.success(), "{content}\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }

    /// Runs each command of a transcript. Returns it with the actual output.
    fn type_in(&self, transcript: &str) -> String {
        let commands = transcript.lines().filter_map(|line| line.strip_prefix("$ "));
        commands.map(|command| format!("$ {command}\n{}", self.run(command))).collect()
    }

    /// Returns the whole output of a command.
    fn run(&self, command: &str) -> String {
        let here = format!("127.0.0.1:{}", self.server);
        let granted = command.contains("--allow-net=example.com");
        let typed = if granted {
            command.replace("https://example.com", &format!("http://{here}")).replace("example.com", &here)
        } else {
            command.to_owned()
        };
        let said = String::from_utf8(self.shell(&typed).stdout).unwrap();
        // The note about the usage ends with a time, which varies.
        let is_used = |line: &&str| line.starts_with("note: ") && line.contains(" model call");
        let said: String = said.split_inclusive('\n').filter(|line| !is_used(line)).collect();
        let said = said.replace(NOTE, "").replace(self.folder.to_str().unwrap(), "/home/ada/spells");
        said.split_inclusive('\n').map(without_time).collect()
    }

    fn shell(&self, command: &str) -> std::process::Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_llmspell")).parent().unwrap();
        Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.home.path())
            .env("MOCK_LLM", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Replaces the duration in a case's line.
fn without_time(line: &str) -> String {
    match line.trim_end().rsplit_once("  ") {
        Some((case, time)) if line.starts_with("  ok    ") || line.starts_with("  FAIL  ") => {
            let is_time = time.ends_with('s') && time.starts_with(|digit: char| digit.is_ascii_digit());
            if is_time { format!("{case}  2ms\n") } else { line.to_owned() }
        }
        _ => line.to_owned(),
    }
}

/// Answers one request with the page.
fn serve(mut socket: TcpStream) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        line.clear();
    }
    // The client may have disconnected.
    let _ = write!(
        socket,
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{PAGE}",
        PAGE.len()
    );
}
