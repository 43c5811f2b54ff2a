//! What promises, streams and the journal cost: 1,000 model calls at once from the command, with its journal and without,
//! turn by turn with the same spell in JavaScript and the plain program that makes the same calls; and a reply of 20,000 chunks to a script's callback,
//! less the same spell with one chunk.
//!
//! `cargo build --profile bench -p llmspell-cli && cargo bench -p fanout`. Unix only. The
//! server's thread is this process's, so that its work is not counted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

mod server;

const CALLS: usize = 1_000;
const CHUNKS: u32 = 20_000;
const ROUNDS: usize = 7;
/// Has this program run another one and print what it cost: the kernel keeps the peak memory of all children together.
const MEASURE: &str = "--measure";

/// What one run of a program cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, program, rest @ ..] = &arguments[..]
        && mode == MEASURE
    {
        let cost = run(Path::new(program), rest);
        println!("{} {} {}", cost.wall.as_micros(), cost.cpu.as_micros(), cost.peak_kib);
        return;
    }
    let floor = PathBuf::from(env!("CARGO_BIN_EXE_fanout"));
    let command = floor.with_file_name("llmspell");
    assert!(command.exists(), "build it first: cargo build --profile bench -p llmspell-cli");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base_url = format!("http://{}/v1", server::start());
    let spell = |name: &str, text: &str| {
        let path = folder.path().join(name);
        write(&path, text);
        vec!["run".to_owned(), "-q".into(), "--max-in-flight".into(), CALLS.to_string(), text_of(&path)]
    };

    let calls = spell("calls.luau", &CALLS_SPELL.replace("COUNT", &CALLS.to_string()));
    let plain = [base_url.clone(), CALLS.to_string()];
    let javascript = spell("calls.js", &JAVASCRIPT_SPELL.replace("COUNT", &CALLS.to_string()));
    let unkept: Vec<String> = calls.iter().cloned().chain(["--no-journal".into()]).collect();
    let state = folder.path();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            [(&floor, &plain[..]), (&command, &unkept), (&command, &calls), (&command, &javascript)]
                .map(|(program, arguments)| measured(program, arguments, &base_url, state))
        })
        .collect();
    let [floor, unkept, kept, javascript] =
        [0, 1, 2, 3].map(|at| median(rounds.iter().map(|round| round[at])));
    println!("{CALLS} calls of 200 ms at once, medians of {ROUNDS}");
    report("plain program", floor);
    report("no journal", unkept);
    report("llmspell", kept);
    report("in JavaScript", javascript);
    println!("wall {:.2} x, cpu {:.2} x", ratio(kept.wall, floor.wall), ratio(kept.cpu, floor.cpu));
    println!("JavaScript: {:.2} x of Luau's cpu", ratio(javascript.cpu, kept.cpu));
    println!(
        "the journal: wall {:+.1} %, cpu {:+.1} %",
        (ratio(kept.wall, unkept.wall) - 1.0) * 100.0,
        (ratio(kept.cpu, unkept.cpu) - 1.0) * 100.0
    );

    let many = spell("many.luau", &STREAM_SPELL.replace("COUNT", &CHUNKS.to_string()));
    let one = spell("one.luau", &STREAM_SPELL.replace("COUNT", "1"));
    let unkept: Vec<String> = many.iter().cloned().chain(["--no-journal".into()]).collect();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| [&one, &unkept, &many].map(|arguments| measured(&command, arguments, &base_url, state)))
        .collect();
    let [one, unkept, many] = [0, 1, 2].map(|at| median(rounds.iter().map(|round| round[at])));
    println!("a stream of {CHUNKS} chunks, medians of {ROUNDS}");
    report("1 chunk", one);
    report("no journal", unkept);
    report("all chunks", many);
    for (how, cost) in [("without a journal", unkept), ("with its journal", many)] {
        println!("{:.2?} of cpu a chunk {how}", cost.cpu.saturating_sub(one.cpu) / CHUNKS);
    }
}

const CALLS_SPELL: &str = "
local calls = {}
for number = 1, COUNT do
    calls[number] = promise.spawn(llm.chat, `question {number}`)
end
for number, answer in promise.all(calls):await() do
    assert(answer == `<question {number}>`, answer)
end
";

const JAVASCRIPT_SPELL: &str = "
const numbers = Array.from({length: COUNT}, (_, at) => at + 1);
const answers = await Promise.all(numbers.map((number) => llm.chat(`question ${number}`)));
answers.forEach((answer, at) => {
    if (answer !== `<question ${at + 1}>`) throw new Error(answer);
});
";

const STREAM_SPELL: &str = "
local count, bytes = 0, 0
local err = llm.stream_chat('COUNT', function(text)
    count += 1
    bytes += #text
end)
assert(err == nil, err)
assert(count == COUNT, count)
";

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn report(name: &str, cost: Cost) {
    let Cost { wall, cpu, peak_kib } = cost;
    println!("{name:<14} {wall:>8.2?} wall {cpu:>8.2?} cpu {:>6.1} MB peak", peak_kib as f64 / 1024.0);
}

fn ratio(ours: Duration, floor: Duration) -> f64 {
    ours.as_secs_f64() / floor.as_secs_f64()
}

/// The median of each figure by itself.
fn median(costs: impl Iterator<Item = Cost>) -> Cost {
    fn middle<T: Ord>(figures: impl Iterator<Item = T>) -> T {
        let mut figures: Vec<T> = figures.collect();
        figures.sort();
        let middle = figures.len() / 2;
        figures.swap_remove(middle)
    }
    let costs: Vec<Cost> = costs.collect();
    Cost {
        wall: middle(costs.iter().map(|cost| cost.wall)),
        cpu: middle(costs.iter().map(|cost| cost.cpu)),
        peak_kib: middle(costs.iter().map(|cost| cost.peak_kib)),
    }
}

/// Runs a program by another process of this one, which sees its cost alone. What it keeps goes into the folder.
#[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
fn measured(program: &Path, arguments: &[String], base_url: &str, state: &Path) -> Cost {
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg(MEASURE)
        .arg(program)
        .args(arguments)
        .env("OPENAI_API_KEY", "key")
        .env("OPENAI_BASE_URL", base_url)
        .env("XDG_STATE_HOME", state)
        .stderr(Stdio::inherit())
        .output()
        .expect("this program starts once more");
    let text = String::from_utf8(output.stdout).expect("figures");
    let figures: Vec<u64> = text.split_whitespace().map(|figure| figure.parse().expect("a figure")).collect();
    let [wall, cpu, peak_kib] = figures[..] else { panic!("{} failed", program.display()) };
    Cost { wall: Duration::from_micros(wall), cpu: Duration::from_micros(cpu), peak_kib }
}

#[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
fn run(program: &Path, arguments: &[String]) -> Cost {
    let began = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().expect("it starts");
    let wall = began.elapsed();
    assert!(status.success(), "{} failed: {status}", program.display());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts");
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Cost {
        wall,
        cpu: micros(usage.user_time()) + micros(usage.system_time()),
        peak_kib: usage.max_rss().unsigned_abs(),
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("a path in plain text").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a bench writes the spells it measures")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the temporary folder can be written");
}
