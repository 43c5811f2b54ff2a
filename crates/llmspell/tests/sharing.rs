//! Runs that share VMs, and runs that wait for a place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use llmspell::{Bridge, Method, Outcome, RunBuilder, Runtime, Spell, Value};
use llmspell_core::bridge::Field;
use tokio::sync::Semaphore;

/// Prints the run's id and returns the number of its VM.
const WHICH: &str = "print(spell.run_id) if params.fails then error('no') end return vm.number";

/// A runtime that numbers its VMs: a constant is evaluated once, when a VM is opened.
fn runtime() -> Runtime {
    let opened = AtomicU64::new(0);
    let number = Field::new("number", "", move |_, _| Ok(opened.fetch_add(1, Ordering::SeqCst) + 1));
    Runtime::builder().workers(1).bridge(Bridge::new("vm").constant(number)).build().unwrap()
}

fn cast(runtime: &Runtime, script: &str) -> RunBuilder {
    runtime.run(Spell::from_source("which.luau", script).unwrap())
}

#[tokio::test]
async fn only_good_ends_of_the_same_spell_share_a_vm_and_only_when_asked() {
    let runtime = runtime();
    let which = || cast(&runtime, WHICH);
    let other = format!("{WHICH} -- another spell");
    for (what, cast, number) in [
        ("the first", which().share_vm(), 1),
        ("the same spell", which().share_vm(), 1),
        ("a run that does not share", which(), 2),
        ("another spell", cast(&runtime, &other).share_vm(), 3),
        ("another's parameters", which().param("who", "Ada").share_vm(), 1),
    ] {
        let outcome = cast.start().outcome().await;
        assert_eq!(outcome.value, Value::from(number), "{what}: {:?}", outcome.error);
        assert_eq!(outcome.output, format!("{}\n", outcome.run_id), "{what}");
    }
    let failed = which().param("fails", true).share_vm().start().outcome().await;
    assert_eq!(failed.error.unwrap().message(), "no");
    assert_eq!(which().share_vm().start().outcome().await.value, Value::from(4));
}

/// A runtime in which `enter()` waits until the test continues it, and returns how many calls wait at that time.
fn crowded(most: usize) -> (Runtime, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, inside) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waiting, counted) = (Arc::clone(&gate), Arc::clone(&inside));
    let enter = Method::future("enter", move |_, _| {
        let (waiting, counted) = (Arc::clone(&waiting), Arc::clone(&counted));
        async move {
            let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
            waiting.acquire().await.unwrap().forget();
            counted.fetch_sub(1, Ordering::SeqCst);
            Ok(now as u64)
        }
    });
    let runtime = Runtime::builder().workers(1).max_open(most).function(enter).build().unwrap();
    (runtime, gate, inside)
}

#[tokio::test]
async fn runs_beyond_the_most_wait_in_line() {
    let (runtime, gate, inside) = crowded(3);
    let runs: Vec<_> = (0..10).map(|_| cast(&runtime, "return (enter())").start()).collect();
    gate.add_permits(10);
    for run in runs {
        let Outcome { value, error, .. } = run.outcome().await;
        assert!(error.is_none(), "{error:?}");
        assert!(matches!(value, Value::Int(1..=3) | Value::Num(1.0..=3.0)), "{value:?} were in at once");
    }
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_run_that_waits_in_line_can_be_stopped() {
    let (runtime, gate, _) = crowded(1);
    let first = cast(&runtime, "return (enter())").start();
    let second = cast(&runtime, "return (enter())").start();
    second.cancel();
    assert!(second.outcome().await.error.unwrap().is_cancelled());
    gate.add_permits(1);
    assert_eq!(first.outcome().await.value, Value::from(1));
}

#[tokio::test]
async fn a_run_goes_on_when_nobody_holds_the_runtime_any_more() {
    let room = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&room);
    let pause = Method::future("pause", move |_, _| {
        let waits = Arc::clone(&waits);
        async move {
            waits.acquire().await.unwrap().forget();
            Ok(1)
        }
    });
    let runtime = Runtime::builder().workers(1).function(pause).build().unwrap();
    let run = runtime.run(Spell::from_source("pause.luau", "return (pause())").unwrap()).start();
    drop(runtime);
    room.add_permits(1);
    let outcome = run.outcome().await;
    assert_eq!(outcome.value, Value::from(1), "{:?}", outcome.error);
}
