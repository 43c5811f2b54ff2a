//! Runs whose process is killed at any moment: each can be resumed until it ends, finished effects happen once, and no
//! line is printed twice.
//!
//! A round is one kill. Effects that a kill leaves in doubt are answered by policy (`--in-doubt`), and never by looking
//! at the world. What happened is counted at a server that honours idempotency keys, and in files.
//!
//! `KILL_ROUNDS` is the number of kills of each shape, and `KILL_SEED` chooses their moments.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::{Folder, folder};

/// Kills of each shape, unless `KILL_ROUNDS` says otherwise.
const ROUNDS: u32 = 10;
/// Rounds of effects in a script, and chunks of a stream.
const TURNS: u32 = 8;
/// Attempts after which a run counts as stuck.
const MOST_ATTEMPTS: u32 = 100;

/// Three calls at once, appends to a file and to storage, and a named step, in each turn.
const EFFECTS: &str = r#"
local function unless_in_doubt(err)
    if err and err.kind ~= "interrupted" then error(err) end
end
for turn = 1, 8 do
    print(`begin {turn}`)
    local answer = promise.spawn(function() return llm.chat(`question {turn}`) end)
    local once = promise.spawn(function()
        local receipt, err = http.post(`{params.shop}/once/{turn}`, "order")
        unless_in_doubt(err)
        return receipt
    end)
    local keyed = promise.spawn(function()
        return http.post(`{params.shop}/keyed/{turn}`, "order", {idempotent = true})
    end)
    assert(promise.all({answer, once, keyed}):await())
    local err = fs.append("log.txt", `log {turn}\n`)
    unless_in_doubt(err)
    local err = storage.append("turns.txt", `turn {turn}\n`)
    unless_in_doubt(err)
    spell.step(`turn {turn}`, function()
        local receipt, err = http.post(`{params.shop}/step/{turn}`, "order", {idempotent = true})
        if err then error(err) end
        return receipt
    end)
    print(`end {turn}`)
end
local turns, err = storage.read("turns.txt")
if err then error(err) end
return turns
"#;

/// The same in JavaScript.
const EFFECTS_JS: &str = r#"
const unlessInDoubt = async (effect) => {
    try { return await effect; } catch (error) { if (error.kind !== "interrupted") throw error; }
};
for (let turn = 1; turn <= 8; turn++) {
    console.log(`begin ${turn}`);
    await Promise.all([
        llm.chat(`question ${turn}`),
        unlessInDoubt(http.post(`${params.shop}/once/${turn}`, "order")),
        http.post(`${params.shop}/keyed/${turn}`, "order", { idempotent: true }),
    ]);
    await unlessInDoubt(fs.append("log.txt", `log ${turn}\n`));
    await unlessInDoubt(storage.append("turns.txt", `turn ${turn}\n`));
    await spell.step(`turn ${turn}`, () => http.post(`${params.shop}/step/${turn}`, "order", { idempotent: true }));
    console.log(`end ${turn}`);
}
export default await storage.read("turns.txt");
"#;

/// An agent whose two tools run at once in each turn. The mock echoes its prompt, so the results are the next calls.
const TOOLS: &str = r#"
local function unless_in_doubt(err)
    if err and err.kind ~= "interrupted" then error(err) end
end
local function both(turn)
    local text = ""
    for _, name in {"order", "note"} do
        text ..= `<tool_call>{json.encode({name = name, arguments = {turn = turn}})}</tool_call>`
    end
    return text
end
local agent = agents.create {
    name = "buyer",
    tool_mode = "text",
    max_turns = 20,
    tools = {
        {
            name = "order",
            description = "Orders something.",
            parameters = {turn = "integer"},
            run = function(args)
                local turn = args.turn
                print(`begin {turn}`)
                local receipt, err = http.post(`{params.shop}/once/{turn}`, "order")
                unless_in_doubt(err)
                local receipt, err = http.post(`{params.shop}/keyed/{turn}`, "order", {idempotent = true})
                if err then error(err) end
                return if turn < 8 then both(turn + 1) else "That is all."
            end,
        },
        {
            name = "note",
            description = "Writes something down.",
            parameters = {turn = "integer"},
            run = function(args)
                local err = fs.append("log.txt", `log {args.turn}\n`)
                unless_in_doubt(err)
                local receipt, err = http.post(`{params.shop}/step/{args.turn}`, "order", {idempotent = true})
                if err then error(err) end
                local err = storage.append("turns.txt", `turn {args.turn}\n`)
                unless_in_doubt(err)
                print(`end {args.turn}`)
                return "noted"
            end,
        },
    },
}
local result, err = agent:run(both(1))
if err then error(err) end
local turns, err = storage.read("turns.txt")
if err then error(err) end
return turns
"#;

/// The same in JavaScript.
const TOOLS_JS: &str = r#"
const unlessInDoubt = async (effect) => {
    try { return await effect; } catch (error) { if (error.kind !== "interrupted") throw error; }
};
const call = (name, turn) => `<tool_call>${JSON.stringify({ name, arguments: { turn } })}</tool_call>`;
const both = (turn) => call("order", turn) + call("note", turn);
const agent = agents.create({
    name: "buyer",
    tool_mode: "text",
    max_turns: 20,
    tools: [
        {
            name: "order",
            description: "Orders something.",
            parameters: { turn: "integer" },
            run: async ({ turn }) => {
                console.log(`begin ${turn}`);
                await unlessInDoubt(http.post(`${params.shop}/once/${turn}`, "order"));
                await http.post(`${params.shop}/keyed/${turn}`, "order", { idempotent: true });
                return turn < 8 ? both(turn + 1) : "That is all.";
            },
        },
        {
            name: "note",
            description: "Writes something down.",
            parameters: { turn: "integer" },
            run: async ({ turn }) => {
                await unlessInDoubt(fs.append("log.txt", `log ${turn}\n`));
                await http.post(`${params.shop}/step/${turn}`, "order", { idempotent: true });
                await unlessInDoubt(storage.append("turns.txt", `turn ${turn}\n`));
                console.log(`end ${turn}`);
                return "noted";
            },
        },
    ],
});
await agent.run(both(1));
export default await storage.read("turns.txt");
"#;

/// A stream with effects and a printed line for each chunk.
const STREAM: &str = r#"
local function unless_in_doubt(err)
    if err and err.kind ~= "interrupted" then error(err) end
end
for turn in llm.stream("count") do
    print(`begin {turn}`)
    local receipt, err = http.post(`{params.shop}/once/{turn}`, "order")
    unless_in_doubt(err)
    local receipt, err = http.post(`{params.shop}/keyed/{turn}`, "order", {idempotent = true})
    if err then error(err) end
    local err = fs.append("log.txt", `log {turn}\n`)
    unless_in_doubt(err)
    local receipt, err = http.post(`{params.shop}/step/{turn}`, "order", {idempotent = true})
    if err then error(err) end
    local err = storage.append("turns.txt", `turn {turn}\n`)
    unless_in_doubt(err)
    print(`end {turn}`)
end
local turns, err = storage.read("turns.txt")
if err then error(err) end
return turns
"#;

/// The same in JavaScript.
const STREAM_JS: &str = r#"
const unlessInDoubt = async (effect) => {
    try { return await effect; } catch (error) { if (error.kind !== "interrupted") throw error; }
};
for await (const turn of llm.stream("count")) {
    console.log(`begin ${turn}`);
    await unlessInDoubt(http.post(`${params.shop}/once/${turn}`, "order"));
    await http.post(`${params.shop}/keyed/${turn}`, "order", { idempotent: true });
    await unlessInDoubt(fs.append("log.txt", `log ${turn}\n`));
    await http.post(`${params.shop}/step/${turn}`, "order", { idempotent: true });
    await unlessInDoubt(storage.append("turns.txt", `turn ${turn}\n`));
    console.log(`end ${turn}`);
}
export default await storage.read("turns.txt");
"#;

/// A script whose runs are killed, and the policy for its effects in doubt.
struct Shape {
    file: &'static str,
    script: &'static str,
    in_doubt: &'static str,
}

#[test]
fn parallel_effects_survive_kills() {
    kill(&Shape { file: "effects.luau", script: EFFECTS, in_doubt: "repeat" });
    kill(&Shape { file: "effects.js", script: EFFECTS_JS, in_doubt: "done" });
}

#[test]
fn parallel_tools_of_an_agent_survive_kills() {
    kill(&Shape { file: "tools.luau", script: TOOLS, in_doubt: "fail" });
    kill(&Shape { file: "tools.js", script: TOOLS_JS, in_doubt: "repeat" });
}

#[test]
fn streams_with_effects_survive_kills() {
    kill(&Shape { file: "stream.luau", script: STREAM, in_doubt: "done" });
    kill(&Shape { file: "stream.js", script: STREAM_JS, in_doubt: "fail" });
}

/// The world of one run: a shop that honours idempotency keys, and a provider that streams.
#[derive(Default)]
struct World {
    /// The orders by path: how often each was carried out, and the keys under which it was asked for.
    orders: HashMap<String, (u32, HashSet<String>)>,
    /// The keys of model calls.
    calls: HashSet<String>,
}

type SharedWorld = Arc<Mutex<World>>;

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

/// Starts the server of a world. Returns its address. Late requests of a killed process reach no other world.
fn serve() -> (String, SharedWorld) {
    let world = SharedWorld::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::clone(&world);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, world) = (socket.unwrap(), Arc::clone(&shared));
            // A killed client has disconnected.
            thread::spawn(move || answer(socket, &world));
        }
    });
    (format!("http://{address}"), world)
}

fn answer(socket: TcpStream, world: &SharedWorld) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut socket = socket;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut key, mut length) = (None, 0);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
                Some((name, value)) if name == "idempotency-key" => key = Some(value.to_owned()),
                Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        if path.ends_with("/chat/completions") {
            lock(world).calls.insert(key.unwrap());
            return stream(socket);
        }
        {
            let mut world = lock(world);
            let (carried_out, keys) = world.orders.entry(path).or_default();
            *carried_out += u32::from(key.is_none_or(|key| keys.insert(key)));
        }
        write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nreceipt")?;
    }
}

/// Streams the numbers of all turns, one every few milliseconds.
fn stream(mut socket: TcpStream) -> std::io::Result<()> {
    write!(socket, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let event = |delta: &str, finish: &str| {
        let choice = format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#);
        format!(r#"data: {{"id":"1","model":"m","choices":[{choice}]}}"#)
    };
    for number in 1..=TURNS {
        write!(socket, "{}\n\n", event(&format!(r#"{{"content":"{number}"}}"#), "null"))?;
        socket.flush()?;
        thread::sleep(Duration::from_millis(3));
    }
    write!(socket, "{}\n\ndata: [DONE]\n\n", event("{}", r#""stop""#))
}

/// One run of a shape in its world.
struct KilledRun<'a> {
    shape: &'a Shape,
    folder: Folder,
    address: String,
    world: SharedWorld,
    printed: Vec<String>,
    /// How many effects the kills have left in doubt.
    doubted: u32,
}

impl<'a> KilledRun<'a> {
    fn new(shape: &'a Shape) -> Self {
        let (address, world) = serve();
        let folder = folder(&[(shape.file, shape.script)]);
        Self { shape, folder, address, world, printed: Vec::new(), doubted: 0 }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.folder.command(words);
        if self.shape.file.starts_with("stream") {
            command.env_remove("MOCK_LLM");
            command.env("OPENAI_BASE_URL", format!("{}/v1", self.address)).env("OPENAI_MODEL", "m");
        }
        command
    }

    fn begin(&self) -> Command {
        let net = format!("--allow-net={}", self.address.trim_start_matches("http://"));
        let shop = format!("shop={}", self.address);
        self.command(&["run", self.shape.file, "-q", "--allow-write=.", &net, &shop])
    }

    /// Returns the command that resumes the run; `None` if it has not begun.
    fn resume(&mut self) -> Option<Command> {
        let listed = self.folder.run(&["runs", "--output=json"]).stdout;
        let known: Value = serde_json::from_str(&listed).unwrap();
        let run = known[0]["run_id"].as_str()?;
        let shown = self.folder.run(&["runs", "show", run, "--output=json"]).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let once = ["net.fetch", "files.append", "storage.append"];
        let open = shown["effects"].as_array().unwrap().iter().filter(|effect| effect["took"].is_null());
        let open = open.filter(|effect| once.contains(&effect["operation"].as_str().unwrap()));
        self.doubted += u32::try_from(open.count()).unwrap();
        Some(self.command(&["runs", "resume", run, "-q", &format!("--in-doubt={}", self.shape.in_doubt)]))
    }

    /// Checks a run that has ended well, whose last attempt wrote this.
    fn check(&self, stdout: &str) {
        let file = self.shape.file;
        let lines = |kind: &str| (1..=TURNS).map(|turn| format!("{kind} {turn}")).collect::<Vec<_>>();
        let said = |line: &&String| line.starts_with("begin ") || line.starts_with("end ");
        let said: Vec<_> = self.printed.iter().filter(said).collect();
        let different: HashSet<_> = said.iter().collect();
        assert_eq!(different.len(), said.len(), "{file}: printed twice: {said:?}");
        let world = lock(&self.world);
        for kind in ["keyed", "step"] {
            for turn in 1..=TURNS {
                let (carried_out, keys) = &world.orders[&format!("/{kind}/{turn}")];
                assert_eq!((*carried_out, keys.len()), (1, 1), "{file}: {kind} {turn}");
            }
        }
        let once =
            (1..=TURNS).map(|turn| world.orders.get(&format!("/once/{turn}")).map_or(0, |order| order.0));
        let count = |text: &str, kind: &str| -> Vec<u32> {
            let count = |line: &String| text.lines().filter(|found| found == line).count();
            lines(kind).iter().map(|line| u32::try_from(count(line)).unwrap()).collect()
        };
        let log = fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default();
        let happened = [once.collect(), count(&log, "log"), count(stdout, "turn")].concat();
        let away_from_once: u32 = happened.iter().map(|times| times.abs_diff(1)).sum();
        assert!(away_from_once <= self.doubted, "{file}: {happened:?}, {} in doubt", self.doubted);
        let is_allowed = |times: &u32| match self.shape.in_doubt {
            "repeat" => *times >= 1,
            _ => *times <= 1,
        };
        assert!(happened.iter().all(is_allowed), "{file}: {happened:?}");
        assert!(world.calls.len() <= 1, "{file}: a resumed call keeps its key");
    }
}

/// Kills and resumes runs of a shape, and prints what it did.
#[expect(
    clippy::print_stderr,
    reason = "the seed repeats a failure, so it is printed before anything can fail"
)]
fn kill(shape: &Shape) {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = setting("KILL_ROUNDS").map_or(ROUNDS, |rounds| u32::try_from(rounds).unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = setting("KILL_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()));
    eprintln!("{}: KILL_SEED={seed} KILL_ROUNDS={rounds}", shape.file);

    let undisturbed = KilledRun::new(shape);
    let began = Instant::now();
    let (code, stdout) = run_for(undisturbed.begin(), Duration::MAX);
    let whole = began.elapsed();
    assert_eq!(code, Some(0), "{}: {stdout}", shape.file);
    undisturbed.check(&stdout);

    let mut random = seed;
    let mut moment = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        whole.mul_f64(f64::from(u32::try_from(random >> 33).unwrap()) / f64::from(u32::MAX >> 1))
    };
    let (mut kills, mut runs, mut doubted, mut interrupted) = (0, 0, 0, 0);
    while kills < rounds {
        let mut run = KilledRun::new(shape);
        let mut next = run.begin();
        let mut attempts = 0;
        let stdout = loop {
            attempts += 1;
            assert!(attempts < MOST_ATTEMPTS, "{}: a run is stuck", shape.file);
            // The last attempts are not killed, so that each run comes to its end.
            let time = if kills < rounds { moment() } else { Duration::MAX };
            let (code, stdout) = run_for(next, time);
            run.printed.extend(stdout.lines().map(str::to_owned));
            match code {
                Some(0) => break stdout,
                // The stream failed, because the process was killed in the middle of it.
                Some(6) => interrupted += 1,
                Some(code) => panic!("{}: exit code {code}: {stdout}", shape.file),
                None => kills += 1,
            }
            next = match run.resume() {
                Some(command) => command,
                None => {
                    // Nothing is recorded yet, so this is another run.
                    run = KilledRun::new(shape);
                    run.begin()
                }
            };
        };
        run.check(&stdout);
        runs += 1;
        doubted += run.doubted;
    }
    eprintln!(
        "{}: {kills} kills of {runs} runs, {doubted} effects in doubt, {interrupted} streams interrupted",
        shape.file
    );
}

/// Runs a command for this long and kills it. Returns its exit code if it ended before, and what it printed.
fn run_for(mut command: Command, time: Duration) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < time && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    let code = child.try_wait().unwrap().map(|status| status.code().unwrap());
    // SIGKILL.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (code, String::from_utf8_lossy(&output.stdout).into_owned())
}
