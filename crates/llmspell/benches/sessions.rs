//! What an open session costs with all real bridges: memory that stays, and time to open and drop.
//!
//! `cargo bench -p llmspell --bench sessions`. Linux only: memory comes from `/proc`.

use std::sync::Arc;
use std::time::Instant;

use llmspell::{Bridge, Context, Engine, EngineRegistry};

const SESSIONS: u32 = 500;

fn main() {
    let registry = EngineRegistry::new();
    llmspell_engines::register_all(&registry).expect("the engines do not clash");
    let bridges: Vec<Arc<Bridge>> =
        llmspell_bridges::BRIDGES.iter().map(|bridge| Arc::new(bridge())).collect();
    for descriptor in registry.descriptors() {
        let engine = registry.by_name(&descriptor.name).expect("it is registered");
        measure(&descriptor.name, &*engine, &bridges);
    }
}

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn measure(language: &str, engine: &dyn Engine, bridges: &[Arc<Bridge>]) {
    let open = || engine.open(bridges, Context::builder().build()).expect("a session");
    let functions: usize = bridges.iter().map(|bridge| bridge.methods.len()).sum();

    // The first one brings in code and shared tables.
    drop(open());
    let before = resident_bytes();
    let sessions: Vec<_> = (0..SESSIONS).map(|_| open()).collect();
    let each = (resident_bytes() - before) / u64::from(SESSIONS);
    println!("{language}: {functions} host functions: {} KiB a session", each / 1024);
    drop(sessions);

    let began = Instant::now();
    for _ in 0..SESSIONS {
        drop(open());
    }
    println!("{language}: open and drop: {:?} wall", began.elapsed() / SESSIONS);
}

/// What the process holds in memory, from the kernel's own count of pages.
#[expect(clippy::disallowed_methods, reason = "the kernel keeps the figure in a file")]
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}
