//! Fallback models, and rate limits of providers.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Folder, Seen, finish, folder, read_request};

const BUSY: &str = r#"{"error": {"message": "no credit", "code": "insufficient_quota"}}"#;
const ANSWER: &str = r#"{"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "short"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}"#;

/// A server that gives everybody the same answer, and records the times of requests.
pub(crate) fn server(status: u16, body: &'static str) -> (String, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    let asked = Arc::clone(&times);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, asked) = (socket.unwrap(), Arc::clone(&asked));
            thread::spawn(move || {
                read_request(&mut socket);
                asked.lock().unwrap().push(Instant::now());
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} S\r\ncontent-type: application/json\r\ncontent-length: {length}"
                );
                // A client that no longer waits has disconnected.
                let _ = write!(socket, "{head}\r\nconnection: close\r\n\r\n{body}");
            });
        }
    });
    (format!("http://{address}/v1"), times)
}

/// Runs the command with OpenAI at one address and Groq at another.
fn run(folder: &Folder, openai: &str, groq: &str, words: &[&str]) -> Seen {
    let mut command = folder.command(words);
    command.env_remove("MOCK_LLM").env("OPENAI_API_KEY", "key").env("OPENAI_BASE_URL", openai);
    if !groq.is_empty() {
        command.env("GROQ_API_KEY", "key").env("GROQ_BASE_URL", groq);
    }
    finish(&mut command)
}

fn spell(options: &str) -> String {
    format!(
        "local question = {{role = 'user', content = 'hi'}}\n\
         local reply = assert(llm.generate {{messages = {{question}}{options}}})\n\
         return `{{reply.text}} by {{reply.provider}} after {{reply.attempts}}`"
    )
}

#[test]
fn who_answered_instead_is_told_and_told_again_when_the_run_is_played_again() {
    let ((openai, asked), (groq, _)) = (server(429, BUSY), server(200, ANSWER));
    let told = "warning: openai/gpt-5.4-mini: answered 429: no credit; groq/m answered\n";
    for (case, manifest, options, words) in [
        ("the flag", "name: s\nmodels: {fallback: openai/other}\n", "", &["--fallback", "groq/x"][..]),
        ("the manifest", "name: s\nmodels: {fallback: groq/x}\n", "", &[]),
        ("the script", "name: s\n", ", fallback = {'groq/x'}", &["--fallback=openai/other,openai/third"]),
    ] {
        let folder = folder(&[("s/spell.yaml", manifest), ("s/main.luau", &spell(options))]);
        let dry: Vec<&str> = ["run", "s", "--dry-run"].iter().chain(words).copied().collect();
        let dry = run(&folder, &openai, &groq, &dry);
        let shown = if options.is_empty() {
            "\nfallback   groq/x\n"
        } else {
            "\nfallback   openai/other\n           openai/third\n"
        };
        assert!(dry.stdout.ends_with(shown), "{case}: {}{}", dry.stdout, dry.stderr);
        let words: Vec<&str> = ["run", "s", "--record", "r.json"].iter().chain(words).copied().collect();
        let before = asked.lock().unwrap().len();
        let ran = run(&folder, &openai, &groq, &words);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "short by groq after 2\n"), "{case}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{case}: {}", ran.stderr);
        let again = run(&folder, &openai, &groq, &["run", "s", "--replay", "r.json"]);
        assert_eq!(
            (again.code, again.stdout.as_str()),
            (0, "short by groq after 2\n"),
            "{case}: {}",
            again.stderr
        );
        assert!(again.stderr.contains(told), "{case}: {}", again.stderr);
        assert_eq!(asked.lock().unwrap().len(), before + 1, "{case}");
    }
}

#[test]
fn what_another_model_answered_is_not_kept_for_the_next_time() {
    let ((openai, asked), (groq, _)) = (server(429, BUSY), server(200, ANSWER));
    let folder = folder(&[("s.luau", &spell(", cache = true"))]);
    for times in 1..=2 {
        let ran = run(&folder, &openai, &groq, &["run", "s.luau", "--fallback=groq/x"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "short by groq after 2\n"), "{}", ran.stderr);
        assert_eq!(asked.lock().unwrap().len(), times);
    }
    // An answer of the requested model is cached, even if fallbacks were configured.
    let (works, asked) = server(200, ANSWER);
    for words in [&["--fallback=groq/x"][..], &[]] {
        let words: Vec<&str> = ["run", "s.luau"].iter().chain(words).copied().collect();
        assert_eq!(run(&folder, &works, &groq, &words).code, 0);
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_long_wait_that_one_model_asks_for_holds_no_other_of_its_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let (_, body) = read_request(&mut socket);
            let (status, more, body) = match body.contains(r#""model":"full""#) {
                true => (429, "retry-after: 86400\r\n", "{}"),
                false => (200, "", ANSWER),
            };
            let head = format!("HTTP/1.1 {status} S\r\n{more}content-type: application/json");
            let _ =
                write!(socket, "{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        }
    });
    for (name, source) in [
        (
            "s.luau",
            "local _, err = llm.chat('a', {model = 'openai/full'})\n\
             assert(err.kind == 'rate_limited' and err.retry_after == 86400 and err.attempts == 1)\n\
             local other = assert(llm.chat('b', {model = 'openai/free'}))\n\
             local instead = assert(llm.chat('c', {model = 'openai/full', fallback = {'openai/free'}}))\n\
             local _, held = llm.chat('d', {model = 'openai/full'})\n\
             return `{other} {instead} {held.attempts}`",
        ),
        (
            "s.js",
            "const fails = async (...args) => { try { await llm.chat(...args); } catch (error) { return error; } };\n\
             const err = await fails('a', {model: 'openai/full'});\n\
             if (err.kind !== 'rate_limited' || err.retryAfter !== 86400 || err.attempts !== 1) throw err;\n\
             const other = await llm.chat('b', {model: 'openai/free'});\n\
             const instead = await llm.chat('c', {model: 'openai/full', fallback: ['openai/free']});\n\
             const held = await fails('d', {model: 'openai/full'});\n\
             export default `${other} ${instead} ${held.attempts}`;",
        ),
    ] {
        let ran = run(&folder(&[(name, source)]), &url, "", &["run", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "short short 0\n"), "{name}: {}", ran.stderr);
    }
}

#[test]
fn a_fallback_that_is_not_there_is_told_before_the_run() {
    let (url, asked) = server(200, ANSWER);
    let folder = folder(&[("s.luau", "return llm.chat('hi')")]);
    let ran = run(&folder, &url, "", &["run", "s.luau", "--fallback", "opnai/x"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("error: fallback `opnai/x`: there is no provider `opnai`\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(asked.lock().unwrap().len(), 0);
    // The mock is not replaced by the manifest's fallbacks.
    folder.write("t/spell.yaml", "name: t\nmodels: {fallback: [anthropic/claude]}\n");
    folder.write("t/main.luau", "return llm.chat('hi')");
    assert_eq!(folder.run(&["run", "t", "-q"]).stdout, "mock: hi\n");
    let ran = run(&folder, &url, "", &["run", "t"]);
    assert!(
        ran.stderr.contains("fallback `anthropic/claude`: the provider `anthropic` is not set up"),
        "{}",
        ran.stderr
    );
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[test]
fn a_rate_holds_for_all_calls_of_a_run() {
    // Ten immediately, and then 1.5 per second.
    let (url, asked) = server(200, ANSWER);
    let source = "local calls = {}\nfor i = 1, 12 do calls[i] = promise.spawn(llm.chat, `{i}`) end\n\
                  promise.all(calls):await()\nreturn 'done'";
    let folder = folder(&[("s.luau", source)]);
    let begin = Instant::now();
    let ran = run(&folder, &url, "", &["run", "s.luau", "--rpm=100", "--tpm=1000000"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "done\n"), "{}", ran.stderr);
    let times = asked.lock().unwrap();
    assert_eq!(times.len(), 12);
    assert!(times[11] - begin > Duration::from_millis(1_340), "{:?}", times[11] - begin);
    let refused = folder.run(&["run", "s.luau", "--rpm=0"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}
