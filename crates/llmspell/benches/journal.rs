//! What the journal costs: the processor time of an effect with none, in memory for a recording, and in the database;
//! and how long it takes to play 100 model calls again.
//!
//! `cargo bench -p llmspell --bench journal`. Unix only: the kernel counts processor time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmspell::llm::{Client, Mock};
use llmspell::{OnUnavailable, Recording, RunBuilder, RunStore, Runtime, Spell, SqliteStore};
use nix::sys::resource::{UsageWho, getrusage};

/// Calls in a run.
const CALLS: u32 = 1_000;
const ROUNDS: usize = 9;

const SPELL: &str = "
for number = 1, params.calls do
    local answer = llm.chat(`question {number}: what is the capital of the country with this number?`)
    assert(answer)
end
";

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let models = Client::builder().mock(Mock::new().forgetful()).build().expect("a client with a mock");
    let runtime = Runtime::builder().workers(1).models(Arc::new(models)).build().expect("a runtime");
    let spell = Spell::from_source("calls.luau", SPELL).expect("a spell");
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
    let recording = folder.path().join("run.jsonl");
    let builder = |calls: u32| {
        runtime.run(spell.clone()).param("calls", i64::from(calls)).limits(|limits| {
            limits.model_calls = CALLS;
        })
    };
    let mut none = Vec::new();
    let mut recorded = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        none.push(cost(builder(CALLS)));
        recorded.push(cost(builder(CALLS).record(&recording)));
        kept.push(cost(builder(CALLS).in_store(&store, OnUnavailable::Fail)));
    }
    let [none, recorded, kept] = [none, recorded, kept].map(|costs| median(costs) / CALLS);
    println!("{CALLS} calls of the mock, medians of {ROUNDS}, cpu a call:");
    println!("  no journal {none:.1?}");
    println!("  recorded   {recorded:.1?}, {:.1?} more", recorded.saturating_sub(none));
    println!("  kept       {kept:.1?}, {:.1?} more", kept.saturating_sub(none));

    cost(builder(100).record(&recording));
    let again = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        let recording = Recording::read(&recording).expect("a recording");
        cost(runtime.run(spell.clone()).replay(recording));
        began.elapsed()
    });
    println!("100 calls played again, read from the file: {:.2?} wall", median(again.collect()));
}

/// What a run costs in processor time.
fn cost(builder: RunBuilder) -> Duration {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = cpu();
    let outcome = tokio.block_on(builder.start().outcome());
    let used = cpu() - before;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    used
}

fn median(mut costs: Vec<Duration>) -> Duration {
    costs.sort();
    costs[costs.len() / 2]
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let span = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    span(usage.user_time()) + span(usage.system_time())
}
