//! `--lang`.

use crate::support::{folder, seen};

#[test]
fn the_language_chooses_the_entry_script() {
    let folder = folder(&[
        ("both/main.luau", "print('Luau')"),
        ("both/main.ts", "const language: string = 'TypeScript';\nconsole.log(language);"),
        ("named/spell.yaml", "entry: src/start.luau\nengine: luau\n"),
        ("named/src/start.luau", "print('Luau')"),
        ("named/src/start.js", "console.log('JavaScript');"),
        ("typed/main.mts", "const language: string = 'TypeScript';\nconsole.log(language);"),
        ("chosen/spell.yaml", "engine: typescript\n"),
        ("chosen/main.luau", "print('Luau')"),
        ("chosen/main.ts", "console.log('TypeScript');"),
    ]);
    for (words, said) in [
        (&["both"][..], "Luau\n"),
        (&["both", "--lang", "luau"], "Luau\n"),
        (&["both", "--lang", "ts"], "TypeScript\n"),
        (&["named"], "Luau\n"),
        (&["named", "--lang=js"], "JavaScript\n"),
        (&["both/main.ts", "--lang=ts"], "TypeScript\n"),
        // Each name and extension of a language is a key.
        (&["both", "--lang=lua"], "Luau\n"),
        (&["both", "--lang=TypeScript"], "TypeScript\n"),
        (&["both", "--lang=mts"], "TypeScript\n"),
        (&["named", "--lang=javascript"], "JavaScript\n"),
        (&["typed"], "TypeScript\n"),
        (&["typed", "--lang=ts"], "TypeScript\n"),
        // The manifest's engine selects the entry script.
        (&["chosen"], "TypeScript\n"),
    ] {
        assert_eq!(folder.run(&[&["run", "-q"], words].concat()), seen(0, said, ""), "{words:?}");
    }
    for (words, told) in [
        (
            ["both", "--lang=js"],
            "error: both has no entry script in JavaScript\nhint: it has main.luau and main.ts\n",
        ),
        (
            ["named", "--lang=ts"],
            "error: named has no entry script in TypeScript\nhint: it has src/start.luau and src/start.js\n",
        ),
        (["both/main.ts", "--lang=luau"], "error: both/main.ts is not written in Luau\n"),
    ] {
        assert_eq!(folder.run(&[&["run", "-q"], &words[..]].concat()), seen(2, "", told), "{words:?}");
    }
}

#[test]
fn a_run_goes_on_with_the_entry_that_it_had() {
    let folder = folder(&[
        ("both/main.luau", "return 'Luau: ' .. llm.chat('hi')"),
        ("both/main.ts", "export default `TypeScript: ${await llm.chat('hi')}`;"),
    ]);
    for (lang, said) in [("luau", "Luau: mock: hi\n"), ("ts", "TypeScript: mock: hi\n")] {
        assert_eq!(folder.run(&["run", "-q", "both", "--lang", lang]), seen(0, said, ""));
        let listed = folder.run(&["runs", "--output=json"]).stdout;
        let runs: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let newest = runs[0]["run_id"].as_str().unwrap();
        assert_eq!(folder.run(&["runs", "resume", "-q", newest]), seen(0, said, ""));
    }
}
