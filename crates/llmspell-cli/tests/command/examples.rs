//! The example spells, run as their pages describe, in both languages.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, Seen, examples, finish, folder, read_request, seen};

/// The time without output after which a command counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// The languages of the examples.
const LANGUAGES: [&str; 2] = ["luau", "ts"];

/// Returns the arguments that run an example in a language.
fn words<'a>(example: &'a str, lang: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["run", example, "--lang", lang].iter().chain(more).copied().collect()
}

fn path(example: &str) -> String {
    examples().join(example).to_str().unwrap().to_owned()
}

/// Runs an example on the mock in its own folder.
fn run(example: &str, lang: &str, more: &[&str]) -> Seen {
    folder(&[]).run(&words(&path(example), lang, more))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_example_is_without_mistakes_and_told_of() {
    let listed = fs::read_to_string(examples().join("../README.md")).unwrap();
    let all = names(&examples());
    assert!(all.len() >= 11, "{all:?}");
    for name in all {
        for lang in LANGUAGES {
            let ran = folder(&[]).run(&["check", &path(&name), "--lang", lang]);
            assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{name}: {}", ran.stderr);
            assert!(ran.stderr.starts_with(&format!("note: {name}: ok, ")), "no warnings: {}", ran.stderr);
        }
        let page = fs::read_to_string(examples().join(&name).join("README.md")).unwrap();
        assert!(page.contains(&format!("$ llmspell run examples/{name}")), "{name}");
        assert!(page.contains("--lang ts"), "{name}");
        assert!(listed.contains(&format!("[{name}](examples/{name})")), "{name}");
    }
}

#[test]
fn hello_llm_greets() {
    let greeting = "mock: Say hello to Ada in one short, friendly sentence.\n";
    for lang in LANGUAGES {
        assert_eq!(run("hello-llm", lang, &["name=Ada", "-q"]), seen(0, greeting, ""));
    }
}

/// The prompt contains a line end and non-ASCII characters: columns must have the same width in both languages.
#[test]
fn provider_compare_says_the_same_in_both_languages() {
    for words in [&["-q"][..], &["providers=mock, nobody", "prompt=größe\n 你好  😀", "-q"]] {
        assert_eq!(run("provider-compare", "ts", words), run("provider-compare", "luau", words));
    }
}

#[test]
fn provider_compare_shows_a_failing_provider_as_a_row() {
    let ran = run("provider-compare", "ts", &["providers=mock,nobody", "prompt=hi", "-q"]);
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{}", ran.stdout);
    assert_eq!(rows[0], ["PROVIDER", "MODEL", "TOKENS", "COST", "ANSWER"]);
    assert_eq!((rows[1][0], rows[2][0]), ("mock", "nobody"));
    assert_eq!(rows[2][4..6], ["failed", "(no_provider):"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn chat_assistant_talks_until_input_ends() {
    LANGUAGES.iter().for_each(|lang| chat_assistant_talks_until_input_ends_in(lang));
}

fn chat_assistant_talks_until_input_ends_in(lang: &str) {
    let spell = path("chat-assistant");
    let ran = folder(&[])
        .run_with_input(&words(&spell, lang, &["-q"]), "I am Ada\n/model mock/none\n/history\n/nope\n");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "> > > > > "));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[1].contains("I am Ada"), "{}", ran.stdout);
    assert!(lines[2].starts_with("cannot use mock/none: "));
    assert_eq!(lines[3], "user: I am Ada");
    assert_eq!(lines[4], format!("assistant: {}", lines[1]));
    assert_eq!(lines[5..], ["there is no command /nope; /help lists them"]);
}

#[test]
fn chat_assistant_goes_on_where_it_stopped() {
    LANGUAGES.iter().for_each(|lang| chat_assistant_goes_on_where_it_stopped_in(lang));
}

fn chat_assistant_goes_on_where_it_stopped_in(lang: &str) {
    const HELLO: &str = "Talk to me. /help lists the commands; /quit, or the end of input, leaves.\n";
    let (folder, spell) = (folder(&[]), path("chat-assistant"));
    let talk = |input| folder.run_with_input(&words(&spell, lang, &["-q"]), input);
    assert_eq!(talk("I am Ada\n"), seen(0, &format!("{HELLO}mock: I am Ada\n"), "> > "));
    let again = "We go on behind 2 messages; /new forgets them.\n";
    let said = "user: I am Ada\nassistant: mock: I am Ada\n";
    assert_eq!(talk("/history\n"), seen(0, &format!("{HELLO}{again}{said}"), "> > "));
    let new = "a new conversation\nmock: Hello\nuser: Hello\nassistant: mock: Hello\n";
    let forgot = format!("{HELLO}{again}{new}");
    assert_eq!(talk("/new\n/history\nHello\n/history\n/quit\n"), seen(0, &forgot, "> > > > > "));
    let last = "user: Hello\nassistant: mock: Hello\na new conversation\n";
    assert_eq!(talk("/history\n/new\n"), seen(0, &format!("{HELLO}{again}{last}"), "> > > "));
    assert_eq!(talk(""), seen(0, HELLO, "> "));
}

#[test]
fn async_llm_shows_answers_in_the_order_of_the_questions() {
    LANGUAGES.iter().for_each(|lang| async_llm_shows_answers_in_the_order_of_the_questions_in(lang));
}

fn async_llm_shows_answers_in_the_order_of_the_questions_in(lang: &str) {
    let shown = r#"
## All of them
mock: In five words: what is a tide?
mock: In five words: what is a comet?
mock: In five words: what is yeast?

## One after the other
mock: In one sentence, what is this city known for? mock: Name one city, and nothing else.

## The faster one
mock: Name a colour, and nothing else.

## What fails
no answer (no_provider)
fulfilled	mock: Say yes.
rejected	no_provider

## A long list, two at a time
sea: mock: Name a rhyme for "sea", and nothing else.
star: mock: Name a rhyme for "star", and nothing else.
bread: mock: Name a rhyme for "bread", and nothing else.
stone: mock: Name a rhyme for "stone", and nothing else.
wind: mock: Name a rhyme for "wind", and nothing else.
"#;
    let ran = run("async-llm", lang, &["-q"]);
    // The mock answers immediately, so it is chance how many of its calls overlap.
    let lines = ran.stdout.split_inclusive('\n');
    let stdout: String = lines.filter(|line| !line.starts_with("(calls at once: ")).collect();
    assert_eq!(seen(ran.code, &stdout, &ran.stderr), seen(0, shown, ""));
}

#[test]
fn async_llm_says_what_overlapped() {
    LANGUAGES.iter().for_each(|lang| async_llm_says_what_overlapped_in(lang));
}

fn async_llm_says_what_overlapped_in(lang: &str) {
    let (folder, spell) = (folder(&[]), path("async-llm"));
    // A group is answered only when all its calls have arrived.
    let base_url = model_for_groups(&[3, 1, 1, 2, 1, 2, 2, 1]);
    let ran = finish(&mut on_model(folder.command(&words(&spell, lang, &["-q"])), &base_url));
    let overlaps: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with('(')).collect();
    let expected = [3, 1, 2, 2, 2].map(|count| format!("(calls at once: {count})"));
    assert_eq!(
        (ran.code, overlaps, ran.stderr.as_str()),
        (0, expected.each_ref().map(|it| &**it).to_vec(), "")
    );
}

/// A model that receives calls in groups of these sizes, and answers a group together.
fn model_for_groups(sizes: &'static [usize]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for size in sizes {
            let group: Vec<TcpStream> = listener.incoming().take(*size).map(Result::unwrap).collect();
            for mut socket in group {
                read_request(&mut socket);
                answer(&mut socket);
            }
        }
    });
    format!("http://{address}/v1")
}

/// Replaces the mock by a model on this machine.
fn on_model(mut command: Command, base_url: &str) -> Command {
    command.env_remove("MOCK_LLM").env("OPENAI_API_KEY", "key").env("OPENAI_BASE_URL", base_url);
    command
}

const PAGE: &str = "<html><head><title>x</title><script>evil()</script></head>\
                    <body><h1>Tides</h1><p>The <b>sea</b> rises and falls.</p></body></html>";

/// Serves one page to one client. Returns the port.
fn serve_page() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        read_request(&mut socket);
        let length = PAGE.len();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{PAGE}"
        )
        .unwrap();
    });
    port
}

#[test]
fn web_summarizer_reads_a_page_that_was_granted_by_name() {
    LANGUAGES.iter().for_each(|lang| web_summarizer_reads_a_page_that_was_granted_by_name_in(lang));
}

fn web_summarizer_reads_a_page_that_was_granted_by_name_in(lang: &str) {
    for (style, how) in [
        ("style=brief", "in two or three sentences"),
        ("style=detailed", "with a heading and one bullet point for each of its main points"),
    ] {
        let port = serve_page();
        let (url, flag) =
            (format!("url=http://127.0.0.1:{port}/tides"), format!("--allow-net=127.0.0.1:{port}"));
        let summary = format!(
            "mock: Summarise this page {how}.\n\n<page>\n# Tides\n\nThe **sea** rises and falls.\n\n</page>\n"
        );
        assert_eq!(run("web-summarizer", lang, &[&url, style, &flag, "-q"]), seen(0, &summary, ""));
    }
}

#[test]
fn web_summarizer_reaches_nobody_without_the_grant() {
    LANGUAGES.iter().for_each(|lang| web_summarizer_reaches_nobody_without_the_grant_in(lang));
}

fn web_summarizer_reaches_nobody_without_the_grant_in(lang: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("url=http://127.0.0.1:{port}/tides");
    for flags in [&["-q"][..], &["-q", "--allow-asked"], &["-q", "--allow-net=example.com"]] {
        let more: Vec<&str> = [url.as_str()].iter().chain(flags).copied().collect();
        let ran = run("web-summarizer", lang, &more);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{flags:?}");
        let hint = format!("hint: run it with --allow-net=127.0.0.1:{port}\n");
        assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody knocked");
}

#[test]
fn web_summarizer_wants_a_url() {
    for (words, message) in [
        (&[][..], "error: parameter `url` is missing"),
        (
            &["url=ftp://x.org"],
            "error: parameter `url`: \"ftp://x.org\" does not match the pattern ^https?://\n",
        ),
    ] {
        let ran = run("web-summarizer", "luau", words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

/// Returns a folder with this many text files.
fn texts(count: usize) -> Folder {
    let folder = folder(&[]);
    for number in 0..count {
        folder.write(&format!("texts/{number:03}.txt"), &format!("Text number {number}.\n"));
    }
    folder
}

const BATCH: [&str; 3] = ["--allow-read=texts,short", "--allow-write=short", "out=short"];

fn batch(folder: &Folder, lang: &str) -> Command {
    folder.command(&words(&path("batch-files"), lang, &[&BATCH[..], &["-q"]].concat()))
}

#[test]
fn batch_files_writes_a_summary_of_each_text() {
    LANGUAGES.iter().for_each(|lang| batch_files_writes_a_summary_of_each_text_in(lang));
}

fn batch_files_writes_a_summary_of_each_text_in(lang: &str) {
    let folder = texts(200);
    assert_eq!(finish(&mut batch(&folder, lang)), seen(0, "200 summarised, 0 skipped, 0 failed\n", ""));
    let written = names(&folder.path().join("short"));
    let expected: Vec<String> = (0..200).map(|number| format!("{number:03}.md")).collect();
    assert_eq!(written, expected);
    for number in 0..200 {
        let summary = fs::read_to_string(folder.path().join(format!("short/{number:03}.md"))).unwrap();
        let prompt = "mock: Summarise this text in two sentences.";
        assert_eq!(summary, format!("{prompt}\n\nText number {number}.\n\n"));
    }
    folder.write("texts/new.txt", "One more.");
    assert_eq!(finish(&mut batch(&folder, lang)), seen(0, "1 summarised, 200 skipped, 0 failed\n", ""));
}

#[test]
fn batch_files_goes_on_when_a_file_fails() {
    LANGUAGES.iter().for_each(|lang| batch_files_goes_on_when_a_file_fails_in(lang));
}

fn batch_files_goes_on_when_a_file_fails_in(lang: &str) {
    let folder = texts(3);
    folder.write("texts/empty.txt", "");
    fs::write(folder.path().join("texts/bytes.txt"), [0xff, 0xfe]).unwrap();
    let place = if lang == "ts" { "main.ts:44:15" } else { "main.luau:52" };
    let told = format!(
        "error: texts/bytes.txt: `texts/bytes.txt` is not UTF-8 text, from byte 0\n\
         error: texts/empty.txt: the file is empty\n\
         error: not every file has a summary; a second run tries the others again\n  at {place}\n"
    );
    // One at a time, so that they fail in order.
    let ran = finish(batch(&folder, lang).arg("at_once=1"));
    assert_eq!(ran, seen(1, "3 summarised, 0 skipped, 2 failed\n", &told));
    assert_eq!(names(&folder.path().join("short")), ["000.md", "001.md", "002.md"]);
}

#[test]
fn batch_files_writes_where_it_may_and_nowhere_else() {
    LANGUAGES.iter().for_each(|lang| batch_files_writes_where_it_may_and_nowhere_else_in(lang));
}

fn batch_files_writes_where_it_may_and_nowhere_else_in(lang: &str) {
    let folder = texts(3);
    let spell = path("batch-files");
    for (flags, flag) in [
        (&[][..], "--allow-read=texts"),
        (&["--allow-read=texts"], "--allow-read=short"),
        (&["--allow-read=texts,short"], "--allow-write=short"),
    ] {
        let more = [&["-q", "out=short"], flags].concat();
        let ran = folder.run(&words(&spell, lang, &more));
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{flags:?}");
        assert!(ran.stderr.contains(&format!("hint: run it with {flag}\n")), "{flag}: {}", ran.stderr);
    }
    assert!(!folder.path().join("short").exists());
}

/// A model that answers this many calls and leaves all others waiting. Reports each waiting call.
fn model_with(answers: usize) -> (String, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (waiting, waits) = channel();
    thread::spawn(move || {
        for number in 0.. {
            let Ok((mut socket, _)) = listener.accept() else { break };
            read_request(&mut socket);
            if number < answers {
                answer(&mut socket);
            } else if waiting.send(socket).is_err() {
                break;
            }
        }
    });
    (format!("http://{address}/v1"), waits)
}

fn answer(socket: &mut TcpStream) {
    let body = r#"{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"short"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let length = body.len();
    // The loser of a race has disconnected.
    let _ = write!(
        socket,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

#[test]
fn batch_files_keeps_what_is_done_when_it_is_interrupted() {
    LANGUAGES.iter().for_each(|lang| batch_files_keeps_what_is_done_when_it_is_interrupted_in(lang));
}

fn batch_files_keeps_what_is_done_when_it_is_interrupted_in(lang: &str) {
    const DONE: usize = 20;
    let folder = texts(200);
    let start = |base_url: &str| on_model(batch(&folder, lang), base_url);
    let (base_url, waits) = model_with(DONE);
    let mut child = start(&base_url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // When all eight concurrent calls wait for the model, all answered files are written.
    let sockets: Vec<TcpStream> = (0..8).map(|_| waits.recv_timeout(STUCK).unwrap()).collect();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(sockets);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "error: the run was cancelled\n");
    let written = names(&folder.path().join("short"));
    assert_eq!(written.len(), DONE, "{written:?}");
    for name in &written {
        assert_eq!(fs::read_to_string(folder.path().join("short").join(name)).unwrap(), "short\n");
    }
    // Only the rest is requested; with one more call, the run would wait forever.
    let (base_url, _waits) = model_with(200 - DONE);
    let told = format!("{} summarised, {DONE} skipped, 0 failed\n", 200 - DONE);
    assert_eq!(finish(&mut start(&base_url)), seen(0, &told, ""));
    assert_eq!(names(&folder.path().join("short")).len(), 200);
}

#[test]
fn what_works_with_tools_says_the_same_in_both_languages() {
    for (name, code, ending) in [
        ("tool-basics", 0, "mock: How many miles are 42 kilometres, and how many words has this question?\n"),
        ("research-agent", 0, "mock: What is a comet made of?\n"),
        ("planner", 0, "mock: A picnic for twelve on Saturday\n"),
        // The mock echoes its prompt, which is not valid data.
        ("code-review", 7, ""),
        ("invoice-extract", 0, "0 read, 20 not\n"),
    ] {
        let [luau, ts] = LANGUAGES.map(|lang| run(name, lang, &["--allow-asked", "-q"]));
        assert_eq!((luau.code, ts.code), (code, code), "{name}: {} {}", luau.stderr, ts.stderr);
        assert_eq!(luau.stdout, ts.stdout, "{name}");
        assert!(luau.stdout.ends_with(ending), "{name}: {}", luau.stdout);
    }
}
