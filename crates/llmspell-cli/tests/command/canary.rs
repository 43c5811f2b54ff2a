//! A planted API key must appear nowhere: not in output, a recording, the journal's database, a trace or an export.
//! This holds for all its encodings, and even if the provider returns the key.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Folder, finish, folder, read_request};

/// The key contains characters that percent-encoding changes.
const KEY: &str = "sk-canary/4711+secret";

/// The forms to search for: plain, percent-encoded, and Base64 at each of its three alignments.
const FORMS: [&str; 5] = [
    "canary",
    "sk%2Dcanary",
    "c2stY2FuYXJ5LzQ3MTErc2VjcmV0",
    "NrLWNhbmFyeS80NzExK3NlY3JldA",
    "zay1jYW5hcnkvNDcxMStzZWNyZX",
];

const SPELL: &str = r#"
local function tell(value, err)
    print(value, err)
    if err then
        print(json.encode(err))
        log.error("it failed", {err = tostring(err), message = err.message, hint = err.hint})
    end
end
tell(llm.chat("fine"))
tell(llm.chat("refuse"))
local failed = llm.stream_chat("stream", function(piece) console.write(piece) end)
tell(nil, failed)
local broken = llm.stream_chat("break", function(piece) console.write(piece) end)
tell(nil, broken)
tell(llm.list_models())
tell(pcall(function() error(llm.get_provider()) end))
storage.set("kept", {provider = llm.list_providers(), usage = llm.usage()})
error(select(2, llm.chat("refuse")))
"#;

/// A provider that answers some questions, and includes the key in every error.
fn model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || answer(&mut socket.unwrap()));
        }
    });
    format!("http://{address}/v1")
}

fn answer(socket: &mut TcpStream) {
    let (_, request) = read_request(socket);
    let said = format!("wrong key {KEY}, {}, sk%2Dcanary%2F4711%2Bsecret", FORMS[2]);
    let error = format!(r#"{{"error":{{"message":"{said}","type":"invalid_api_key"}}}}"#);
    let (status, kind, parts) = if request.contains("\"fine\"") {
        let choice = r#"{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"good"}}"#;
        let body = format!(r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{choice}]}}"#);
        ("200 OK", "application/json", vec![body])
    } else if request.contains("\"stream\"") && !request.contains("\"refuse\"") {
        let chunk = r#"{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"one "},"finish_reason":null}]}"#;
        // The key arrives in two chunks.
        let broken = if request.contains("\"break\"") { format!("no JSON: {said}") } else { error };
        let (before, after) = broken.split_at(broken.find("canary").unwrap() + 3);
        (
            "200 OK",
            "text/event-stream",
            vec![format!("data: {chunk}\n\ndata: {before}"), format!("{after}\n\n")],
        )
    } else {
        ("401 Unauthorized", "application/json", vec![error])
    };
    let length: usize = parts.iter().map(String::len).sum();
    write!(
        socket,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nx-request-id: r1\r\n\
         connection: close\r\n\r\n"
    )
    .unwrap();
    for part in parts {
        socket.write_all(part.as_bytes()).unwrap();
        socket.flush().unwrap();
    }
}

/// A trace collector: its address, and what it received.
fn collector() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::<Mutex<String>>::default();
    let into = Arc::clone(&received);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let (_, body) = read_request(&mut socket);
            into.lock().unwrap().push_str(&body);
            write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").unwrap();
        }
    });
    (format!("http://{address}"), received)
}

fn assert_clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for form in FORMS {
        assert!(!text.contains(form), "{form} is in {what}: {text}");
    }
}

fn assert_folder_is_clean(path: &Path) -> usize {
    let mut files = 0;
    for entry in path.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += assert_folder_is_clean(&path);
        } else if path.file_name().is_some_and(|name| name != ".env") {
            assert_clean(&path.display().to_string(), &fs::read(&path).unwrap());
            files += 1;
        }
    }
    files
}

fn cast(folder: &Folder, words: &[&str], collector: &str) -> (String, String) {
    let mut command = folder.command(words);
    command.env_remove("MOCK_LLM");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    command.env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    let ran = finish(&mut command);
    assert_clean(&format!("stdout of {words:?}"), ran.stdout.as_bytes());
    assert_clean(&format!("stderr of {words:?}"), ran.stderr.as_bytes());
    (ran.stdout, ran.stderr)
}

#[test]
fn a_planted_key_is_nowhere() {
    let env = format!("OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL={}\n", model());
    let folder = folder(&[("spell.luau", SPELL), (".env", &env)]);
    let (collector, exported) = collector();
    for output in ["text", "json", "stream-json"] {
        let output = format!("--output={output}");
        let (stdout, stderr) = cast(&folder, &["run", "spell.luau", "-v", "--trace", &output], &collector);
        assert!(stdout.contains("good") && stdout.contains("wrong key"), "the errors are told: {stdout}");
        assert!(output.ends_with("stream-json") || stderr.contains("models.chat"), "{stderr}");
    }
    cast(&folder, &["run", "spell.luau", "--record=run.jsonl"], &collector);
    cast(&folder, &["run", "spell.luau", "--replay=run.jsonl", "-v", "--trace"], &collector);
    let listed = cast(&folder, &["runs", "--output=json"], &collector).0;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let run = listed[0]["run_id"].as_str().unwrap();
    cast(&folder, &["runs", "show", run, "--output=json"], &collector);
    cast(&folder, &["runs", "resume", run, "-v", "--trace"], &collector);
    for words in
        [&["providers"][..], &["models"], &["check", "spell.luau"], &["run", "spell.luau", "--dry-run"]]
    {
        cast(&folder, words, &collector);
    }
    let exported = exported.lock().unwrap();
    assert!(exported.contains("gen_ai.input.messages"), "it was exported: {exported}");
    assert_clean("the export", exported.as_bytes());
    assert!(assert_folder_is_clean(folder.path()) >= 4, "the spell, the recording, the runs and the storage");
}
