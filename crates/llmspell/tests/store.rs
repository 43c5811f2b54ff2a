//! The conformance suite of run stores: every store must pass the same tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use llmspell::effect::{Effect, EffectPath, EffectRequest, EffectResult};
use llmspell::{
    Claim, Error, ErrorKind, JournalRecord, Lease, MemoryStore, NewRun, Outcome, RecordSink as _, Retention,
    RunInfo, RunState, RunStore, SqliteStore, SweepStart, SweptRuns, Value, sweep,
};
use serde_json::json;
use tempfile::TempDir;

/// A store, and another handle to it as in another process, if the store outlives a process.
struct Stores {
    name: &'static str,
    /// The clock of both handles.
    clock: FakeClock,
    store: Arc<dyn RunStore>,
    elsewhere: Option<Arc<dyn RunStore>>,
    _folder: TempDir,
}

/// A clock that only a test moves.
#[derive(Clone)]
struct FakeClock(Arc<Mutex<SystemTime>>);

impl FakeClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    fn forward(&self, span: Duration) {
        *self.0.lock().unwrap() += span;
    }

    fn read(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now()
    }
}

fn stores() -> Vec<Stores> {
    let folder = || tempfile::tempdir().unwrap();
    let sqlite = folder();
    let clock = FakeClock(Arc::new(Mutex::new(SystemTime::now())));
    let in_folder =
        || Arc::new(SqliteStore::with_clock(sqlite.path().join("runs"), clock.read())) as Arc<dyn RunStore>;
    vec![
        Stores {
            name: "memory",
            clock: clock.clone(),
            store: Arc::new(MemoryStore::default().with_clock(clock.read())),
            elsewhere: None,
            _folder: folder(),
        },
        Stores {
            name: "sqlite",
            clock: clock.clone(),
            store: in_folder(),
            elsewhere: Some(in_folder()),
            _folder: sqlite,
        },
    ]
}

fn new_run(id: &str) -> NewRun {
    NewRun {
        info: RunInfo { run_id: id.into(), spell: "spell".into(), ..RunInfo::default() },
        path: Some("spell.luau".into()),
        working_dir: None,
        started: SystemTime::now(),
    }
}

fn effect(path: &str, request: &serde_json::Value) -> Effect {
    Effect { path: path.parse().unwrap(), ask: EffectRequest::new("models", "chat", request).unwrap() }
}

fn post(path: &str) -> Effect {
    let ask = EffectRequest::new("net", "fetch", &json!({"url": "http://shop/order"})).unwrap();
    Effect { path: path.parse().unwrap(), ask: EffectRequest { repeatable: false, ..ask } }
}

fn done(path: &str, order: u64, answer: impl Into<Value>) -> JournalRecord {
    JournalRecord::Done {
        effect: effect(path, &json!({"question": path})),
        began: Duration::from_micros(order),
        ended: Duration::from_micros(order + 10),
        end: EffectResult { order, said: 0, answer: Ok(answer.into()) },
    }
}

fn path(text: &str) -> EffectPath {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_appended_is_loaded() {
    for Stores { name, store, elsewhere, .. } in stores() {
        let lease = store.create(&new_run("a1")).await.unwrap();
        assert_eq!(lease, Lease { run_id: "a1".into(), epoch: 1 }, "{name}");
        let (large, bytes) = ("large ".repeat(1_000), Value::Bytes(vec![7; 5_000]));
        let failed = Error::new(ErrorKind::RateLimited, "slow down");
        let records = [
            done("main#1", 1, large.clone()),
            JournalRecord::Started { effect: post("main#2"), began: Duration::from_micros(5) },
            JournalRecord::Ended {
                path: path("main#2"),
                ended: Duration::from_micros(9),
                end: EffectResult { order: 2, said: 3, answer: Err(failed.clone()) },
            },
            done("main.1#1", 3, bytes.clone()),
            JournalRecord::Lines(4),
        ];
        store.append(&lease, &records).await.unwrap();
        let run = elsewhere.as_ref().unwrap_or(&store).read("a1").await.unwrap();
        assert_eq!(
            (run.summary.state, run.summary.info.spell.as_str()),
            (RunState::Running, "spell"),
            "{name}"
        );
        let ends: Vec<_> = run
            .effects
            .iter()
            .map(|effect| {
                let end = effect.entry.end.as_ref().unwrap();
                (effect.entry.effect.path.to_string(), end.order, end.answer.clone().map_err(|e| e.kind()))
            })
            .collect();
        let expected = [
            ("main#1".to_owned(), 1, Ok(large.into())),
            ("main.1#1".to_owned(), 3, Ok(bytes)),
            ("main#2".to_owned(), 2, Err(ErrorKind::RateLimited)),
        ];
        assert_eq!(ends, expected, "{name}");

        let outcome = Outcome { error: Some(failed), ..Outcome::default() };
        store.append(&lease, &[JournalRecord::closed(&outcome, 6)]).await.unwrap();
        let list = store.list().await.unwrap();
        assert_eq!((list.runs.len(), list.runs[0].state), (1, RunState::Failed), "{name}");
    }
}

#[tokio::test]
async fn an_index_holds_small_answers_and_no_large_ones() {
    for Stores { name, store, .. } in stores().into_iter().filter(|stores| stores.elsewhere.is_some()) {
        let lease = store.create(&new_run("a1")).await.unwrap();
        let list = Value::List((0..200).map(Value::from).collect());
        let answers: [Value; 4] = ["small".into(), "x".repeat(400).into(), "x".repeat(5_000).into(), list];
        let records =
            answers.iter().zip(1..).map(|(answer, at)| done(&format!("main#{at}"), at, answer.clone()));
        store.append(&lease, &records.collect::<Vec<_>>()).await.unwrap();
        let start = JournalRecord::Started { effect: post("main#9"), began: Duration::from_micros(9) };
        store.append(&lease, &[start]).await.unwrap();
        let index = store.load("a1").await.unwrap();
        let ends: Vec<_> = index.effects.iter().filter_map(|effect| effect.end.as_ref()).collect();
        let sizes: Vec<_> = ends.iter().map(|end| (end.size, end.answer.is_some())).collect();
        assert_eq!(sizes, [(7, true), (402, false), (44, false), (691, false)], "{name}");
        for (answer, at) in answers.iter().zip(1..) {
            let read = store.answer("a1", &path(&format!("main#{at}"))).await.unwrap();
            assert_eq!(&read.unwrap(), answer, "{name}");
        }
        // The index has a request only if a resumed run may perform the effect again.
        let requests: Vec<_> = index.effects.iter().map(|effect| effect.request.is_some()).collect();
        assert_eq!(requests, [false, false, false, false, true], "{name}");
        let missing = store.answer("a1", &path("main#5")).await.unwrap_err();
        assert_eq!(missing.message(), "run a1: the journal is damaged: effect main#5 is missing", "{name}");
    }
}

#[tokio::test]
async fn an_answer_in_parts_is_put_together() {
    for Stores { name, store, .. } in stores() {
        let lease = store.create(&new_run("a1")).await.unwrap();
        let part = |order, part: Value| JournalRecord::Part { path: path("main#1"), order, part };
        let start = JournalRecord::Started { effect: effect("main#1", &json!({})), began: Duration::ZERO };
        store.append(&lease, &[start, part(1, Value::Nil), part(2, "one".into())]).await.unwrap();
        let run = store.read("a1").await.unwrap();
        assert!(run.effects[0].entry.end.is_none(), "{name}");
        let parts = run.effects[0].parts.clone();
        assert_eq!((parts.last_order(), parts.arrived().is_some()), (2, true), "{name}");
        let end = EffectResult { order: 5, said: 0, answer: Ok(Value::Map([].into_iter().collect())) };
        let ended = JournalRecord::Ended { path: path("main#1"), ended: Duration::from_micros(1), end };
        store.append(&lease, &[part(4, "two".into()), ended]).await.unwrap();
        let run = store.read("a1").await.unwrap();
        let answer = run.effects[0].entry.end.as_ref().unwrap().answer.clone().unwrap();
        let expected = json!({"opened": 1, "pieces": [[2, "one"], [4, "two"]]});
        let mut answer = serde_json::to_value(&answer).unwrap();
        answer.as_object_mut().unwrap().remove("head");
        assert_eq!(answer, expected, "{name}");
    }
}

#[tokio::test]
async fn an_owner_with_a_stale_epoch_writes_nothing() {
    for Stores { name, store, elsewhere, .. } in stores() {
        let elsewhere = elsewhere.unwrap_or_else(|| Arc::clone(&store));
        let first = store.create(&new_run("a1")).await.unwrap();
        store.append(&first, &[done("main#1", 1, 1)]).await.unwrap();
        let refused = elsewhere.claim("a1", Claim::IfFree).await.unwrap_err();
        assert_eq!(refused.message(), "run a1 is under way in another process", "{name}");
        let second = elsewhere.claim("a1", Claim::TakeOver).await.unwrap();
        assert_eq!(second.epoch, 2, "{name}");
        let fenced = store.append(&first, &[done("main#2", 2, 2)]).await.unwrap_err();
        assert_eq!(fenced.kind(), ErrorKind::Conflict, "{name}");
        assert!(fenced.message().starts_with("another process has taken over run a1"), "{name}: {fenced}");
        // Releasing the old lease does not affect the new owner either.
        store.release(&first).await.unwrap();
        elsewhere.append(&second, &[done("main#2", 2, 3)]).await.unwrap();
        assert_eq!(store.read("a1").await.unwrap().effects.len(), 2, "{name}");
        assert!(store.claim("a1", Claim::IfFree).await.is_err(), "{name}");
        elsewhere.release(&second).await.unwrap();
        assert_eq!(store.read("a1").await.unwrap().summary.state, RunState::Died, "{name}");
        assert_eq!(store.claim("a1", Claim::IfFree).await.unwrap().epoch, 3, "{name}");
    }
}

#[tokio::test]
async fn a_claim_forgets_the_last_failures_of_a_run_that_failed_and_of_no_other() {
    for Stores { name, store, .. } in stores() {
        let failure = |at: &str, order: u64| JournalRecord::Done {
            effect: effect(at, &json!({"question": at})),
            began: Duration::from_micros(order),
            ended: Duration::from_micros(order + 10),
            end: EffectResult { order, said: order, answer: Err(Error::new(ErrorKind::Network, "down")) },
        };
        let lease = store.create(&new_run("a1")).await.unwrap();
        let records = [failure("main#1", 1), done("main#2", 2, 2), failure("main#3", 3)];
        store.append(&lease, &records).await.unwrap();
        store.append(&lease, &[JournalRecord::Lines(4)]).await.unwrap();
        store.release(&lease).await.unwrap();
        let open = async || {
            let index = store.load("a1").await.unwrap();
            let open = index.effects.iter().filter(|effect| effect.end.is_none());
            (open.map(|effect| effect.path.to_string()).collect::<Vec<_>>(), index.summary.lines)
        };
        let lease = store.claim("a1", Claim::IfFree).await.unwrap();
        assert_eq!(
            open().await,
            (vec![], 4),
            "{name}: the process died, so the script may have survived main#3"
        );

        let outcome = Outcome { error: Some(Error::new(ErrorKind::Network, "down")), ..Outcome::default() };
        store.append(&lease, &[JournalRecord::closed(&outcome, 4)]).await.unwrap();
        store.claim("a1", Claim::IfFree).await.unwrap();
        assert_eq!(
            open().await,
            (vec!["main#3".to_owned()], 3),
            "{name}: lines after the failure may differ"
        );
    }
}

#[tokio::test]
async fn of_many_claims_at_once_one_succeeds() {
    for Stores { name, store, elsewhere, .. } in stores() {
        let lease = store.create(&new_run("a1")).await.unwrap();
        store.release(&lease).await.unwrap();
        let claims = (0..8).map(|at| {
            let store = elsewhere.as_ref().filter(|_| at % 2 == 0).unwrap_or(&store);
            let store = Arc::clone(store);
            std::thread::spawn(move || {
                futures_util::FutureExt::now_or_never(store.claim("a1", Claim::IfFree)).unwrap().is_ok()
            })
        });
        let claims: Vec<_> = claims.collect();
        let won = claims.into_iter().map(|claim| claim.join().unwrap()).filter(|won| *won).count();
        assert_eq!(won, 1, "{name}");
    }
}

#[tokio::test]
async fn runs_are_found_by_the_beginning_of_their_ids_and_removed() {
    for Stores { name, store, .. } in stores() {
        assert_eq!(store.resolve("a").await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        assert!(store.list().await.unwrap().runs.is_empty(), "{name}");
        for id in ["a1", "a2", "b1"] {
            let lease = store.create(&new_run(id)).await.unwrap();
            store.append(&lease, &[done("main#1", 1, "x".repeat(2_000))]).await.unwrap();
            if id != "b1" {
                store.append(&lease, &[JournalRecord::closed(&Outcome::default(), 0)]).await.unwrap();
            }
        }
        assert_eq!(store.resolve("a2").await.unwrap(), "a2", "{name}");
        assert_eq!(store.resolve("b").await.unwrap(), "b1", "{name}");
        assert_eq!(store.resolve("a").await.unwrap_err().kind(), ErrorKind::Conflict, "{name}");
        assert_eq!(store.resolve("").await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        let again = store.create(&new_run("a1")).await.unwrap_err();
        assert_eq!(again.message(), "there is a run with the id a1 already", "{name}");
        let ids = ["a1", "b1", "c1"].map(str::to_owned);
        assert_eq!(store.remove(&ids).await.unwrap(), 1, "{name}: one is running, one is not there");
        let left: Vec<_> = store.list().await.unwrap().runs.into_iter().map(|run| run.info.run_id).collect();
        assert_eq!(left, ["b1", "a2"], "{name}");
        // Blobs that two runs share stay with the other one.
        let run = store.read("a2").await.unwrap();
        assert_eq!(
            run.effects[0].entry.end.clone().unwrap().answer.unwrap(),
            "x".repeat(2_000).into(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn removed_runs_give_their_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::in_folder(folder.path());
    let lease = store.create(&new_run("a1")).await.unwrap();
    let answers: Vec<_> = (1..=500).map(|at| done(&format!("main#{at}"), at, "x".repeat(1_000))).collect();
    store.append(&lease, &answers).await.unwrap();
    store.append(&lease, &[JournalRecord::closed(&Outcome::default(), 0)]).await.unwrap();
    assert_eq!(store.remove(&["a1".to_owned()]).await.unwrap(), 1);
    let bytes = folder.path().join("runs.db").metadata().unwrap().len();
    assert!(bytes < 200_000, "{bytes} bytes for an empty store");
}

#[tokio::test]
async fn answers_are_cached_by_request_and_age() {
    for Stores { name, store, .. } in stores() {
        let request = llmspell::to_value(&json!({"model": "m", "question": 1})).unwrap();
        assert_eq!(store.find(&request, None).await.unwrap(), None, "{name}");
        store.keep(&request, &"one".into()).await.unwrap();
        store.keep(&request, &"two".into()).await.unwrap();
        let hour = Duration::from_secs(3_600);
        assert_eq!(store.find(&request, Some(hour)).await.unwrap(), Some("two".into()), "{name}");
        assert_eq!(store.remove_answers(hour).await.unwrap(), 0, "{name}");
        assert_eq!(store.remove_answers(Duration::ZERO).await.unwrap(), 1, "{name}");
        assert_eq!(store.find(&request, None).await.unwrap(), None, "{name}");
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The state in which a retention test leaves a run.
#[derive(Clone, Copy)]
enum Ending {
    Done,
    Died,
    InDoubt,
    Running,
}

/// Adds a run that started at the current time of the test's clock and has one answer of `size` bytes.
async fn add_run(stores: &Stores, id: &str, ending: Ending, size: usize) {
    let Stores { store, clock, .. } = stores;
    let run = NewRun { started: clock.now(), ..new_run(id) };
    let lease = store.create(&run).await.unwrap();
    store.append(&lease, &[done("main#1", 1, format!("{id}{}", "x".repeat(size)))]).await.unwrap();
    let start = JournalRecord::Started { effect: post("main#2"), began: Duration::from_micros(5) };
    match ending {
        Ending::Done => store.append(&lease, &[JournalRecord::closed(&Outcome::default(), 0)]).await.unwrap(),
        Ending::Died => store.release(&lease).await.unwrap(),
        Ending::InDoubt => {
            store.append(&lease, &[start]).await.unwrap();
            store.release(&lease).await.unwrap();
        }
        Ending::Running => {}
    }
}

async fn ids(store: &Arc<dyn RunStore>) -> Vec<String> {
    let mut ids: Vec<_> = store.list().await.unwrap().runs.into_iter().map(|run| run.info.run_id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn old_runs_are_removed_once_a_day_unless_they_run_or_are_in_doubt() {
    for stores in stores() {
        let Stores { name, store, clock, .. } = &stores;
        let endings = [Ending::Done, Ending::Died, Ending::InDoubt, Ending::Running];
        for (id, ending) in ["done", "died", "doubt", "running"].into_iter().zip(endings) {
            add_run(&stores, id, ending, 2_000).await;
        }
        clock.forward(20 * DAY);
        add_run(&stores, "later", Ending::Done, 2_000).await;
        clock.forward(10 * DAY + Duration::from_secs(1));
        let retention = Retention::default();
        let swept = sweep(&**store, &retention, SweepStart::IfDue, Duration::MAX).await.unwrap();
        assert_eq!((swept.runs, swept.in_doubt, swept.running, swept.is_done), (2, 1, 1, true), "{name}");
        assert_eq!(ids(store).await, ["doubt", "later", "running"], "{name}");
        assert_eq!(store.load("done").await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");

        clock.forward(DAY / 2);
        let retention = Retention { age: Some(DAY), ..retention };
        let early = sweep(&**store, &retention, SweepStart::IfDue, Duration::MAX).await.unwrap();
        assert_eq!(early, SweptRuns { is_done: true, ..SweptRuns::default() }, "{name}");
        clock.forward(DAY / 2);
        let due = sweep(&**store, &retention, SweepStart::IfDue, Duration::MAX).await.unwrap();
        assert_eq!((due.runs, due.in_doubt, due.running), (1, 1, 1), "{name}");
        assert_eq!(ids(store).await, ["doubt", "running"], "{name}");
        // Those that stayed are whole.
        assert_eq!(store.load("doubt").await.unwrap().in_doubt().count(), 1, "{name}");
    }
}

#[tokio::test]
async fn the_oldest_runs_are_removed_from_a_large_store_and_never_those_of_the_last_day() {
    for stores in stores() {
        let Stores { name, store, clock, .. } = &stores;
        for at in 1..=8 {
            add_run(&stores, &format!("run{at}"), Ending::Done, 1_000_000).await;
            clock.forward(DAY);
        }
        add_run(&stores, "today1", Ending::Done, 1_000_000).await;
        add_run(&stores, "today2", Ending::Done, 1_000_000).await;
        let retention = Retention { age: None, bytes: Some(5_500_000) };
        let swept = sweep(&**store, &retention, SweepStart::Now, Duration::MAX).await.unwrap();
        assert_eq!(ids(store).await, ["run6", "run7", "run8", "today1", "today2"], "{name}");
        assert_eq!(swept.runs, 5, "{name}");
        assert!((4_900_000..5_300_000).contains(&swept.freed), "{name}: {swept:?}");
        let answer = store.answer("run7", &path("main#1")).await.unwrap().unwrap();
        assert_eq!(answer.as_str().map(str::len), Some(1_000_004), "{name}");
        let none = Retention { bytes: Some(0), ..retention };
        sweep(&**store, &none, SweepStart::Now, Duration::MAX).await.unwrap();
        assert_eq!(ids(store).await, ["run8", "today1", "today2"], "{name}: run8 is exactly a day old");
    }
}

#[tokio::test]
async fn a_blob_goes_when_no_run_has_used_it_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FakeClock(Arc::new(Mutex::new(SystemTime::now())));
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::with_clock(folder.path(), clock.read()));
    let blobs = || {
        let database = rusqlite::Connection::open(folder.path().join("runs.db")).unwrap();
        database.query_row("SELECT count(*) FROM blob", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for id in ["a1", "a2"] {
        let lease = store.create(&NewRun { started: clock.now(), ..new_run(id) }).await.unwrap();
        store.append(&lease, &[done("main#1", 1, "x".repeat(5_000))]).await.unwrap();
        store.append(&lease, &[JournalRecord::closed(&Outcome::default(), 0)]).await.unwrap();
    }
    assert_eq!(blobs(), 1, "two runs share it");
    store.remove(&["a1".to_owned(), "a2".to_owned()]).await.unwrap();
    assert_eq!(blobs(), 1, "the next run may use it again");
    clock.forward(DAY - Duration::from_secs(1));
    sweep(&*store, &Retention::default(), SweepStart::Now, Duration::MAX).await.unwrap();
    assert_eq!(blobs(), 1);
    clock.forward(Duration::from_secs(1));
    sweep(&*store, &Retention::default(), SweepStart::Now, Duration::MAX).await.unwrap();
    assert_eq!(blobs(), 0);
}
