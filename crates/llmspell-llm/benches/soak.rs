//! Two thousand calls, 64 at once, of a provider of whose answers a third fail: what it takes, and that nothing is left
//! behind. The tests have a shorter one.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench says what it found, and may fail")]

#[path = "../tests/llm/fault_server.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod fault_server;
#[path = "../tests/llm/soak.rs"]
mod soak;

const CALLS: usize = 2_000;

/// The most that memory may grow between a quarter of the calls and the last, in KiB.
const GROWTH: usize = 2_048;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let figures = runtime.block_on(soak::soak(CALLS));
    println!("{} calls, {} answered, errors {:?}", figures.calls, figures.good, figures.errors);
    println!("{} tries in {:.2} s", figures.tries, figures.took.as_secs_f64());
    println!("memory: {} KiB after a quarter, {} KiB after all", figures.memory.0, figures.memory.1);
    println!("open files: {} before, {} after", figures.files.0, figures.files.1);
    assert!(figures.memory.1 <= figures.memory.0 + GROWTH, "memory grows");
    assert_eq!(figures.files.0, figures.files.1, "files are left open");
}
