//! Parameters: all ways to pass them, and their precedence.

use crate::support::{folder, run, seen};

const SHOW: &str = "return params";
const MANIFEST: &str =
    "parameters: {name: {type: string, default: world}, times: integer, timeout: integer}\n";

#[test]
fn parameters_come_from_words_flags_and_a_file_and_the_later_wins() {
    let folder = folder(&[
        ("spell/main.luau", SHOW),
        ("spell/spell.yaml", MANIFEST),
        ("params.json", r#"{"name": "file", "times": 3}"#),
    ]);
    for (words, stdout) in [
        (&[][..], r#"{"name": "world"}"#),
        (&["name=Ada"], r#"{"name": "Ada"}"#),
        (&["--name=Ada", "--times=2"], r#"{"name": "Ada", "times": 2}"#),
        (&["--param", "name=a=b"], r#"{"name": "a=b"}"#),
        (&["--params-file", "params.json"], r#"{"name": "file", "times": 3}"#),
        (&["--params-file", "params.json", "times=4"], r#"{"name": "file", "times": 4}"#),
        (&["name=word", "--param", "name=flag"], r#"{"name": "word"}"#),
        // `timeout` is also a flag, so the parameter is written without dashes. Flags may follow parameters.
        (&["timeout=5", "--timeout=60s", "-q"], r#"{"name": "world", "timeout": 5}"#),
        // Parameters are data, never source code.
        (&[r#"name="..os.exit().."#], r#"{"name": "\"..os.exit().."}"#),
    ] {
        let words: Vec<&str> = ["run", "spell"].iter().chain(words).copied().collect();
        let shown: serde_json::Value = serde_json::from_str(stdout).unwrap();
        let stdout = format!("{}\n", serde_json::to_string_pretty(&shown).unwrap());
        assert_eq!(folder.run(&words), seen(0, &stdout, ""), "{words:?}");
    }
}

#[test]
fn a_spell_that_declares_none_takes_any_as_text() {
    let stdout = "{\n  \"anything\": \"1\",\n  \"other\": \"x y\"\n}\n";
    assert_eq!(run(SHOW, &["anything=1", "--other=x y"]), seen(0, stdout, ""));
}

#[test]
fn wrong_parameters_say_what_is_expected() {
    let folder = folder(&[
        ("spell/main.luau", SHOW),
        ("spell/spell.yaml", MANIFEST),
        ("list.json", "[1]"),
        ("broken.json", "{"),
    ]);
    let known =
        "hint: the parameters are name (string, default \"world\"), times (integer), timeout (integer)\n";
    let names = "hint: the spell's parameters are name, times, timeout\n";
    for (words, stderr) in [
        (
            &["times=often"][..],
            format!("error: parameter `times`: expected integer, found \"often\"\n{known}"),
        ),
        (&["nmae=Ada"], format!("error: there is no parameter `nmae`\n{known}")),
        (
            &["--nmae=Ada"],
            format!("error: there is no flag or parameter `--nmae`\nhint: did you mean `name=…`?\n{names}"),
        ),
        (
            &["--timeuot=5s"],
            format!(
                "error: there is no flag or parameter `--timeuot`\nhint: did you mean `--timeout` or `timeout=…`?\n{names}"
            ),
        ),
        (&["--name"], "error: the parameter `name` has no value\nhint: write name=value\n".into()),
        (&["--x=1"], format!("error: there is no flag or parameter `--x`\n{names}")),
        (&["Ada"], "error: expected name=value for a parameter, found `Ada`\n".into()),
        (&["--params-file", "list.json"], "error: list.json: expected a JSON object, found list\n".into()),
        (
            &["--params-file", "broken.json"],
            "error: broken.json: EOF while parsing an object at line 1 column 1\n".into(),
        ),
        (
            &["--params-file", "none.json"],
            "error: cannot read none.json: No such file or directory (os error 2)\n".into(),
        ),
    ] {
        let words: Vec<&str> = ["run", "spell"].iter().chain(words).copied().collect();
        assert_eq!(folder.run(&words), seen(2, "", &stderr), "{words:?}");
    }
}

#[test]
fn a_flag_that_swallows_nothing_is_what_is_wrong() {
    let folder = folder(&[
        ("s/main.luau", "print(params.url)"),
        ("s/spell.yaml", "parameters: {url: {type: string}}"),
    ]);
    let stderr = "error: the parameter `url` has no value\nhint: write url=value\n";
    assert_eq!(folder.run(&["run", "s", "--url", "http://x"]), seen(2, "", stderr));
    let stderr = "error: there is no spell at json\n\
                  hint: a spell is a folder with a main script, or a script file\n\
                  hint: there is no flag `--outptu`\n";
    assert_eq!(folder.run(&["run", "--outptu", "json", "s"]), seen(2, "", stderr));
}
