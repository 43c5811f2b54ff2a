//! The journal of a run is enough to replay the run and to resume it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use llmspell::capability::{ModelListing, ModelRef, Models, ProviderInfo};
use llmspell::chat::{ChatRequest, Delta, Reply, Usage};
use llmspell::effect::Permit;
use llmspell::llm::{Client, Mock};
use llmspell::{
    Claim, Error, ErrorKind, Event, InDoubt, Lease, OnUnavailable, Outcome, Permissions, Recording, Result,
    RunBuilder, RunIndex, RunState, RunStore, Runtime, Spell, SqliteStore, Value,
};

/// Returns the result of a store. A store in a folder never has to be awaited.
fn wait_for<T>(answer: BoxFuture<'_, Result<T>>) -> Result<T> {
    answer.now_or_never().unwrap()
}

/// Claims a run in order to resume it.
fn claim(store: &Arc<dyn RunStore>, id: &str) -> (Lease, RunIndex) {
    let run = wait_for(store.load(id)).unwrap();
    (wait_for(store.claim(id, Claim::IfFree)).unwrap(), run)
}

/// Answers each call after a different delay, and counts calls.
#[derive(Default)]
struct Shuffled {
    calls: AtomicUsize,
}

impl Shuffled {
    fn count(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn some_time() -> Duration {
    Duration::from_micros(u64::from(uuid::Uuid::now_v7().as_bytes()[15]) * 40)
}

impl Models for Shuffled {
    fn providers(&self) -> Vec<ProviderInfo> {
        Vec::new()
    }

    fn resolve(&self, _: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        Ok(ModelRef { provider: "test".into(), model: model.unwrap_or("shuffled").into() })
    }

    fn chat(&self, _: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(some_time()).await;
            let text = format!("{number}: {}", request.messages.last().unwrap().joined_text());
            let usage = Usage { input_tokens: 3, output_tokens: 5, ..Usage::default() };
            Ok(Reply { text, usage, ..Reply::default() })
        })
    }

    fn stream(
        &self,
        _: Permit,
        _: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let pieces = stream::iter(0..10).then(move |piece| async move {
            tokio::time::sleep(some_time() / 8).await;
            Ok(match piece {
                9 => Delta::End { reply: Box::default() },
                _ => Delta::Text { text: format!("{number}.{piece} ") },
            })
        });
        Box::pin(async { Ok(pieces.boxed()) })
    }

    fn list(&self, _: Permit, _: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        Box::pin(async { Ok(ModelListing::default()) })
    }

    fn count_tokens(&self, _: &str, _: &ModelRef) -> u64 {
        1
    }
}

/// Everything that affects the order: answers at random times, races, concurrent streams, handlers, timers, a loop,
/// storage.
const EVERYTHING: &str = r#"
    local calls = {}
    for i = 1, 50 do
        calls[i] = promise.spawn(function()
            local answer = llm.chat("question " .. i)
            print("answered", i, answer)
            return answer
        end):next(function(answer) print("handled", i) return answer end)
    end
    local streaming = promise.spawn(function()
        llm.stream_chat("tell", function(piece)
            print("piece", piece)
            storage.set("last piece", piece)
        end)
    end)
    print("first", promise.race {calls[1], calls[2], calls[3]}:await())
    local answers = promise.all(calls):await()
    streaming:await()
    llm.chat_async("aside", function(answer) print("aside", answer) end)
    local turn, text = 0, "begin"
    repeat
        turn += 1
        text = llm.chat(text .. turn)
        storage.append("turns.txt", text .. "\n")
    until turn == 5
    local late = promise.any {promise.delay(0.001):next(function() return "timer" end), llm and promise.spawn(llm.chat, "late")}
    print("any", late:await())
    print(crypto.uuid(), time.now(), storage.read("turns.txt"), storage.get("last piece"))
    while async.pending_count() > 0 do async.process_callbacks() end
    return answers
"#;

fn wait(cast: RunBuilder) -> Outcome {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(cast.start().outcome())
}

fn well(outcome: Outcome) -> Outcome {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

/// Waits for a run. Returns its outcome and what its listener received.
fn listen(cast: RunBuilder) -> (Outcome, String) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let (run, mut events) = cast.start_with_events();
        let outcome = run.outcome().await;
        let mut heard = String::new();
        while let Some(event) = events.try_next() {
            if let Event::Output { text } = event {
                heard.push_str(&text);
            }
        }
        (outcome, heard)
    })
}

#[test]
fn a_recorded_run_plays_again_byte_by_byte_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let spell = Spell::from_source("everything.luau", EVERYTHING).unwrap();
    let models = Arc::new(Shuffled::default());
    let live = Runtime::builder()
        .models(Arc::clone(&models) as _)
        .storage(folder.path().join("storage"))
        .build()
        .unwrap();
    let first = wait(live.run(spell.clone()).record(&file));
    assert!(first.error.is_none(), "{:?}", first.error);
    assert_eq!(first.model_calls, 58);

    // There are no models now, and the storage is empty.
    let offline = Runtime::builder().storage(folder.path().join("unused")).build().unwrap();
    for round in 0..100 {
        let again = wait(offline.run(spell.clone()).replay(Recording::read(&file).unwrap()));
        assert!(again.error.is_none(), "round {round}: {:?}", again.error);
        assert_eq!(again.output, first.output, "round {round}");
        assert_eq!(again.value, first.value);
        assert_eq!((again.usage, again.model_calls), (first.usage.clone(), first.model_calls));
    }
    assert_eq!(models.count(), 58);
    assert!(!folder.path().join("unused").exists());
}

#[test]
fn a_replay_that_asks_for_something_else_fails_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let models = Arc::new(Shuffled::default());
    let runtime = Runtime::builder().models(Arc::clone(&models) as _).build().unwrap();
    let spell = |text: &str| Spell::from_source("ask.luau", text).unwrap();
    let first = wait(runtime.run(spell("return llm.chat('one')")).record(&file));
    assert_eq!(first.into_result().unwrap(), "0: one".into());
    for (script, expected) in [
        (
            "return pcall(llm.chat, 'two')",
            "main#1 models.chat differs at `messages[1].content`: it was \"one\" when it was recorded, and is \"two\" now",
        ),
        (
            "llm.chat('one') return assert(llm.chat('one'))",
            "main#2 models.chat is not recorded; the nearest recording, main#1, asks the same",
        ),
    ] {
        let again = wait(runtime.run(spell(script)).replay(Recording::read(&file).unwrap()));
        let error = again.error.unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Replay, expected));
    }
    assert_eq!(models.count(), 1);
}

/// A server that counts its requests by the name in the path.
struct Counter {
    address: String,
    seen: Arc<Mutex<HashMap<String, usize>>>,
}

impl Counter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let counts = Arc::clone(&seen);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = [0; 4096];
                let length = connection.read(&mut request).unwrap();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                *counts.lock().unwrap().entry(path).or_insert(0) += 1;
                let _ = connection
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> HashMap<String, usize> {
        self.seen.lock().unwrap().clone()
    }
}

#[test]
fn a_run_that_failed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let counter = Counter::start();
    let script = r#"
        print("begin")
        local answer = llm.chat("question")
        assert(http.post(params.url .. "/one", "body"))
        storage.append("lines.txt", answer .. "\n")
        print("half")
        local wait = assert(http.get(params.url .. "/two"))
        print("more")
        for i = 1, params.spin do local t = {} end
        print("end")
        return {answer, storage.read("lines.txt")}
    "#;
    let spell = Spell::from_source("steps.luau", script).unwrap();
    let models = Arc::new(Shuffled::default());
    let runtime = Runtime::builder()
        .models(Arc::clone(&models) as _)
        .storage(folder.path().join("storage"))
        .build()
        .unwrap();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
    assert!(wait_for(store.list()).unwrap().runs.is_empty());
    let permissions = Permissions {
        net: "127.0.0.1".parse().map(|rule| llmspell::Grant::Only(vec![rule])).unwrap(),
        ..Permissions::default()
    };
    let cast = |spell: &Spell| {
        runtime
            .run(spell.clone())
            .param("url", format!("http://{}", counter.address))
            .param("spin", f64::MAX)
            .permissions(permissions.clone())
            .limits(|limits| limits.cpu = Duration::from_millis(200))
    };
    let (died, heard) = listen(cast(&spell).in_store(&store, OnUnavailable::Fail));
    assert_eq!(died.error.as_ref().unwrap().kind().as_str(), "limit.cpu");
    assert_eq!(heard, "begin\nhalf\nmore\n");

    assert_eq!(wait_for(store.resolve(&died.run_id[..9])).unwrap(), died.run_id);
    let (lease, kept) = claim(&store, &died.run_id);
    assert_eq!(kept.summary.state, RunState::Failed);
    assert_eq!(kept.summary.info.spell, "steps");
    assert_eq!(kept.in_doubt().count(), 0);
    let did: Vec<_> = kept.effects.iter().map(|effect| effect.path.to_string()).collect();
    assert_eq!(did, ["main#1", "main#2", "main#3", "main#4"]);

    // The same spell with a different end of its loop receives the same answers.
    let quick = Spell::from_source("steps.luau", script.replace("params.spin", "1")).unwrap();
    let (done, heard) = listen(runtime.run(quick).resume(&store, lease, kept, InDoubt::Fail));
    assert!(done.error.is_none(), "{:?}", done.error);
    assert_eq!(heard, "end\n", "what was printed is not printed again");
    assert_eq!(done.output, "begin\nhalf\nmore\nend\n");
    assert_eq!(done.value, vec!["0: question".into(), "0: question\n".into()].into());
    assert_eq!((done.run_id, models.count()), (died.run_id, 1));
    assert_eq!(counter.seen(), HashMap::from([("/one".to_owned(), 1), ("/two".to_owned(), 1)]));
    let summary = &wait_for(store.list()).unwrap().runs[0];
    assert_eq!((summary.state, summary.model_calls), (RunState::Done, 1));
    assert_eq!(wait_for(store.remove(std::slice::from_ref(&summary.info.run_id))).unwrap(), 1);
    assert!(wait_for(store.list()).unwrap().runs.is_empty());
}

#[test]
fn a_run_without_effects_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
    let spell = Spell::from_source("quiet.luau", "print('hello') return 1").unwrap();
    let runtime = Runtime::builder().build().unwrap();
    wait(runtime.run(spell).in_store(&store, OnUnavailable::Fail)).into_result().unwrap();
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_conversation_takes_as_much_again_for_twice_the_turns() {
    let size = |turns: usize| {
        let folder = tempfile::tempdir().unwrap();
        let script = "local c = llm.conversation {system = 'be brief'}
            for turn = 1, params.turns do c:send('turn ' .. turn .. (' and some more words'):rep(20)) end";
        let spell = Spell::from_source("talk.luau", script).unwrap();
        let runtime = Runtime::builder().models(Arc::new(Shuffled::default())).build().unwrap();
        let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
        let file = folder.path().join("run.jsonl");
        let turns = i64::try_from(turns).unwrap();
        wait(runtime.run(spell.clone()).param("turns", turns).in_store(&store, OnUnavailable::Fail))
            .into_result()
            .unwrap();
        wait(runtime.run(spell).param("turns", turns).record(&file)).into_result().unwrap();
        // Closing the last connection leaves the database in one file.
        drop(store);
        drop(runtime);
        let database = folder.path().join("runs/runs.db");
        (std::fs::metadata(database).unwrap().len(), std::fs::metadata(file).unwrap().len())
    };
    let sizes = [50, 100, 200].map(size);
    eprintln!("bytes of 50, 100 and 200 turns, in the database and in a recording: {sizes:?}");
    for (small, large) in [(sizes[0], sizes[1]), (sizes[1], sizes[2])] {
        assert!(large.0 * 10 <= small.0 * 22, "{sizes:?}");
        assert!(large.1 * 10 <= small.1 * 22, "{sizes:?}");
    }
}

#[test]
fn a_replay_keeps_its_order_when_the_script_is_stopped_for_its_neighbours() {
    // Each start takes long enough for the interrupt to stop some of them.
    let script = r"
        local calls = {}
        for i = 1, 60 do
            calls[i] = promise.spawn(function()
                for _ = 1, params.spin do local t = i end
                print(llm.chat('question ' .. i))
            end)
            for _ = 1, params.spin do local t = i end
        end
        promise.all(calls):await()
    ";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let spell = Spell::from_source("slow.luau", script).unwrap();
    let runtime = Runtime::builder().workers(1).models(Arc::new(Shuffled::default())).build().unwrap();
    let first = wait(runtime.run(spell.clone()).param("spin", 20_000).record(&file));
    assert!(first.error.is_none(), "{:?}", first.error);
    // Busy neighbours make a script yield sooner.
    let busy = Spell::from_source("busy.luau", "while true do end").unwrap();
    let neighbours: Vec<_> = (0..2).map(|_| runtime.run(busy.clone()).start()).collect();
    for round in 0..5 {
        let again = wait(runtime.run(spell.clone()).replay(Recording::read(&file).unwrap()));
        assert_eq!(again.output, first.output, "round {round}: {:?}", again.error);
    }
    drop(neighbours);
}

/// Fails a number of calls, and answers the rest.
struct Failing {
    inner: Shuffled,
    failures: AtomicUsize,
}

impl Models for Failing {
    fn providers(&self) -> Vec<ProviderInfo> {
        Vec::new()
    }

    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        self.inner.resolve(provider, model)
    }

    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        let fails = request.messages.last().unwrap().joined_text().contains("hard")
            && self
                .failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        match fails {
            true => Box::pin(async { Err(Error::new(ErrorKind::Overloaded, "too busy")) }),
            false => self.inner.chat(permit, request),
        }
    }

    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        self.inner.stream(permit, request)
    }

    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        self.inner.list(permit, provider)
    }

    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64 {
        self.inner.count_tokens(text, model)
    }
}

/// A runtime in this folder whose models fail this many hard questions.
fn failing(folder: &std::path::Path, failures: usize) -> (Runtime, Arc<Failing>) {
    let models = Arc::new(Failing { inner: Shuffled::default(), failures: AtomicUsize::new(failures) });
    let builder = Runtime::builder().models(Arc::clone(&models) as _).storage(folder.join("storage"));
    (builder.build().unwrap(), models)
}

#[test]
fn what_failed_last_is_tried_again_and_what_was_lived_through_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, models) = failing(folder.path(), 2);
    let script = r#"
        print("begin")
        local _, err = llm.chat("a hard question")
        print("lived through", err.kind)
        print(assert(llm.chat("an easy one")))
        print(assert(llm.chat("another hard question")))
        return "done"
    "#;
    let spell = Spell::from_source("tries.luau", script).unwrap();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
    let (failed, heard) = listen(runtime.run(spell.clone()).in_store(&store, OnUnavailable::Fail));
    assert_eq!(failed.error.unwrap().kind(), ErrorKind::Overloaded);
    assert_eq!(heard, "begin\nlived through\toverloaded\n0: an easy one\n");
    let (lease, kept) = claim(&store, &failed.run_id);
    let (done, heard) = listen(runtime.run(spell).resume(&store, lease, kept, InDoubt::Fail));
    assert_eq!((well(done).value, heard.as_str()), ("done".into(), "1: another hard question\n"));
    assert_eq!(models.inner.count(), 2);
}

#[test]
fn a_named_step_is_not_taken_again_even_when_the_spell_has_changed_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let (runtime, models) = failing(folder.path(), 2);
    let file = folder.path().join("run.jsonl");
    let script = r#"
        local plan = spell.step("plan", function()
            print("planning")
            return {llm.chat("one"), promise.spawn(llm.chat, "two"):await()}
        end)
        print("planned", plan[1], plan[2])
        local tries = 0
        local function work()
            tries += 1
            print("working", tries)
            return assert(llm.chat("hard"))
        end
        local _, err = spell.step("work", work)
        print("failed", err and err.kind)
        print(assert(spell.step("work", work)))
        return plan[1]
    "#;
    let spell = Spell::from_source("steps.luau", script).unwrap();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path().join("runs")));
    let (failed, heard) = listen(runtime.run(spell.clone()).in_store(&store, OnUnavailable::Fail));
    assert_eq!(heard, "planning\nplanned\t0: one\t1: two\nworking\t1\nfailed\toverloaded\nworking\t2\n");
    assert_eq!(failed.model_calls, 4);
    // The effect now has another number, and performing the function would fail.
    let changed = script
        .replace("local plan", "print('new', type(time.now()))\nlocal plan")
        .replace("llm.chat(\"one\")", "error(\"not again\")");
    let changed = Spell::from_source("steps.luau", changed).unwrap();
    let (lease, kept) = claim(&store, &failed.run_id);
    assert_eq!(kept.in_doubt().count(), 0);
    let done = wait(runtime.run(changed).resume(&store, lease, kept, InDoubt::Fail));
    let done = well(done);
    let output = "new\tnumber\nplanning\nplanned\t0: one\t1: two\nworking\t1\nfailed\tnil\n2: hard\n";
    assert_eq!((done.value, done.output.as_str()), ("0: one".into(), output));
    assert_eq!((done.model_calls, done.usage.output_tokens), (3, 15), "what was used before counts");
    assert_eq!(models.inner.count(), 3);

    // A recording with a failed and a completed step can be replayed.
    let (runtime, models) = failing(folder.path(), 1);
    let first = well(wait(runtime.run(spell.clone()).record(&file)));
    let again = well(wait(runtime.run(spell).replay(Recording::read(&file).unwrap())));
    assert_eq!((again.output, again.value), (first.output, first.value));
    assert_eq!((again.usage, again.model_calls), (first.usage, first.model_calls));
    assert_eq!(models.inner.count(), 3);
}

/// Two runs that llmspell 0.1 left behind in version 3 of the database: one that reached its limit of model calls, and
/// one whose process was killed during a request.
const JOURNAL_3: &[u8] = include_bytes!("fixtures/journal-3.db");

#[test]
#[expect(clippy::disallowed_methods, reason = "the test prepares a database")]
fn a_journal_of_an_earlier_version_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runs.db"), JOURNAL_3).unwrap();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::in_folder(folder.path()));
    let list = wait_for(store.list()).unwrap();
    let states: Vec<_> = list.runs.iter().map(|run| (run.info.spell.as_str(), run.state)).collect();
    assert_eq!(states, [("doubt", RunState::Died), ("old", RunState::Failed)]);
    assert!(list.damaged.is_empty());

    let models = Client::builder().mock(Mock::new()).build().unwrap();
    let runtime =
        Runtime::builder().models(Arc::new(models)).storage(folder.path().join("storage")).build().unwrap();
    let resume = |name: &str, source: &str| {
        let run = list.runs.iter().find(|run| run.info.spell == name).unwrap();
        let (lease, index) = claim(&store, &run.info.run_id);
        let spell = index.same_spell(Spell::from_source(&format!("{name}.luau"), source).unwrap()).unwrap();
        let in_doubt: Vec<_> = index.in_doubt().map(|effect| effect.path.to_string()).collect();
        (in_doubt, wait(runtime.run(spell).resume(&store, lease, index, InDoubt::Fail)))
    };
    let (in_doubt, old) = resume("old", include_str!("fixtures/journal-3.luau"));
    assert!(in_doubt.is_empty());
    let old = well(old);
    assert_eq!((old.output.as_str(), old.model_calls), ("one\ntwo\nthree\n", 6));
    let Value::List(value) = &old.value else { panic!("{:?}", old.value) };
    assert_eq!(value[..2], [2022.into(), "mock: a streamed answer".into()]);
    let (in_doubt, doubt) = resume("doubt", include_str!("fixtures/journal-3-doubt.luau"));
    assert_eq!(in_doubt, ["main#2"]);
    assert_eq!(doubt.error.unwrap().kind(), ErrorKind::Interrupted);
}
