//! Runs whose process is killed at any moment: each can be resumed until it ends, and repeats no effect.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Folder, Seen, finish, folder, read_request};

/// The number of kills, and the smaller number that is enough for further languages.
const KILLS: u32 = 200;
const FEW_KILLS: u32 = 40;

/// Ten rounds of four effects. One must not be repeated; one may be repeated, because the server recognizes its key.
const SPELL: &str = r#"
local function must(value, err)
    if err then error(err) end
    return value
end
local answers = {}
for round = 1, 10 do
    local answer = promise.spawn(function() return must(llm.chat(`question {round}`)) end)
    local order = promise.spawn(function()
        local options = {headers = {["Idempotency-Key"] = `{params.buyer}/{round}`}}
        return must(http.post(`{params.shop}/order`, `{round}`, options))
    end)
    table.insert(answers, `{answer:await()} {order:await()}`)
    local err = fs.append("log.txt", `{round}\n`)
    if err then error(err) end
    must(storage.set("last", round))
end
return answers
"#;

/// The same with JavaScript's own promises.
const JAVASCRIPT: &str = r#"
const answers = [];
for (let round = 1; round <= 10; round++) {
    const headers = { "Idempotency-Key": `${params.buyer}/${round}` };
    const order = http.post(`${params.shop}/order`, `${round}`, { headers });
    const [answer, receipt] = await Promise.all([llm.chat(`question ${round}`), order]);
    answers.push(`${answer} ${receipt}`);
    await fs.append("log.txt", `${round}\n`);
    await storage.set("last", round);
}
export default answers;
"#;

/// An agent whose tool has the same effects in each turn. The mock echoes its prompt, so the tool's result is the next
/// call.
const AGENT: &str = r#"
local function must(value, err)
    if err then error(err) end
    return value
end
local receipts = {}
local function call(round)
    return `<tool_call>{json.encode({name = "order", arguments = {round = round}})}</tool_call>`
end
local agent = agents.create {
    name = "buyer",
    tool_mode = "text",
    max_turns = 20,
    tools = {
        {
            name = "order",
            description = "Orders something.",
            parameters = {round = "integer"},
            run = function(args)
                local round = args.round
                local options = {headers = {["Idempotency-Key"] = `{params.buyer}/{round}`}}
                table.insert(receipts, must(http.post(`{params.shop}/order`, `{round}`, options)))
                local err = fs.append("log.txt", `{round}\n`)
                if err then error(err) end
                must(storage.set("last", round))
                return if round < 10 then call(round + 1) else "That is all."
            end,
        },
    },
}
local result = must(agent:run(call(1)))
return {text = result.text, turns = result.turns, receipts = receipts}
"#;

/// The orders of each buyer, by idempotency key. A request of a killed process may arrive late, during the next buyer's
/// run.
type Orders = Arc<Mutex<HashMap<String, HashMap<String, (String, u32)>>>>;

/// A shop that accepts each key once, and repeats its answer afterwards.
fn shop() -> (String, Orders) {
    let orders = Orders::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::clone(&orders);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, taken) = (socket.unwrap(), Arc::clone(&taken));
            // A killed client has disconnected.
            thread::spawn(move || serve(socket, &taken));
        }
    });
    (format!("http://{address}"), orders)
}

fn serve(socket: TcpStream, orders: &Orders) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut socket = socket;
    loop {
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
                Some((name, value)) if name == "idempotency-key" => value.clone_into(&mut key),
                Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let receipt = {
            let mut orders = orders.lock().unwrap();
            let orders = orders.entry(key.split('/').next().unwrap().to_owned()).or_default();
            let sold = orders.len();
            let (receipt, asked) = orders.entry(key).or_insert_with(|| (format!("receipt {}", sold + 1), 0));
            *asked += 1;
            receipt.clone()
        };
        write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{receipt}", receipt.len())?;
    }
}

/// Returns the command that starts or resumes the run.
fn command(folder: &Folder, words: &[&str]) -> Command {
    folder.command(words)
}

/// Runs a command for this long and kills it. Returns its result if it ended before that.
fn kill_after(mut command: Command, moment: Duration) -> Option<Seen> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + moment;
    while Instant::now() < until {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        thread::yield_now();
    }
    let ended = child.try_wait().unwrap().is_some();
    // SIGKILL.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    ended.then(|| Seen {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    })
}

/// Returns the user's decision about the append in doubt: whether the line is in the file.
fn look(folder: &Folder, run: &str) -> &'static str {
    let shown = folder.run(&["runs", "show", run, "--output=json"]).stdout;
    let run: Value = serde_json::from_str(&shown).unwrap();
    let effects = run["effects"].as_array().unwrap();
    let appended = effects.iter().filter(|it| it["operation"] == "files.append");
    let finished = appended.filter(|it| !it["took"].is_null()).count();
    let lines = fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default().lines().count();
    match lines - finished {
        0 => "--in-doubt=repeat",
        1 => "--in-doubt=done",
        more => panic!("{more} lines more than were written down"),
    }
}

#[test]
fn nothing_is_done_twice_however_often_the_process_is_killed() {
    eprintln!("{}", kill_and_resume("spell.luau", SPELL, KILLS));
}

#[test]
fn nothing_is_done_twice_in_javascript_either() {
    eprintln!("{}", kill_and_resume("spell.js", JAVASCRIPT, FEW_KILLS));
}

#[test]
fn no_tool_of_an_agent_runs_twice() {
    eprintln!("{}", kill_and_resume("spell.luau", AGENT, FEW_KILLS));
}

/// Kills and resumes runs of a spell this often. Returns a summary.
fn kill_and_resume(file: &str, spell: &str, most: u32) -> String {
    let (address, orders) = shop();
    let begin = |folder: &Folder, buyer: u32| {
        folder.write(file, spell);
        let host = address.trim_start_matches("http://");
        let net = format!("--allow-net={host}");
        let shop = format!("shop={address}");
        let buyer = format!("buyer={buyer}");
        command(folder, &["run", file, "-q", "--allow-write=.", &net, &shop, &buyer])
    };
    let undisturbed = folder(&[]);
    let started = Instant::now();
    let expected = finish(&mut begin(&undisturbed, 0));
    let whole = started.elapsed();
    assert_eq!((expected.code, expected.stderr.as_str()), (0, ""));
    let log: String = (1..=10).map(|round| format!("{round}\n")).collect();
    let check = |folder: &Folder, buyer: u32, seen: &Seen| {
        assert_eq!(seen, &expected);
        assert_eq!(fs::read_to_string(folder.path().join("log.txt")).unwrap(), log);
        let sold = orders.lock().unwrap().remove(&buyer.to_string()).unwrap();
        assert_eq!(sold.len(), 10);
        sold.into_values().map(|(_, asked)| asked - 1).sum::<u32>()
    };
    check(&undisturbed, 0, &expected);

    // Any sequence without a pattern will do.
    let mut random = 1_u64;
    let mut moment = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        whole.mul_f64(f64::from(u32::try_from(random >> 33).unwrap()) / f64::from(u32::MAX >> 1))
    };
    let (mut kills, mut runs, mut asked_again, mut undecided) = (0, 0, 0, 0);
    while kills < most {
        let (folder, buyer) = (folder(&[]), runs + 1);
        let mut next = begin(&folder, buyer);
        let seen = loop {
            let seen = kill_after(next, moment());
            let listed = folder.run(&["runs", "--output=json"]).stdout;
            let known: Value = serde_json::from_str(&listed).unwrap();
            let run = known[0]["run_id"].as_str().map(str::to_owned);
            next = match (seen, run) {
                (Some(seen), _) if seen.code != 75 => break seen,
                (Some(_), Some(run)) => {
                    undecided += 1;
                    command(&folder, &["runs", "resume", &run, "-q", look(&folder, &run)])
                }
                (None, Some(run)) => {
                    kills += 1;
                    command(&folder, &["runs", "resume", &run, "-q"])
                }
                // It was killed before its first effect.
                (None, None) => {
                    kills += 1;
                    begin(&folder, buyer)
                }
                (Some(seen), None) => panic!("{seen:?}"),
            };
        };
        runs += 1;
        asked_again += check(&folder, buyer, &seen);
    }
    assert!(asked_again <= kills);
    format!("{kills} kills of {runs} runs: {asked_again} orders asked for again, {undecided} questions")
}

/// A stream with an effect and a printed line for each chunk.
const STREAM: &str = r#"
local text = ""
for chunk in llm.stream("count") do
    text ..= chunk
    local err = fs.append("log.txt", `{chunk}\n`)
    if err then error(err) end
    print(chunk)
end
return text
"#;

/// The same in JavaScript.
const STREAM_JAVASCRIPT: &str = r#"
let text = "";
for await (const chunk of llm.stream("count")) {
    text += chunk;
    await fs.append("log.txt", `${chunk}\n`);
    console.log(chunk);
}
export default text;
"#;

/// The number of chunks of each streamed answer.
const CHUNKS: u32 = 10;

/// A provider that always streams the same answer, one chunk every few milliseconds, and counts the idempotency keys.
fn streaming_provider() -> (String, Arc<Mutex<HashMap<String, u32>>>) {
    let asked = Arc::<Mutex<HashMap<String, u32>>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, counted) = (socket.unwrap(), Arc::clone(&counted));
            // A killed client has disconnected.
            thread::spawn(move || stream_answer(socket, &counted));
        }
    });
    (format!("http://{address}/v1"), asked)
}

fn stream_answer(mut socket: TcpStream, asked: &Mutex<HashMap<String, u32>>) -> std::io::Result<()> {
    let (head, _) = read_request(&mut socket);
    let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap();
    *asked.lock().unwrap().entry(key.to_owned()).or_default() += 1;
    write!(socket, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let event = |delta: &str, finish: &str| {
        let choice = format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#);
        format!(r#"data: {{"id":"1","model":"m","choices":[{choice}]}}"#)
    };
    for number in 1..=CHUNKS {
        write!(socket, "{}\n\n", event(&format!(r#"{{"content":"{number}"}}"#), "null"))?;
        socket.flush()?;
        thread::sleep(Duration::from_millis(3));
    }
    write!(socket, "{}\n\ndata: [DONE]\n\n", event("{}", r#""stop""#))
}

#[test]
fn a_stream_with_effects_survives_kills() {
    eprintln!("{}", kill_streams("stream.luau", STREAM, FEW_KILLS));
}

#[test]
fn a_stream_with_effects_survives_kills_in_javascript() {
    eprintln!("{}", kill_streams("stream.js", STREAM_JAVASCRIPT, FEW_KILLS));
}

/// Kills runs of a spell that streams, and resumes each until it has succeeded.
fn kill_streams(file: &str, spell: &str, most: u32) -> String {
    let (url, asked) = streaming_provider();
    let provider = |folder: &Folder, words: &[&str]| {
        let mut command = folder.command(words);
        command.env_remove("MOCK_LLM").env("OPENAI_BASE_URL", &url).env("OPENAI_MODEL", "m");
        command
    };
    let begin = |folder: &Folder| {
        folder.write(file, spell);
        provider(folder, &["run", file, "-q", "--allow-write=."])
    };
    let undisturbed = folder(&[]);
    let started = Instant::now();
    let whole_text = finish(&mut begin(&undisturbed));
    let whole = started.elapsed();
    let lines: String = (1..=CHUNKS).map(|number| format!("{number}\n")).collect();
    let value: String = (1..=CHUNKS).map(|number| number.to_string()).collect();
    assert_eq!((whole_text.code, whole_text.stdout), (0, format!("{lines}{value}\n")));
    asked.lock().unwrap().clear();

    let mut random = 7_u64;
    let mut moment = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        whole.mul_f64(f64::from(u32::try_from(random >> 33).unwrap()) / f64::from(u32::MAX >> 1))
    };
    let (mut kills, mut runs, mut begun, mut interrupted) = (0, 0, 0, 0);
    while kills < most {
        let folder = folder(&[]);
        let mut next = begin(&folder);
        begun += 1;
        let mut printed = String::new();
        loop {
            let (seen, stdout) = kill_and_read(next, moment());
            printed.push_str(&stdout);
            let listed = folder.run(&["runs", "--output=json"]).stdout;
            let known: Value = serde_json::from_str(&listed).unwrap();
            let run = known[0]["run_id"].as_str().map(str::to_owned);
            next = match (seen, run) {
                (Some(0), _) => break,
                (Some(75), Some(run)) => {
                    provider(&folder, &["runs", "resume", &run, "-q", look(&folder, &run)])
                }
                // The stream failed, because the process was killed in the middle of it.
                (Some(6), Some(run)) => {
                    interrupted += 1;
                    provider(&folder, &["runs", "resume", &run, "-q"])
                }
                (None, Some(run)) => {
                    kills += 1;
                    provider(&folder, &["runs", "resume", &run, "-q"])
                }
                (None, None) => {
                    // Nothing is recorded yet, so this is another run.
                    kills += 1;
                    begun += 1;
                    printed.clear();
                    begin(&folder)
                }
                (Some(code), _) => panic!("exit {code}: {printed}"),
            };
        }
        runs += 1;
        assert_eq!(fs::read_to_string(folder.path().join("log.txt")).unwrap(), lines, "each chunk once");
        // A kill may lose printed lines, and no line is printed twice.
        let shown: Vec<u32> =
            printed.lines().filter_map(|line| line.parse().ok()).filter(|n| *n <= CHUNKS).collect();
        assert!(shown.is_sorted_by(|one, next| one < next), "{shown:?}");
        // However often a run is resumed, its call carries the same key.
        assert!(asked.lock().unwrap().len() <= begun, "{asked:?}");
    }
    format!("{kills} kills of {runs} runs, {interrupted} streams interrupted")
}

/// Runs a command for this long and kills it. Returns its exit code if it ended before, and what it printed.
fn kill_and_read(mut command: Command, moment: Duration) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + moment;
    while Instant::now() < until && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let code = child.try_wait().unwrap().map(|status| status.code().unwrap());
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (code, String::from_utf8_lossy(&output.stdout).into_owned())
}
