//! The answer cache: if the script allows it, a cached answer is used, no model is called and nothing is paid.

use crate::support::{Folder, folder, seen};

const SPELL: &str = r#"
local cache = tonumber(params.cache) or params.cache == "true"
local request = {messages = {{role = "user", content = "question"}}, cache = cache}
local reply, err = llm.generate(request)
if not reply then error(err) end
console.write(`{reply.text} {reply.cached or false} {reply.usage.output_tokens}`)
llm.stream_chat(request, function(piece) console.write(` [{piece}]`) end)
print()
"#;

const MANIFEST: &str = "entry: main.luau\nparameters: {cache: {type: string}}\n";

fn run(folder: &Folder, cache: &str, words: &[&str]) -> (i32, String, String) {
    let cache = format!("cache={cache}");
    let words: Vec<&str> = ["run", "spell", &cache].iter().chain(words).copied().collect();
    let ran = folder.run(&words);
    let used = ran.stderr.lines().filter(|line| line.contains(" model call"));
    (ran.code, ran.stdout, used.map(str::to_owned).collect())
}

#[test]
fn what_was_answered_before_is_not_asked_again() {
    let folder = folder(&[("spell/main.luau", SPELL), ("spell/spell.yaml", MANIFEST)]);
    let one = |cached: &str, used: &str| {
        (0, format!("mock: question {cached} [mock: question]\n"), used.to_owned())
    };
    let said = |cached: &str, used: &str| {
        (0, format!("mock: question {cached} [mock: ] [question]\n"), used.to_owned())
    };
    let asked_twice = said("false 4", "note: 2 model calls, 12→8 tokens, free, TIME");
    assert_eq!(run(&folder, "false", &[]), asked_twice, "nothing is kept that is not to be");
    // The stream uses the cached answer of the first call.
    let asked_once = one("false 4", "note: 1 model call, 6→4 tokens, free, TIME");
    assert_eq!(run(&folder, "3600", &["--no-journal"]), asked_twice, "nor where nothing is");
    assert_eq!(run(&folder, "3600", &[]), asked_once);
    assert_eq!(run(&folder, "true", &["--max-calls=1"]), one("true 0", ""), "it is no call");
    assert_eq!(
        run(&folder, "true", &["-m", "mock/echo-large"]).2,
        "note: 1 model call, 6→4 tokens, $0.0000, TIME"
    );

    let recording = folder.path().join("run.jsonl");
    let record = format!("--record={}", recording.display());
    assert_eq!(run(&folder, "true", &[&record]).1, one("true 0", "").1);
    let replayed = folder.run(&["run", "spell", &format!("--replay={}", recording.display())]);
    assert_eq!(replayed, seen(0, &one("true 0", "").1, ""));

    let pruned = folder.run(&["runs", "prune", "--all"]);
    assert!(pruned.stderr.ends_with(" runs removed, 2 answers out of the cache\n"), "{}", pruned.stderr);
    assert_eq!(run(&folder, "true", &[]), asked_once);
    let refused = run(&folder, "-1", &[]);
    assert_eq!(refused.0, 1);
}
