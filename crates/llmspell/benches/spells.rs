//! What many runs of one spell cost: 10,000 that wait 50 ms each on 2 worker threads, with a VM each, in Luau and in
//! JavaScript, and with VMs that they share.
//!
//! `cargo bench -p llmspell --bench spells`. Unix only: the kernel counts processor time and memory.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llmspell::{Method, Runtime, Spell};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SPELLS: u32 = 10_000;
const IN_FLIGHT: usize = 512;

/// What is measured: how it is named, the spell, and whether VMs are shared.
type Mode = (&'static str, (&'static str, &'static str), bool);

const LUAU: (&str, &str) = ("pause.luau", "return (pause())");
const JAVASCRIPT: (&str, &str) = ("pause.js", "export default await pause()");
const MODES: [Mode; 3] = [
    ("with a VM each", LUAU, false),
    ("in JavaScript", JAVASCRIPT, false),
    ("with VMs that they share", LUAU, true),
];

fn main() {
    let asked = std::env::args().nth(1);
    match MODES.into_iter().find(|(how, ..)| Some(*how) == asked.as_deref()) {
        Some(mode) => measure(mode),
        // A process each, since the kernel never lowers a peak.
        None => MODES.into_iter().for_each(|(how, ..)| start(how)),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench starts what it measures")]
fn start(mode: &str) {
    let this = std::env::current_exe().expect("this program has a path");
    let status = Command::new(this).arg(mode).status().expect("this program starts once more");
    assert!(status.success(), "{mode} failed: {status}");
}

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn measure((how, spell, shared): Mode) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (cpu, began) = (cpu(), Instant::now());
    let errors = tokio.block_on(all(spell, shared));
    let (wall, used) = (began.elapsed(), self::cpu() - cpu);
    let peak = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts").max_rss() / 1024;
    println!("{SPELLS} spells of 50 ms {how}, {IN_FLIGHT} at once:");
    println!(
        "  {:.1?} cpu and {:.1?} wall a spell, {peak} MB peak, {errors} errors",
        used / SPELLS,
        wall / SPELLS
    );
}

/// Runs all; returns how many failed.
async fn all((name, text): (&str, &str), shared: bool) -> usize {
    let pause = Method::future("pause", |_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(50_u64)
    });
    let runtime = Runtime::builder().workers(2).function(pause).build().expect("a runtime");
    let spell = Spell::from_source(name, text).expect("a spell");
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut runs = JoinSet::new();
    for _ in 0..SPELLS {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        let builder = runtime.run(spell.clone());
        let builder = if shared { builder.share_vm() } else { builder };
        runs.spawn(async move {
            let outcome = builder.start().outcome().await;
            drop(permit);
            outcome.error.is_none() && outcome.value == 50.into()
        });
    }
    runs.join_all().await.into_iter().filter(|went_well| !went_well).count()
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    [usage.user_time(), usage.system_time()]
        .map(|time| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        })
        .iter()
        .sum()
}
