//! The two streams: stdout belongs to the spell, stderr to the command.

use serde_json::{Value, json};

use crate::support::{examples, folder, run, seen};

#[test]
fn stdout_gets_what_was_printed_and_then_the_value() {
    for (source, stdout) in [
        ("print('hi', 5)", "hi\t5\n"),
        ("console.write('no line end')", "no line end"),
        ("print('a') return 'b'", "a\nb\n"),
        (
            "return {answer = 42, list = {1, 2}}",
            "{\n  \"answer\": 42,\n  \"list\": [\n    1,\n    2\n  ]\n}\n",
        ),
        ("return 1.5", "1.5\n"),
        ("return false", "false\n"),
        ("return nil", ""),
        // stdout is not a terminal, so output is unchanged.
        ("console.write('\\27[2J')", "\u{1b}[2J"),
    ] {
        assert_eq!(run(source, &[]), seen(0, stdout, ""), "{source}");
    }
}

const LOGS: &str = "log.debug('d') log.info('i', {file = 'a.txt'}) log.warn('w') print('out') log.error('e')";

#[test]
fn stderr_gets_the_log_from_the_level_asked_for() {
    for (flags, stderr) in [
        (&[][..], "info: i file=a.txt\nwarning: w\nerror: e\n"),
        (&["-v"], "debug: d\ninfo: i file=a.txt\nwarning: w\nerror: e\n"),
        (&["-q"], "warning: w\nerror: e\n"),
    ] {
        assert_eq!(run(LOGS, flags), seen(0, "out\n", stderr));
    }
}

#[test]
fn a_run_on_the_mock_says_so_when_it_first_calls_it() {
    let spell = examples().join("hello-llm");
    let spell = spell.to_str().unwrap();
    let used = "note: 1 model call, 17→14 tokens, free, TIME\n";
    let note = format!("note: MOCK_LLM is set: using the mock provider\n{used}");
    let hello = folder(&[]).run(&["run", spell, "name=Ada"]);
    assert_eq!((hello.code, &hello.stderr), (0, &note));
    assert!(hello.stdout.contains("Ada") && hello.stdout.ends_with('\n'), "{}", hello.stdout);
    assert_eq!(folder(&[]).run(&["run", spell, "name=Ada", "-q"]), seen(0, &hello.stdout, ""));
    // The note about the mock is omitted if the user names the mock, or if no model is called.
    assert_eq!(folder(&[]).run(&["run", spell, "name=Ada", "--provider", "mock"]).stderr, used);
    assert_eq!(run("print(1)", &[]), seen(0, "1\n", ""));
}

#[test]
fn json_is_one_object_with_everything() {
    let source = "print('p') log.info('l') llm.chat('hi') return {1}";
    let ran = run(source, &["--output", "json"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1));
    let outcome: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(outcome["value"], json!([1]));
    assert_eq!(outcome["output"], "p\n");
    assert_eq!(outcome["logs"][0]["message"], "l");
    assert_eq!(outcome["model_calls"], 1);
    assert_eq!(outcome.get("error"), None);

    for (source, words, code, kind) in [
        ("error('boom')", &[][..], 1, "runtime"),
        ("return nil", &["oops"], 2, "config"),
        ("while true do end", &["--timeout", "50ms"], 5, "limit.wall"),
    ] {
        let words: Vec<&str> = ["--output", "json"].iter().chain(words).copied().collect();
        let ran = run(source, &words);
        let outcome: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &outcome["error"]["kind"]), (code, &json!(kind)));
    }
}

#[test]
fn stream_json_is_one_event_a_line_and_the_outcome_last() {
    let source = "print('p') log.info('l') llm.stream_chat('hi', function() end) return 7";
    let ran = run(source, &["--output", "stream-json"]);
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(names, ["output", "log", "chunk", "usage", "outcome"]);
    assert_eq!(events[0], json!({"event": "output", "text": "p\n"}));
    assert_eq!(events.last().unwrap()["value"], 7);
    assert_eq!(ran.code, 0);
}

#[test]
fn the_prompt_goes_to_stderr_and_input_ends_with_nil() {
    let source = "for i = 1, 3 do print(i, (console.read_line(`{i}? `))) end";
    let ran = folder(&[("spell.luau", source)]).run_with_input(&["run", "spell.luau"], "one\r\ntwo");
    assert_eq!(ran, seen(0, "1\tone\n2\ttwo\n3\tnil\n", "1? 2? 3? "));
}
