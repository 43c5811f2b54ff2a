//! What an open session costs with all real bridges: memory that stays, and time to open and drop.
//!
//! `cargo bench -p llmspell --bench sessions`. Linux only: memory comes from `/proc`.

use std::sync::Arc;
use std::time::Instant;

use llmspell::{Bridge, Context, EngineRegistry};

const SESSIONS: u32 = 500;

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn main() {
    let registry = EngineRegistry::new();
    llmspell_engines::register_all(&registry).expect("the engines do not clash");
    let engine = registry.by_name("luau").expect("this build has Luau");
    let bridges: Vec<Arc<Bridge>> =
        llmspell_bridges::BRIDGES.iter().map(|bridge| Arc::new(bridge())).collect();
    let open = || engine.open(&bridges, Context::builder().build()).expect("a session");
    let functions: usize = bridges.iter().map(|bridge| bridge.methods.len()).sum();

    // The first one brings in code and shared tables.
    drop(open());
    let before = resident_bytes();
    let sessions: Vec<_> = (0..SESSIONS).map(|_| open()).collect();
    let each = (resident_bytes() - before) / u64::from(SESSIONS);
    println!("{functions} host functions: {} KiB a session", each / 1024);
    drop(sessions);

    let began = Instant::now();
    for _ in 0..SESSIONS {
        drop(open());
    }
    println!("open and drop: {:?} wall", began.elapsed() / SESSIONS);
}

/// What the process holds in memory, from the kernel's own count of pages.
#[expect(clippy::disallowed_methods, reason = "the kernel keeps the figure in a file")]
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}
