//! What a start costs: the command against the floor, turn by turn, on a one-line spell.
//!
//! `cargo build --release && cargo bench -p floor`. Linux only: processor time comes from `/proc`, in ticks of 10 ms, so
//! many runs are summed up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const RUNS: u32 = 200;

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn main() {
    let floor = PathBuf::from(env!("CARGO_BIN_EXE_floor"));
    let command = floor.with_file_name("llmspell");
    assert!(command.exists(), "build it first: cargo build --release");
    let spell = std::env::temp_dir().join("llmspell-start.luau");
    write(&spell, "print('hi')\n");

    let (mut ours, mut theirs) = (Cost::default(), Cost::default());
    run(&command, &["run", "-q"], &spell);
    run(&floor, &[], &spell);
    for _ in 0..RUNS {
        ours.add(|| run(&command, &["run", "-q"], &spell));
        theirs.add(|| run(&floor, &[], &spell));
    }
    println!("floor     {:>8.2?} wall", theirs.wall / RUNS);
    println!("llmspell  {:>8.2?} wall", ours.wall / RUNS);
    println!(
        "processor time {:.2?} against {:.2?}: {:.2} x",
        ours.cpu / RUNS,
        theirs.cpu / RUNS,
        ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
    );
}

#[derive(Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    fn add(&mut self, work: impl FnOnce()) {
        let (wall, cpu) = (Instant::now(), children_cpu());
        work();
        self.wall += wall.elapsed();
        self.cpu += children_cpu() - cpu;
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
fn run(program: &Path, arguments: &[&str], spell: &Path) {
    let status = std::process::Command::new(program)
        .args(arguments)
        .arg(spell)
        .env("MOCK_LLM", "true")
        .stdout(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success(), "{} failed: {status}", program.display());
}

#[expect(clippy::disallowed_methods, reason = "a bench writes the spell it measures")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the temporary folder can be written");
}

/// Processor time of the children that have ended.
#[expect(clippy::disallowed_methods, reason = "the kernel keeps the figure in a file")]
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        [fields[13], fields[14]].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
