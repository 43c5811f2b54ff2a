//! Runs that are recorded, replayed, inspected and resumed.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Folder, Seen, finish, folder, seen};

const SPELL: &str = r#"
print("begin")
for _, answer in promise.all({
    promise.spawn(function() return llm.chat("one") end),
    promise.spawn(function() return llm.chat("two") end),
}):await() do
    print(answer)
end
storage.append("log", "x")
print(storage.read("log"))
if params.hang then
    while true do end
end
return storage.read("log")
"#;

const SAID: &str = "begin\nmock: one\nmock: two\nx\n";

/// Runs the spell until its time limit. Returns the run's id.
fn stopped(folder: &Folder) -> String {
    let ran = folder.run(&["run", "spell.luau", "hang=yes", "--timeout=1s"]);
    let run = newest(folder);
    let note = format!(
        "note: MOCK_LLM is set: using the mock provider\n\
         note: 2 model calls, 10→6 tokens, free, TIME\n\
         error: the spell reached its wall limit of 1s\n\
         note: `llmspell runs resume {}` goes on where it stopped\n",
        &run[..16]
    );
    assert_eq!(ran, seen(5, SAID, &note));
    run
}

fn newest(folder: &Folder) -> String {
    let runs: Value = serde_json::from_str(&folder.run(&["runs", "--output=json"]).stdout).unwrap();
    runs[0]["run_id"].as_str().unwrap().to_owned()
}

/// Masks times and ids, which vary.
fn masked(text: &str, run: &str) -> String {
    let text = text.replace(run, "ID").replace(&run[..16], "ID");
    let words = |line: &str| {
        let mut words: Vec<&str> = line.split("  ").collect();
        let is_time = |word: &str| {
            word.trim().starts_with(|letter: char| letter.is_ascii_digit()) && word.ends_with('s')
        };
        if let Some(last) = words.last_mut().filter(|word| is_time(word)) {
            *last = "TIME";
        }
        words.join("  ")
    };
    text.lines().map(|line| words(line) + "\n").collect()
}

#[test]
fn a_recording_plays_again_without_the_world() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let recorded = folder.run(&["run", "spell.luau", "-q", "--record=run.jsonl"]);
    assert_eq!(recorded, seen(0, &format!("{SAID}x\n"), ""));
    let again = ["run", "spell.luau", "--replay=run.jsonl"];
    for _ in 0..3 {
        assert_eq!(folder.run(&again), recorded);
    }
    // A replay does not look for providers either.
    let mut alone = folder.command(&again);
    assert_eq!(finish(alone.env_remove("MOCK_LLM").env("OPENAI_BASE_URL", "no address")), recorded);
    assert_eq!(folder.run(&["runs"]), seen(0, "", "note: no run is kept yet\n"));

    folder.write("spell.luau", &SPELL.replace("two", "three"));
    let differs = "error: main.2#1 models.chat differs at `messages[1].content`: it was \"two\" when it was recorded, \
                   and is \"three\" now\n\
                   hint: nothing was asked of the world; if the spell has changed, record it anew\n";
    assert_eq!(folder.run(&again), seen(8, "begin\n", differs));
    let given = folder.run(&["run", "spell.luau", "--replay=run.jsonl", "name=Ada"]);
    assert_eq!((given.code, given.stdout.as_str()), (2, ""));
    assert!(given.stderr.contains("'--replay <FILE>' cannot be used with"), "{}", given.stderr);
    assert_eq!(folder.run(&["run", "spell.luau", "--replay=none.jsonl"]).code, 2);
}

#[test]
fn a_run_that_stopped_goes_on_without_doing_or_saying_anything_again() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let run = stopped(&folder);
    // The limits start anew; a spell that hangs reaches them again.
    let again = folder.run(&["runs", "resume", &run, "--timeout=1s", "-q"]);
    assert_eq!((again.code, again.stdout.as_str()), (5, ""));

    folder.write("spell.luau", &SPELL.replace("params.hang", "false"));
    let changed = format!(
        "error: the spell has changed since run {run} began\n\
         hint: `llmspell runs resume {run} --changed` goes on with it as it is now\n"
    );
    assert_eq!(folder.run(&["runs", "resume", &run]), seen(2, "", &changed));
    assert_eq!(folder.run(&["run", "spell.luau", "--resume", &run]), seen(2, "", &changed));
    let resumed = folder.run(&["runs", "resume", &run[..16], "--changed", "-q"]);
    assert_eq!(resumed, seen(0, "x\n", ""), "appended once, and only the value is new");
    // The run has succeeded, so nothing is left to do; resuming prints its value again.
    assert_eq!(folder.run(&["runs", "resume", &run, "--changed", "-q"]), seen(0, "x\n", ""));
}

#[test]
fn a_run_goes_on_from_another_folder_as_in_its_own() {
    let folder = folder(&[("spells/spell.luau", SPELL), ("elsewhere/note", "")]);
    let ran = folder.run(&["run", "spells/spell.luau", "-q", "hang=yes", "--timeout=1s"]);
    assert_eq!(ran.code, 5);
    let run = newest(&folder);
    let mut resume = folder.command(&["runs", "resume", &run, "--timeout=1s", "-q"]);
    let again = finish(resume.current_dir(folder.path().join("elsewhere")));
    assert_eq!(again, seen(5, "", "error: the spell reached its wall limit of 1s\n"));
}

#[test]
fn runs_are_listed_shown_compared_and_removed() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let run = stopped(&folder);
    let shown = folder.run(&["runs", "show", &run[..20]]);
    let expected = "\
run     ID
spell   spell
param   hang = \"yes\"
began   now
state   failed after TIME
error   the spell reached its wall limit of 1s
models  2 calls, 10→6 tokens, cost free

main
├─ task 1
│  └─ models.chat  mock/echo  5→3 tokens  free  TIME
├─ task 2
│  └─ models.chat  mock/echo  5→3 tokens  free  TIME
├─ storage.append  log  TIME
└─ storage.read  log  TIME
";
    let text = masked(&shown.stdout, &run).replace("after 1.0", "after  1.0");
    let text: String = text
        .lines()
        .map(|line| match line.split_once("failed after") {
            Some((before, _)) => format!("{before}failed after TIME\n"),
            None => format!("{line}\n"),
        })
        .collect();
    assert_eq!((shown.code, text.as_str(), shown.stderr.as_str()), (0, expected, ""));

    let whole: Value =
        serde_json::from_str(&folder.run(&["runs", "show", &run, "--output=json"]).stdout).unwrap();
    assert_eq!((&whole["state"], &whole["error"]["kind"]), (&"failed".into(), &"limit.wall".into()));
    let effects: Vec<_> =
        whole["effects"].as_array().unwrap().iter().map(|it| (&it["at"], &it["operation"])).collect();
    assert_eq!(effects.len(), 4, "{effects:?}");

    folder.write("spell.luau", &SPELL.replace("two", "three"));
    assert_eq!(folder.run(&["run", "spell.luau", "-q"]).code, 0);
    let other = newest(&folder);
    let differences = "main#2 storage.read  answer: \"x\" → \"xx\"\n\
                       main#3 storage.read  only in the second\n\
                       main.2#1 models.chat  request.messages[1].content: \"two\" → \"three\"\n";
    assert_eq!(folder.run(&["runs", "diff", &run, &other]), seen(1, differences, ""));
    assert_eq!(folder.run(&["runs", "diff", &run, &run]), seen(0, "", ""));

    let listed = folder.run(&["runs"]).stdout;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["RUN", "STATE", "BEGAN", "TOOK", "CALLS", "COST", "SPELL"]);
    let states: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1], row[4])).collect();
    assert_eq!(states, [(&other[..16], "done", "2"), (&run[..16], "failed", "2")]);
    assert_eq!(folder.run(&["runs", "-n1"]).stderr, "note: 1 more; -n 2 lists them all\n");

    assert_eq!(folder.run(&["runs", "prune"]), seen(0, "", "note: 0 runs removed\n"), "they are not old");
    assert_eq!(folder.run(&["runs", "prune", &run]), seen(0, "", "note: 1 run removed\n"));
    assert_eq!(folder.run(&["runs", "prune", "--all"]), seen(0, "", "note: 1 run removed\n"));
    let none = format!("error: there is no run `{run}`\nhint: `llmspell runs` lists them\n");
    assert_eq!(folder.run(&["runs", "show", &run]), seen(2, "", &none));
}

#[test]
fn what_does_nothing_or_must_not_be_kept_is_not_kept() {
    let folder = folder(&[("spell.luau", SPELL), ("plain.luau", "print('hi')")]);
    assert_eq!(folder.run(&["run", "plain.luau"]), seen(0, "hi\n", ""));
    assert!(!folder.path().join(".state").exists());
    assert_eq!(folder.run(&["run", "spell.luau", "--no-journal", "-q"]).code, 0);
    assert!(!folder.path().join(".state/llmspell/runs").exists());
    assert_eq!(folder.run(&["runs"]).stderr, "note: no run is kept yet\n");
    // Prompts are private, so only the user may read the folder.
    assert_eq!(folder.run(&["run", "spell.luau", "-q"]).code, 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(".state/llmspell/runs")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_run_with_all_permissions_is_listed_resumed_and_replayed() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let recorded = folder.run(&["run", "spell.luau", "-q", "-A", "--record=run.jsonl"]);
    assert_eq!(recorded, seen(0, &format!("{SAID}x\n"), ""));
    assert_eq!(folder.run(&["run", "spell.luau", "--replay=run.jsonl"]), recorded);

    assert_eq!(folder.run(&["run", "spell.luau", "-q", "-A", "hang=yes", "--timeout=1s"]).code, 5);
    let run = newest(&folder);
    assert_eq!(folder.run(&["runs", "show", &run]).code, 0);
    assert_eq!(folder.run(&["runs", "resume", &run, "--timeout=1s", "-q"]).code, 5);
    assert_eq!(folder.run(&["runs", "prune", "--all"]), seen(0, "", "note: 1 run removed\n"));
}

#[test]
fn damaged_rows_hide_no_other_run_and_can_be_removed() {
    let folder = folder(&[("spell.luau", "storage.write('key', params.at)")]);
    for at in 0..20 {
        assert_eq!(folder.run(&["run", "spell.luau", "-q", &format!("at={at}")]).code, 0);
    }
    let listed: Value = serde_json::from_str(&folder.run(&["runs", "--output=json"]).stdout).unwrap();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 20);
    let database = rusqlite::Connection::open(folder.path().join(".state/llmspell/runs/runs.db")).unwrap();
    let damage = [
        "info = '{'",
        "info = x'ff00'",
        "info = '[]'",
        "info = json_set(info, '$.params', 7)",
        "error = 'no JSON'",
        "usage = '{\"input_tokens\": -1}'",
        "started = 'yesterday'",
        "ended = x'00'",
        "model_calls = 'many'",
        "said = 'nothing'",
    ];
    for (how, id) in damage.iter().zip(&ids) {
        database.execute(&format!("UPDATE run SET {how} WHERE id = '{id}'"), []).unwrap();
    }
    // A damaged effect affects only its run.
    database.execute(&format!("UPDATE effect SET request = '{{' WHERE run = '{}'", ids[10]), []).unwrap();

    let list = folder.run(&["runs"]);
    assert_eq!((list.code, list.stdout.lines().count()), (0, 1 + 10), "{}", list.stdout);
    for id in &ids[..10] {
        let warning = format!("warning: run {id}: the journal is damaged: ");
        assert_eq!(list.stderr.matches(&warning).count(), 1, "{}", list.stderr);
        let shown = folder.run(&["runs", "show", id]);
        assert_eq!(shown.code, 8, "{}", shown.stderr);
        assert!(
            shown.stderr.contains(&format!("`llmspell runs prune {id}` removes this one")),
            "{}",
            shown.stderr
        );
    }
    let listed: Value = serde_json::from_str(&folder.run(&["runs", "--output=json"]).stdout).unwrap();
    let states: Vec<_> =
        listed.as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, [["done"; 10], ["damaged"; 10]].concat());
    assert!(folder.run(&["runs", "show", ids[10]]).stderr.contains(ids[10]));
    assert_eq!(folder.run(&["runs", "show", ids[11]]).code, 0);

    assert_eq!(folder.run(&["runs", "prune", ids[0]]), seen(0, "", "note: 1 run removed\n"));
    // The start of this damaged run is unknown, so it counts as old.
    assert_eq!(folder.run(&["runs", "prune"]), seen(0, "", "note: 1 run removed\n"));
    assert_eq!(folder.run(&["runs", "prune", "--all"]), seen(0, "", "note: 18 runs removed\n"));
    assert_eq!(folder.run(&["runs"]), seen(0, "", "note: no run is kept yet\n"));
}

#[test]
fn step_names_reach_no_terminal_and_no_recording_unescaped() {
    let spell = r#"
        spell.step("\x1b[2J\u{9b}\u{202e}\",\"ask\":\"x", function()
            storage.write("key", "value")
            if params.hang then while true do end end
        end)
    "#;
    let folder = folder(&[("spell.luau", spell)]);
    let traced = folder.run(&["run", "spell.luau", "-q", "--trace", "--record=run.jsonl"]);
    let path = r#"step(\u{1b}[2J\u{9b}\u{202e}","ask":"x)#1"#;
    assert!(traced.code == 0 && traced.stderr.contains(path), "{}", traced.stderr);
    assert_eq!(folder.run(&["run", "spell.luau", "-q", "--replay=run.jsonl"]).code, 0);
    let recording = fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    assert!(recording.contains(r#"{"at":"step(\u001b[2J"#), "{recording}");

    assert_eq!(folder.run(&["run", "spell.luau", "-q"]).code, 0);
    let kept = newest(&folder);
    let outputs = [
        folder.run(&["runs", "show", &kept]),
        folder.run(&["run", "spell.luau", "-q", "hang=yes", "--timeout=1s", "--trace"]),
        folder.run(&["runs", "diff", "run.jsonl", &kept]),
        folder.run(&["runs", "diff", &newest(&folder), &kept]),
        folder.run(&["runs", "resume", &newest(&folder), "-q", "--timeout=1s"]),
    ];
    // The server does not answer, so the request is in doubt when the run is resumed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("url=http://{}/", silent.local_addr().unwrap());
    folder.write(
        "post.luau",
        &spell.replace(
            r#"storage.write("key", "value")"#,
            "pcall(http.post, params.url, 'x', {timeout = 0.2}) while true do end",
        ),
    );
    assert_eq!(
        folder.run(&["run", "post.luau", "-q", "--allow-net=127.0.0.1", "--timeout=1s", &url]).code,
        5
    );
    let question = folder.run(&["runs", "resume", &newest(&folder)]);
    assert!(
        question.stderr.contains(&format!("\n  {} net.", path.replace("#1", "#2"))),
        "{}",
        question.stderr
    );
    for Seen { stdout, stderr, .. } in outputs.into_iter().chain([question]) {
        let text = stdout + &stderr;
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_run_goes_on_only_with_the_modules_that_it_loaded() {
    let luau = "print(require('./lib'), llm.chat('one')) print(require('./late')) error('stop')";
    let script = "import lib from './lib.mts'; console.log(lib, await llm.chat('one'));
                  console.log((await import('./late')).default); throw new Error('stop');";
    for (entry, text, lib, late, in_front) in [
        ("main.luau", luau, "lib.luau", "late.lua", "late.luau"),
        ("main.ts", script, "lib.mts", "late.ts", "late.mjs"),
    ] {
        let module = if entry == "main.luau" { "return 'v1'" } else { "export default 'v1'" };
        for spell in [entry, "."] {
            let folder = folder(&[(entry, text), (lib, module), (late, module)]);
            assert_eq!(folder.run(&["run", spell, "-q"]).code, 1);
            let run = newest(&folder);
            let goes_on = folder.run(&["runs", "resume", &run, "-q"]);
            assert_eq!((goes_on.code, goes_on.stdout.as_str()), (1, ""), "{spell}");
            for (file, now, change) in [
                (lib, Some("return 'v2'"), "changed"),
                (late, Some("return 'v2'"), "changed"),
                (late, None, "removed"),
                (in_front, Some("return 'v2'"), "created"),
            ] {
                match now {
                    Some(text) => folder.write(file, text),
                    None => fs::remove_file(folder.path().join(file)).unwrap(),
                }
                let error = format!(
                    "error: {file} was {change} since run {run} began\n\
                     hint: `llmspell runs resume {run} --changed` goes on with it as it is now\n"
                );
                assert_eq!(folder.run(&["runs", "resume", &run]), seen(2, "", &error), "{spell}");
                match file == in_front {
                    true => fs::remove_file(folder.path().join(file)).unwrap(),
                    false => folder.write(file, module),
                }
            }
            assert_eq!(folder.run(&["runs", "resume", &run, "-q"]), goes_on, "{spell}: all is as it was");
        }
    }
}

#[test]
fn a_state_folder_that_cannot_be_written_is_a_warning() {
    // A file exists in place of the state folder.
    let folder = folder(&[("spell.luau", "print(llm.chat('hi')) print(llm.chat('ho'))"), (".state", "")]);
    let ran = folder.run(&["run", "spell.luau", "-q"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "mock: hi\nmock: ho\n"));
    let warning = "warning: this run is not recorded and cannot be resumed: cannot create the folder ";
    assert!(ran.stderr.starts_with(warning) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    let listed = folder.run(&["runs"]);
    assert!(listed.code == 1 && listed.stderr.starts_with("error: cannot read "), "{listed:?}");
}

#[test]
fn what_a_killed_recording_holds_is_played_again() {
    let script = "for chunk in llm.stream('one two three') do print(chunk) end print(llm.chat('next'))";
    let folder = folder(&[("spell.luau", script)]);
    assert_eq!(folder.run(&["run", "spell.luau", "-q", "--record=run.jsonl"]).code, 0);
    // As a kill leaves it in the middle of the stream: chunks without an end, and a line that is cut.
    let recording = fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let (head, effects) = recording.split_once('\n').unwrap();
    let stream: Value = serde_json::from_str(effects.lines().next().unwrap()).unwrap();
    assert_eq!(stream["ask"], "models.stream");
    let at =
        |order: u64, chunk: &Value| json!({"at": stream["at"], "order": order, "chunk": chunk}).to_string();
    let start = json!({"at": stream["at"], "ask": stream["ask"], "request": stream["request"]}).to_string();
    let pieces = &stream["answer"]["pieces"];
    let lines = [
        head.to_owned(),
        start,
        at(1, &stream["answer"]["head"]),
        at(2, &pieces[0][1]),
        at(3, &pieces[1][1]),
        at(4, &pieces[2][1])[..20].to_owned(),
    ];
    folder.write("run.jsonl.partial", &lines.join("\n"));
    let played = folder.run(&["run", "spell.luau", "-q", "--replay=run.jsonl.partial"]);
    let printed = format!("{}\n{}\n", pieces[0][1].as_str().unwrap(), pieces[1][1].as_str().unwrap());
    assert_eq!((played.code, played.stdout.as_str()), (8, printed.as_str()), "{}", played.stderr);
    assert!(
        played.stderr.starts_with("error: the recorded run ended before main#1 did"),
        "{}",
        played.stderr
    );
}

#[test]
fn of_two_resumes_at_once_one_goes_on() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let run = stopped(&folder);
    let resume = || folder.command(&["runs", "resume", &run, "--timeout=2s", "-q"]);
    let mut first = resume().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The run shows as running as soon as the first resume has claimed it.
    let claimed = || {
        let listed: Value = serde_json::from_str(&folder.run(&["runs", "--output=json"]).stdout).unwrap();
        listed[0]["state"] == "running"
    };
    while !claimed() {
        assert!(first.try_wait().unwrap().is_none(), "the first resume ends by its limit of time only");
    }
    let refused = finish(&mut resume());
    assert_eq!(refused, seen(2, "", &format!("error: run {run} is under way\n")));
    assert_eq!(first.wait().unwrap().code(), Some(5));
}

#[test]
fn old_runs_go_at_the_end_of_a_run() {
    let folder = folder(&[("spell.luau", "return llm.chat('hello')")]);
    let words = ["run", "spell.luau", "-q"];
    assert_eq!(folder.run(&words).code, 0);
    let database = || rusqlite::Connection::open(folder.path().join(".state/llmspell/runs/runs.db")).unwrap();
    let count = || {
        let listed: Value = serde_json::from_str(&folder.run(&["runs", "--output=json"]).stdout).unwrap();
        listed.as_array().unwrap().len()
    };
    let sweep_is_due = "UPDATE swept SET at = 0";
    database()
        .execute_batch(&format!("UPDATE run SET started = started - 31 * 86400000; {sweep_is_due}"))
        .unwrap();
    let mut forever = folder.command(&words);
    assert_eq!(finish(forever.env("LLMSPELL_KEEP_RUNS", "forever")), seen(0, "mock: hello\n", ""));
    assert_eq!(count(), 2);
    let mut wrong = folder.command(&words);
    let warning = "warning: old runs were not removed: LLMSPELL_KEEP_RUNS: ";
    assert!(finish(wrong.env("LLMSPELL_KEEP_RUNS", "long")).stderr.starts_with(warning));
    assert_eq!((folder.run(&words).code, count()), (0, 4), "one sweep a day");
    database().execute_batch(sweep_is_due).unwrap();
    assert_eq!((folder.run(&words).code, count()), (0, 4), "the old one is gone");
}
