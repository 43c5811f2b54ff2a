//! Ctrl-C, and readers that close the pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, folder, read_request};

/// How late a server may notice that its client has disconnected.
const PROMPT: Duration = Duration::from_millis(100);

const STREAM: &str = r#"
local err = llm.stream_chat("count", function(chunk) print(chunk) end)
if err then error(err) end
"#;

/// A model that sends one word and then stalls. Reports when its client disconnects.
fn stalling_model() -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (gone, is_gone) = channel();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        read_request(&mut socket);
        let chunk = r#"{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"one"}}]}"#;
        write!(
            socket,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {chunk}\n\n"
        )
        .unwrap();
        // A client that disconnects ends the stream or resets it.
        let _ = socket.read(&mut [0]);
        let _ = gone.send(Instant::now());
    });
    (format!("http://{address}/v1"), is_gone)
}

fn start(folder: &Folder, base_url: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = folder
        .command(&["run", "spell.luau"])
        .env_remove("MOCK_LLM")
        .env("OPENAI_API_KEY", "key")
        .env("OPENAI_BASE_URL", base_url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn an_interrupt_closes_the_socket_at_once() {
    for kind in [Signal::INT, Signal::TERM] {
        let (base_url, is_gone) = stalling_model();
        let folder = folder(&[("spell.luau", STREAM)]);
        let (mut child, mut stdout) = start(&folder, &base_url);
        let mut line = String::new();
        // The first chunk is shown before the answer is complete.
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        let asked = Instant::now();
        signal(&child, kind);
        let late = is_gone.recv().unwrap() - asked;
        assert!(late <= PROMPT, "{late:?}");
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(lines[0].starts_with("note: 1 model call, "), "{stderr}");
        assert_eq!(lines[1], "error: the run was cancelled");
        assert!(lines[2].starts_with("note: `llmspell runs resume "), "{stderr}");
    }
}

#[test]
fn a_spell_that_waits_for_input_can_be_interrupted() {
    let folder = folder(&[("spell.luau", "print('ready')\nconsole.read_line()")]);
    let mut child = folder
        .command(&["run", "spell.luau"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_spell_whose_reader_has_gone_stops_quietly() {
    let folder = folder(&[("spell.luau", "while true do print('again') end")]);
    let mut child =
        folder.command(&["run", "spell.luau"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "again\n");
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}
