//! Wrong use: each mistake has a message that says what to do, and the right exit code.

use std::io::Write;
use std::net::TcpListener;

use crate::support::{finish, folder, read_request, run, seen};

#[test]
fn a_spell_that_is_not_there_names_a_near_one() {
    let folder = folder(&[("greet.luau", ""), ("empty/notes.txt", "")]);
    for (spell, stderr) in [
        ("gret.luau", "error: there is no spell at gret.luau\nhint: did you mean `greet.luau`?\n"),
        (
            "empty",
            "error: empty is not a spell: it has no entry script\n\
             hint: add one of main.luau, main.lua, main.ts, main.mts, main.js, main.mjs, or name it as `entry` in spell.yaml\n",
        ),
    ] {
        assert_eq!(folder.run(&["run", spell]), seen(2, "", stderr));
    }
}

#[cfg(unix)]
#[test]
fn a_device_is_no_spell() {
    let stderr = "error: /dev/null is neither a folder nor a regular file\n\
                  hint: a spell is a folder with a main script, or a script file\n";
    assert_eq!(folder(&[]).run(&["run", "/dev/null"]), seen(2, "", stderr));
}

#[test]
fn a_manifest_that_is_wrong_names_the_field() {
    let folder = folder(&[("s/main.luau", "print(1)"), ("s/spell.yaml", "limits: {wall: soon}")]);
    let stderr =
        "error: s/spell.yaml: `limits.wall`: expected a time such as 60s, 250ms or 2m, found \"soon\"\n";
    assert_eq!(folder.run(&["run", "s"]), seen(2, "", stderr));
    folder.write("s/spell.yaml", "name: a\nname: b");
    let stderr = "error: s/spell.yaml: duplicate mapping key: name at line 2, column 1\n";
    assert_eq!(folder.run(&["run", "s"]), seen(2, "", stderr));
    folder.write("s/spell.yaml", "nmae: x");
    assert_eq!(folder.run(&["run", "s"]), seen(0, "1\n", "warning: s/spell.yaml: unknown key `nmae`\n"));
}

#[test]
fn flags_that_are_wrong_are_named() {
    for (words, message) in [
        (&["--timeout", "soon"][..], "invalid value 'soon' for '--timeout <TIME>': expected a time such as"),
        (&["--memory", "lots"], "invalid value 'lots' for '--memory <SIZE>': expected a size such as"),
        (&["--max-cost", "NaN"], "invalid value 'NaN' for '--max-cost <USD>': expected a sum of US dollars"),
        (&["--rpm", "0"], "invalid value '0' for '--rpm <COUNT>': expected a whole number from 1 on"),
        (&["--output", "xml"], "invalid value 'xml' for '--output <OUTPUT>'"),
        (&["-q", "-v"], "the argument '--quiet' cannot be used with '--verbose'"),
    ] {
        let ran = run("", words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.starts_with(&format!("error: {message}")), "{}", ran.stderr);
    }
}

#[test]
fn providers_and_models_that_are_not_there_name_usable_ones() {
    let chat = "local text, err = llm.chat('hi') if err then error(err) end";
    for words in [&["--provider", "opnai"][..], &["-m", "mock/mokc-large"]] {
        let ran = run(chat, words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("mock") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    let ran = run(chat, &["-m", "gpt-99"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("hint: MOCK_LLM is set: using the mock provider\n"), "{}", ran.stderr);
    let no_key = run(chat, &["--provider", "anthropic"]);
    assert_eq!(no_key.code, 2);
    assert!(no_key.stderr.contains("ANTHROPIC_API_KEY"), "{}", no_key.stderr);
}

#[test]
fn scripts_that_fail_say_where() {
    let ran = run("local x = = 1", &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.contains("\n  at spell.luau:1") && ran.stderr.contains("local x = = 1"),
        "{}",
        ran.stderr
    );

    let ran = run("local function shout()\n  error('boom')\nend\nshout()", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: boom\n  at spell.luau:2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("spell.luau:4"), "{}", ran.stderr);
}

#[test]
fn a_provider_that_refuses_the_key_ends_with_its_message_and_not_the_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = r#"{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        read_request(&mut socket);
        let length = body.len();
        write!(socket, "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    });
    let folder = folder(&[("spell.luau", "local text, err = llm.chat('hi') if err then error(err) end")]);
    let ran = finish(
        folder
            .command(&["run", "spell.luau"])
            .env_remove("MOCK_LLM")
            .env("OPENAI_API_KEY", "sk-secret")
            .env("OPENAI_BASE_URL", format!("http://{address}/v1")),
    );
    server.join().unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (6, ""), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("Incorrect API key provided.") && ran.stderr.contains("status 401"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("sk-secret") && !ran.stderr.contains("panicked"), "{}", ran.stderr);
}
