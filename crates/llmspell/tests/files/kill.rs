//! Storage with killed and with concurrent processes. `ROUNDS=200` runs longer.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use llmspell::{Event, Spell};

use crate::world::{World, permissions, runtime};

/// The variables that tell the child process its script and its folder.
const SCRIPT: &str = "LLMSPELL_TEST_SCRIPT";
const ROOT: &str = "LLMSPELL_TEST_ROOT";

#[test]
#[ignore = "the process that the other tests start: it runs a script and shows at once what that prints"]
fn child() {
    let (script, root) = (std::env::var(SCRIPT).unwrap(), PathBuf::from(std::env::var_os(ROOT).unwrap()));
    let runtime = runtime(&root);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let cast = runtime.run(Spell::from_source("test.luau", script).unwrap());
        let (run, mut events) = cast.permissions(permissions(&root)).start_with_events();
        // The events end when the run has ended.
        let outcome = tokio::spawn(run.outcome());
        let mut stdout = std::io::stdout();
        while let Some(event) = events.next().await {
            if let Event::Output { text } = event {
                stdout.write_all(text.as_bytes()).unwrap();
                stdout.flush().unwrap();
            }
        }
        outcome.await.unwrap().into_result().unwrap();
    });
}

pub(crate) fn start(world: &World, script: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(SCRIPT, script)
        .env(ROOT, world.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn no_finished_write_is_lost_and_no_store_is_damaged_by_a_kill() {
    let world = World::new();
    let rounds = std::env::var("ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut last = 0;
    for round in 0..rounds {
        let script = format!(
            r#"
            for number = {last} + 1, 1000000 do
                storage.set("key" .. number % 100, number)
                print("kept", number)
                storage.write("file" .. number % 10, (number .. " "):rep(1000))
                print("kept", number)
                storage.append("log", number .. "\n")
                print("kept", number)
            end"#
        );
        let mut child = start(&world, &script);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut kept = 0;
        // A different moment each time: after a number of writes, during the next one.
        let wanted = 3 + round * 37 % 101;
        for line in lines.by_ref().map_while(Result::ok) {
            kept += usize::from(line.starts_with("kept"));
            if kept >= wanted {
                break;
            }
        }
        for _ in 0..(round * 7919 % 50) * 1000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines that it printed before its death count too.
        kept += lines.map_while(Result::ok).filter(|line| line.starts_with("kept")).count();
        let finished = last + kept / 3;
        assert!(kept >= wanted, "round {round}: the child ended early");

        let found = world.value(
            r#"
            local newest = 0
            for _, key in storage.keys("key") do newest = math.max(newest, storage.get(key)) end
            for _, name in storage.list() do
                if name ~= "log" then
                    local text = storage.read(name)
                    local number = text:match("^%d+")
                    assert(text == (number .. " "):rep(1000), "a file is neither old nor new")
                end
            end
            local last
            for line in storage.read("log"):gmatch("(%d+)\n") do
                assert(not last or tonumber(line) > last, "a line is not whole")
                last = tonumber(line)
            end
            return {newest, last}"#,
        );
        let llmspell::Value::List(found) = found else { panic!("not a list") };
        let [newest, logged] = [0, 1].map(|at| match found[at] {
            llmspell::Value::Int(number) => usize::try_from(number).unwrap(),
            ref other => panic!("{other:?}"),
        });
        assert!(newest >= finished + usize::from(kept % 3 >= 1), "round {round}: {newest} of {finished}");
        assert!(logged >= finished, "round {round}: {logged} of {finished}");
        last = newest;
    }
    let database = rusqlite::Connection::open(world.storage().join("storage.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    world.value(r#"storage.write("last", "")"#);
    world.check();
}

#[test]
fn processes_that_count_together_lose_nothing() {
    let world = World::new();
    let script = r#"
        for round = 1, 200 do
            storage.update("count", function(count) return (count or 0) + 1 end)
            storage.append("log", "line\n")
        end"#;
    let children: Vec<_> = (0..3).map(|_| start(&world, script)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let found = world.lines(r#"return {tostring(storage.get("count")), tostring(#storage.read("log") / 5)}"#);
    assert_eq!(found, ["600", "600"]);
}

#[test]
fn the_first_use_by_many_processes_at_once_makes_one_storage() {
    let world = World::new();
    let children: Vec<_> =
        (0..6).map(|number| start(&world, &format!(r#"storage.set("key{number}", {number})"#))).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(world.lines("return storage.keys()").len(), 6);
}
