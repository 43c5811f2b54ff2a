//! `llmspell test`: its reports about tests that pass, fail or cannot run, and the recordings that it writes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::support::{Folder, Seen, examples, finish, folder, seen};

const MOCK: &str = "note: MOCK_LLM is set: using the mock provider\n";

const GREET: &str = r#"
local answer, err = llm.chat("Greet " .. (params.name or "nobody"))
if not answer then
    error(err)
end
print(answer)
return {answer = answer}
"#;

/// Replaces each case's duration by `TIME`.
fn masked(seen: Seen) -> Seen {
    let line = |line: &str| match line.rsplit_once("  ") {
        Some((before, time)) if line.starts_with("  ok") || line.starts_with("  FAIL") => {
            let is_time = time.starts_with(|letter: char| letter.is_ascii_digit()) && time.ends_with('s');
            format!("{before}  {}\n", if is_time { "TIME" } else { time })
        }
        _ => format!("{line}\n"),
    };
    Seen { stdout: seen.stdout.lines().map(line).collect(), ..seen }
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn greet(test: &str) -> Folder {
    folder(&[("greet/main.luau", GREET), ("greet/tests/greet.luau", test)])
}

#[test]
fn every_example_passes_its_tests() {
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        // In an empty working folder, and with an environment without any provider.
        let folder = folder(&[]);
        let mut command = folder.command(&["test", path.to_str().unwrap()]);
        let ran = finish(command.env_remove("MOCK_LLM").env("OPENAI_BASE_URL", "no address"));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}{}", ran.stdout, path.display());
        let closing = ran.stdout.lines().last().unwrap();
        let passed: usize = closing.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(closing, format!("{passed} passed, 0 failed, 0 skipped"));
        assert!(passed >= 2, "{}: {closing}", path.display());
    }
}

#[test]
fn what_fails_is_shown_with_its_place_and_what_was_expected() {
    let folder = greet(
        r#"
test.case("is right", function()
    test.equal(test.run({name = "Ada"}, {model = {"Hello!"}}).output, "Hello!\n")
end)
test.case("is wrong", function()
    print("looking")
    test.equal(test.run({}, {model = {"Hello!"}}).value, {answer = "Hi!"})
end)
test.case("is another text", function()
    test.equal("one\ntwo\nthree\n", "one\n2\nthree\n")
end)
test.case("is not recorded", function()
    test.run()
end)
test.skip("is not ready", function() end)
"#,
    );
    let shown = "\
tests/greet.luau
  ok    is right  TIME
  FAIL  is wrong  TIME
  FAIL  is another text  TIME
  FAIL  is not recorded  TIME
  skip  is not ready

FAIL tests/greet.luau > is wrong
  error: the values differ at `answer`
    at tests/greet.luau:7
    expected  \"Hi!\"
    found     \"Hello!\"
  it printed
    looking

FAIL tests/greet.luau > is another text
  error: the values differ
    at tests/greet.luau:10
    --- expected
    +++ found
    @@ -1,3 +1,3 @@
     one
    -2
    +two
     three

FAIL tests/greet.luau > is not recorded
  error: there is no recording tests/recordings/greet/is-not-recorded.jsonl to answer main#1 models.chat
    at tests/greet.luau:13
  hint: `llmspell test --update` records it

1 passed, 3 failed, 1 skipped
";
    assert_eq!(masked(folder.run(&["test", "greet"])), seen(1, shown, ""));
}

#[test]
fn what_is_recorded_in_one_folder_plays_in_another() {
    let spell = r#"
local paths = assert(fs.glob(spell.dir .. "/notes/*.txt"))
for _, path in paths do
    assert(not fs.write("out/" .. path, llm.chat(assert(fs.read(path)) .. spell.run_id)))
end
return {paths, fs.list("out/" .. spell.dir .. "/notes"), assert(fs.read(params.other)), storage.append("log", "x")}
"#;
    let test = r#"
test.case("reads and writes", function()
    local run = test.run({other = "OTHER"})
    test.equal(run.error, nil)
    test.equal(run.value, {{"./notes/a.txt"}, {"a.txt"}, "elsewhere"})
    test.snapshot(run)
end)
"#;
    let manifest =
        "name: note\nparameters: {other: string}\npermissions: {read: [notes, out], write: [out]}\n";
    let first = folder(&[
        ("spell/spell.yaml", manifest),
        ("spell/main.luau", spell),
        ("spell/notes/a.txt", "a note"),
        ("other.txt", "elsewhere"),
    ]);
    let other = first.path().join("other.txt").to_str().unwrap().to_owned();
    first.write("spell/tests/note.luau", &test.replace("OTHER", &other));
    let grant = format!("--allow-read={other}");
    let ran = first.run(&["test", "spell", "--update", "--allow-asked", &grant]);
    assert_eq!(
        masked(ran),
        seen(0, "tests/note.luau\n  ok    reads and writes  TIME\n\n1 passed, 0 failed, 0 skipped\n", MOCK)
    );
    let kept =
        ["tests/recordings/note/reads-and-writes.jsonl", "tests/snapshots/note/reads-and-writes.1.txt"];
    let all = ["main.luau", "notes/a.txt", "spell.yaml", "tests/note.luau", kept[0], kept[1]];
    assert_eq!(files(&first.path().join("spell")), all, "what the spell wrote is gone");
    for file in kept {
        let text = fs::read_to_string(first.path().join("spell").join(file)).unwrap();
        let folder = first.path().join("spell");
        assert!(!text.contains(folder.to_str().unwrap()) && !text.contains("llmspell-test-"), "{text}");
    }

    let second = folder(&[]);
    for file in all {
        let text = fs::read_to_string(first.path().join("spell").join(file)).unwrap();
        second.write(&format!("deep/er/{file}"), &text);
    }
    drop(first);
    fs::remove_dir_all(second.path().join("deep/er/notes")).unwrap();
    let ran = second.run(&["test", "deep/er"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert_eq!(second.run(&["test", second.path().join("deep/er").to_str().unwrap()]).code, 0);
}

#[test]
fn a_spell_that_asks_for_something_else_than_it_did_fails() {
    let test = r#"test.case("greets", function() test.snapshot(test.run({name = "Ada"}).output) end)"#;
    let folder = greet(test);
    assert_eq!(folder.run(&["test", "greet", "--update", "-q"]).code, 0);
    assert_eq!(folder.run(&["test", "greet"]).code, 0);
    let fails = |spell: &str, error: &str| {
        folder.write("greet/main.luau", spell);
        let ran = folder.run(&["test", "greet"]);
        assert!(ran.stdout.contains(error), "{}", ran.stdout);
        assert!(
            ran.stdout.contains("`llmspell test --update`")
                && ran.stdout.ends_with("\n0 passed, 1 failed, 0 skipped\n")
        );
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    };
    fails(
        &GREET.replace("Greet ", "Salute "),
        "error: main#1 models.chat differs at `messages[1].content`: it was \"Greet Ada\" when it was recorded, and is \"Salute Ada\" now\n    at tests/greet.luau:1\n",
    );
    fails(
        &GREET.replace("print(answer)", "print(answer, llm.chat('more'))"),
        "error: main#2 models.chat is not recorded; the nearest recording, main#1, models.chat differs at",
    );
    fails(
        "print('mock: Greet Ada')",
        "error: the recording holds main#1 models.chat, which the spell did not ask for\n",
    );
    fails(
        &GREET.replace("print(answer)", "print(answer .. '!')"),
        "error: this is not what tests/snapshots/greet/greets.1.txt holds\n    at tests/greet.luau:1\n    --- expected\n    +++ found\n    @@ -1 +1 @@\n    -mock: Greet Ada\n    +mock: Greet Ada!\n",
    );
    // After an update, it passes again.
    assert_eq!(folder.run(&["test", "greet", "--update", "-q"]).code, 0);
    assert_eq!(folder.run(&["test", "greet"]).code, 0);
    fs::remove_file(folder.path().join("greet/tests/snapshots/greet/greets.1.txt")).unwrap();
    let ran = folder.run(&["test", "greet"]);
    assert!(
        ran.stdout.contains("error: there is no snapshot tests/snapshots/greet/greets.1.txt\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_was_not_granted_when_it_was_recorded_is_denied_again() {
    let folder = folder(&[
        ("main.luau", "local text, err = fs.read('data/a.txt') if not text then error(err) end return text"),
        ("spell.yaml", "permissions: {read: [data]}"),
        ("data/a.txt", "hello"),
        ("tests/a.luau", "test.case('reads', function() test.equal(test.run().value, 'hello') end)"),
    ]);
    let denied = |words: &[&str]| {
        let ran = folder.run(words);
        assert_eq!(ran.code, 1);
        assert!(ran.stdout.contains("expected  \"hello\"\n    found     null\n"), "{}", ran.stdout);
        ran.stderr
    };
    let data = folder.path().join("data");
    let note = format!("{MOCK}note: asked for and not granted: read files in {}\n", data.display());
    assert_eq!(denied(&["test", "--update"]), note);
    assert_eq!(denied(&["test"]), "");
    assert_eq!(folder.run(&["test", "--update", "--allow-asked", "-q"]).code, 0);
    assert_eq!(folder.run(&["test"]).code, 0);
}

#[test]
fn what_is_scripted_must_be_enough_and_must_be_met() {
    let cases = [
        (r#"test.run({}, {model = {}})"#, "`model` scripts 0 answers, and the spell asks for more"),
        (
            r#"test.run({}, {model = {"a"}, fail = {["net.fetch"] = "down"}})"#,
            "`fail`: the spell did nothing that is named `net.fetch`",
        ),
        (
            r#"test.run({}, {model = {"a"}, fail = {models = {message = "down", at = 2}}})"#,
            "`fail`: number 2 of `models` was to fail, and there were 1",
        ),
        (
            r#"test.run({}, {modl = {}})"#,
            "argument 2 (`options`): `RunOptions` has no field `modl`; it has `model`, `http`, `input`, `fail`",
        ),
        (
            r#"test.run({}, {model = {{cut = "a", text = "b"}}})"#,
            "an answer has one of `text`, `tool_calls`, `status`, `cut` and `bad_json`",
        ),
        (r#"test.run({}, {fail = {models = {kind = "bad"}}})"#, "`bad` is not a kind of error"),
        (r#"assert(llm.chat("hi"))"#, "a test does no models.chat itself: what is live is off"),
        (r#"assert(fs.read("main.luau"))"#, "a test does no files.read itself: what is live is off"),
        (r#"assert(http.get("http://example.com"))"#, "a test does no net.fetch itself: what is live is off"),
        (r#"assert(storage.get("key"))"#, "a test does no storage.get itself: what is live is off"),
    ];
    let test: String = cases
        .iter()
        .enumerate()
        .map(|(number, (code, _))| format!("test.case('{number}', function() {code} end)\n"))
        .collect();
    let folder = greet(&test);
    let ran = folder.run(&["test", "greet"]);
    for (number, (code, error)) in cases.iter().enumerate() {
        let expected = format!(
            "FAIL tests/greet.luau > {number}\n  error: {error}\n    at tests/greet.luau:{}\n",
            number + 1
        );
        assert!(ran.stdout.contains(&expected), "{code}: {}", ran.stdout);
    }
    assert_eq!(ran.code, 1);
}

#[test]
fn faults_pass_the_real_client() {
    let folder = greet(
        r#"
local function run(...)
    return test.run({}, {model = {...}})
end
test.case("is tried again", function()
    local tries = run({status = 429, retry_after = 0}, {status = 500}, "Hello!")
    test.equal({tries.value, tries.calls}, {{answer = "Hello!"}, 1})
end)
test.case("is given up", function()
    local busy = {status = 503}
    local tries = run(busy, busy, busy)
    test.equal({tries.error.kind, tries.error.status, tries.error.attempts}, {"overloaded", 503, 3})
end)
test.case("is not tried again", function()
    test.equal(run({status = 401}).error.kind, "auth")
    test.equal(run({status = 400}).error.attempts, 1)
    test.equal(run({status = 429, retry_after = 86400}).error.attempts, 1)
end)
test.case("is no answer", function()
    test.equal(run({bad_json = true}, {cut = "Hel"}).error.kind, "bad_response")
    test.equal(run({bad_json = true}, "Hello!").value, {answer = "Hello!"})
end)
test.case("is slow", function()
    test.equal(run({text = "Hello!", delay = 0.05}).value, {answer = "Hello!"})
end)
test.case("is another error", function()
    local failed = test.run({}, {fail = {models = {kind = "quota", message = "spent"}}})
    test.equal({failed.error.kind, failed.error.message, failed.calls}, {"quota", "spent", 1})
end)
"#,
    );
    let ran = folder.run(&["test", "greet"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\n6 passed, 0 failed, 0 skipped\n"));
    assert_eq!(files(&folder.path().join("greet")), ["main.luau", "tests/greet.luau"]);
}

#[test]
fn a_fallback_is_the_one_of_the_manifest_or_of_the_flags() {
    let folder = folder(&[
        ("spell.yaml", "models: {default: openai/gpt-5.4-mini, fallback: [anthropic/claude-sonnet-5]}"),
        ("main.luau", "return assert(llm.generate {messages = {{role = 'user', content = 'hi'}}}).provider"),
    ]);
    let busy = "{status = 503}, {status = 503}, {status = 503}, 'Hello!'";
    let scripted = format!(
        "test.case('one', function() test.equal(test.run({{}}, {{model = {{{busy}}}}}).value, 'anthropic') end)"
    );
    folder.write("tests/scripted.luau", &scripted);
    folder.write(
        "tests/recorded.luau",
        "test.case('one', function() test.equal(test.run().value, 'mock') end)",
    );
    // The mock is not replaced by the manifest's model, which is not configured here.
    let update =
        |more: &[&str]| folder.run(&[&["test", "--update", "-q", "--filter=recorded"], more].concat());
    let ran = update(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let ran = folder.run(&["test"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(update(&["--fallback=mock/echo-large"]).code, 0);
    let kept = fs::read_to_string(folder.path().join("tests/recordings/recorded/one.jsonl")).unwrap();
    assert!(kept.lines().next().unwrap().contains(r#""fallback":["mock/echo-large"]"#), "{kept}");
}

#[test]
fn what_ends_a_file_fails_what_is_left_of_it_and_no_other_file() {
    let hungry = "local all = {} while true do table.insert(all, string.rep('x', 1000000) .. #all) end";
    let folder = folder(&[
        ("main.luau", GREET),
        ("a.test.luau", "test.case('one', function() local x = = 1 end)"),
        (
            "tests/b.luau",
            &format!(
                "test.case('one', function() end)\ntest.case('two', function() {hungry} end)\ntest.case('three', function() end)\ntest.skip('four')"
            ),
        ),
        ("tests/c.luau", "return 1"),
        ("tests/d.luau", "test.case('one', function() end)\ntest.case('One', function() end)"),
        ("tests/e.luau", "test.case('one', function() test.case('inner', function() end) end)"),
        ("tests/f.luau", "test.case('one', function() require('./lib/shared')(1) end)"),
        ("tests/lib/shared.luau", "return function(one) test.equal(one, 1) end"),
    ]);
    let shown = "\
a.test.luau
  FAIL  (the file)
tests/b.luau
  ok    one  TIME
  FAIL  two  TIME
  FAIL  three
  skip  four
tests/c.luau
  FAIL  (the file)
tests/d.luau
  FAIL  one
tests/e.luau
  FAIL  one  TIME
tests/f.luau
  ok    one  TIME

FAIL a.test.luau > (the file)
  error: Expected identifier when parsing expression, got '='
    at a.test.luau:1:39
      1 | test.case('one', function() local x = = 1 end)
        |                                       ^

FAIL tests/b.luau > two
FAIL tests/b.luau > three
  error: the spell reached its memory limit of 128MB

FAIL tests/c.luau > (the file)
  error: the file has no case
  hint: `test.case` adds one; what tests share is at home in `tests/lib`

FAIL tests/d.luau > one
  error: there is a case `One` already, or one that is kept by that name
    at tests/d.luau:2
  hint: what it keeps is named `one`: give each case a name of its own

FAIL tests/e.luau > one
  error: the case `inner` stands within the case `one`
    at tests/e.luau:1
  hint: cases stand side by side; a loop may name many

2 passed, 6 failed, 1 skipped
";
    assert_eq!(masked(folder.run(&["test"])), seen(1, shown, ""));
}

#[test]
fn a_file_that_takes_its_time_to_name_its_cases_names_them_all() {
    // Longer than a script may run before it must yield; the first case could begin during the yield.
    let test = "for number = 1, 3 do
    test.case(`case {number}`, function() end)
    local sum = 0
    for step = 1, 3_000_000 do sum += step end
end";
    let folder = greet(test);
    let seen = folder.run(&["test", "greet"]);
    assert!(seen.stdout.ends_with("3 passed, 0 failed, 0 skipped\n"), "{seen:?}");
}

#[test]
fn cases_are_chosen_and_told_as_json() {
    let folder = greet("test.case('one', function() end)\ntest.case('other', function() error('x') end)");
    let ran = folder.run(&["test", "greet", "--filter", "greet.luau > one", "--output=json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["cases"].as_array().unwrap().len(), 1);
    assert_eq!((&json["cases"][0]["name"], &json["cases"][0]["state"]), (&"one".into(), &"passed".into()));
    assert_eq!((&json["passed"], &json["failed"], ran.code), (&1.into(), &0.into(), 0));
    let none = "error: no case is named like `none`\nhint: it is looked for in `file > name of the case`\n";
    assert_eq!(folder.run(&["test", "greet", "--filter=none"]), seen(2, "", none));
}

#[test]
fn what_cannot_be_tested_is_wrong_use() {
    let folder = folder(&[("plain/main.luau", GREET), ("lone.luau", GREET), ("two/main.luau", GREET)]);
    folder.write("two/tests/a.luau", "");
    folder.write("two/a.test.luau", "");
    for (spell, error) in [
        (
            "plain",
            "error: the spell `plain` has no tests\nhint: a test is a script in its folder `tests`, or one named like main.test.luau\n",
        ),
        (
            "lone.luau",
            "error: `lone` is a lone script, which has no tests\nhint: tests belong to a folder with a main script\n",
        ),
        (
            "two",
            "error: a.test.luau and tests/a.luau would keep their recordings in one place\nhint: give one of them another name\n",
        ),
    ] {
        assert_eq!(folder.run(&["test", spell]), seen(2, "", error));
    }
    assert_eq!(folder.run(&["test", "none"]).code, 2);
    for flag in ["--allow-asked", "--allow-net=example.com", "-A", "-m=mock/echo", "--max-in-flight=2"] {
        let ran = folder.run(&["test", "plain", flag]);
        assert_eq!(ran.code, 2, "{flag}");
        assert!(ran.stderr.contains("--update"), "{flag}: {}", ran.stderr);
    }
}

#[test]
fn what_no_case_uses_is_named_and_removed_anew() {
    let folder = greet("test.case('old', function() test.snapshot(test.run().output) end)");
    assert_eq!(folder.run(&["test", "greet", "--update", "-q"]).code, 0);
    folder.write("greet/tests/greet.luau", "test.case('new', function() test.run() end)");
    assert_eq!(folder.run(&["test", "greet", "--update", "-q", "--filter=new"]).code, 0);
    let kept = ["tests/recordings/greet/old.jsonl", "tests/snapshots/greet/old.1.txt"];
    let notes: String =
        kept.iter().map(|file| format!("note: no case uses {file}; --update removes it\n")).collect();
    let ran = folder.run(&["test", "greet"]);
    assert_eq!((ran.code, ran.stderr), (0, notes));
    assert_eq!(folder.run(&["test", "greet", "--update", "-q"]).code, 0);
    assert_eq!(
        files(&folder.path().join("greet")),
        ["main.luau", "tests/greet.luau", "tests/recordings/greet/new.jsonl"]
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_tests_and_leaves_nothing_behind() {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = greet(
        r#"test.case("quick", function() end)
        test.case("slow", function() test.run({}, {model = {{text = "Hello!", delay = 600}}}) end)"#,
    );
    let temporary = tempfile::tempdir().unwrap();
    let mut command = folder.command(&["test", "greet", "--update", "-q"]);
    let command = command.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(stdout.next().unwrap().unwrap(), "tests/greet.luau");
    assert!(stdout.next().unwrap().unwrap().starts_with("  ok    quick"));
    // The next case has begun when its copy of the spell exists.
    while fs::read_dir(temporary.path()).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: the run was cancelled\n");
    assert!(stdout.next().is_none());
    assert_eq!(files(&folder.path().join("greet")), ["main.luau", "tests/greet.luau"]);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
