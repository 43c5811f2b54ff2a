//! Recordings do not depend on the language of the spell.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llmspell::capability::{Clock, Models, Random};
use llmspell::effect::Permit;
use llmspell::llm::{Client, Mock};
use llmspell::{ErrorKind, Outcome, Recording, Result, RunBuilder, Runtime, Spell};
use serde_json::Value as Json;

/// One of each effect: complete and streamed model calls, storage and files, time, randomness, steps, errors.
const LUAU: &str = r#"
print(llm.chat("Hello " .. params.name))
storage.set("seen", { params.name, 2 })
print(storage.get("seen")[1], storage.update("count", function(count) return (count or 0) + 1 end))
storage.write("notes.txt", "one\n")
local notes = storage.read("notes.txt")
print(notes, (select(2, storage.read("none.txt"))).kind)
print(time.now(), crypto.uuid())
time.sleep(0.01)
local text = ""
llm.stream_chat("one two three", function(piece)
    text ..= piece
    storage.set("last", piece)
end)
print(text)
print(spell.step("plan", function() return llm.chat("inside") end))
local talk = llm.conversation({ system = "Be brief." })
print(talk:send("one"), talk:send("two"))
local reply = llm.generate({ messages = { { role = "user", content = "?" } }, max_tokens = 5 })
print(reply.text, (select(2, llm.chat("x", { provider = "nobody" }))).kind)
llm.chat_async("aside", function(answer) print(answer) end)
return text
"#;

const JAVASCRIPT: &str = r#"
console.log(await llm.chat(`Hello ${params.name}`));
await storage.set("seen", [params.name, 2]);
console.log(`${(await storage.get("seen"))[0]}\t${await storage.update("count", (count) => (count ?? 0) + 1)}`);
await storage.write("notes.txt", "one\n");
console.log(`${await storage.read("notes.txt")}\t${(await storage.read("none.txt").catch((error) => error)).kind}`);
console.log(`${time.now()}\t${crypto.uuid()}`);
await time.sleep(0.01);
let text = "";
await llm.streamChat("one two three", async (piece) => {
    text += piece;
    await storage.set("last", piece);
});
console.log(text);
console.log(await spell.step("plan", () => llm.chat("inside")));
const talk = llm.conversation({ system: "Be brief." });
console.log(`${await talk.send("one")}\t${await talk.send("two")}`);
const reply = await llm.generate({ messages: [{ role: "user", content: "?" }], maxTokens: 5 });
console.log(`${reply.text}\t${(await llm.chat("x", { provider: "nobody" }).catch((error) => error)).kind}`);
llm.chatAsync("aside", (answer) => console.log(answer));
export default text;
"#;

struct Still;

impl Clock for Still {
    fn now(&self, _: Permit) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn ticks(&self, _: Permit) -> Duration {
        Duration::ZERO
    }
}

impl Random for Still {
    fn fill(&self, _: Permit, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0xab);
        Ok(())
    }
}

fn runtime(folder: &Path) -> Runtime {
    let models = Client::builder().mock(Mock::new()).build().unwrap();
    Runtime::builder()
        .models(Arc::new(models) as Arc<dyn Models>)
        .clock(Arc::new(Still))
        .random(Arc::new(Still))
        .storage(folder.join("storage"))
        .build()
        .unwrap()
}

fn wait(cast: RunBuilder) -> Outcome {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(cast.start().outcome())
}

/// Runs a script and records it. Returns the outcome and the recording.
fn record(name: &str, script: &str) -> (Outcome, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, runtime) = (folder.path().join("run.jsonl"), runtime(folder.path()));
    let spell = Spell::from_source(name, script).unwrap();
    let outcome = wait(runtime.run(spell).param("name", "Ada").record(&file));
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    (outcome, Recording::read(&file).unwrap().text().unwrap())
}

/// Replays a recording with a script, without models and without storage.
fn replay(name: &str, script: &str, recording: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::builder().storage(folder.path()).build().unwrap();
    let spell = Spell::from_source(name, script).unwrap();
    wait(runtime.run(spell).replay(Recording::parse(recording).unwrap()))
}

/// Returns a recording without the names of its run and its spell's version.
fn without_names(recording: &str) -> Vec<Json> {
    let mut lines: Vec<Json> = recording.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let head = lines[0].as_object_mut().unwrap();
    assert!(head.remove("run_id").is_some() && head.remove("digest").is_some());
    lines
}

#[test]
fn twins_are_recorded_alike() {
    let ((luau, of_luau), (javascript, of_javascript)) =
        (record("twin.luau", LUAU), record("twin.js", JAVASCRIPT));
    assert_eq!((&luau.output, &luau.value), (&javascript.output, &javascript.value));
    assert_eq!(without_names(&of_luau), without_names(&of_javascript));
}

#[test]
fn a_recording_plays_in_either_language() {
    let scripts = [("twin.luau", LUAU), ("twin.js", JAVASCRIPT)];
    for (name, script) in scripts {
        let (live, recording) = record(name, script);
        for (name, script) in scripts {
            let again = replay(name, script, &recording);
            assert!(again.error.is_none(), "{:?}", again.error);
            assert_eq!((&again.output, &again.value), (&live.output, &live.value));
        }
    }
}

/// A Luau promise is a task with its own effect numbers. JavaScript has no tasks, and numbers calls in order.
#[test]
fn what_runs_at_once_plays_in_its_own_language_alone() {
    let luau = (
        "tasks.luau",
        "return promise.all({ promise.spawn(llm.chat, 'one'), promise.spawn(llm.chat, 'two') }):await()",
    );
    let javascript = ("tasks.js", "export default Promise.all([llm.chat('one'), llm.chat('two')]);");
    for ((name, script), other) in [(luau, javascript), (javascript, luau)] {
        let (live, recording) = record(name, script);
        let again = replay(name, script, &recording);
        assert!(again.error.is_none(), "{:?}", again.error);
        assert_eq!(again.value, live.value);
        assert_eq!(replay(other.0, other.1, &recording).error.unwrap().kind(), ErrorKind::Replay);
    }
}
