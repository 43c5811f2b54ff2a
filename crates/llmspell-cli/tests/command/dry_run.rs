//! `--dry-run` shows what would run, and runs nothing.

use serde_json::{Value, json};

use crate::support::{Folder, finish, folder, seen};

fn spell() -> Folder {
    folder(&[
        ("web/main.luau", "error('it ran')"),
        (
            "web/spell.yaml",
            "version: 1.2\nparameters: {url: {type: string, default: 'https://example.com'}, n: integer}\n\
             permissions: {net: [example.com, other.org], read: [texts]}\nlimits: {wall: 90s, cost: 0.5}\n\
             models: {default: openai/gpt-5}\n",
        ),
    ])
}

#[test]
fn it_reads_well() {
    let folder = spell();
    let texts = folder.path().join("web/texts");
    let out = folder.path().join("out");
    let words = [
        "run",
        "web",
        "n=3",
        "--dry-run",
        "--allow-net=example.com",
        "--allow-write=./out",
        "--timeout",
        "5m",
    ];
    let stdout = format!(
        "spell      web
version    1.2
engine     luau
entry      main.luau
parameter  url = \"https://example.com\"
           n = 3
asks to    reach example.com at any port: granted by a flag
           reach other.org at any port: not granted
           read files in {}: not granted
may        reach example.com at any port
           write files in {}
limits     cpu 30s, wall 300s, memory 128MB, output 16MB, tasks 10000, model_calls 1000, cost $0.5000
model      mock/echo
",
        texts.display(),
        out.display()
    );
    assert_eq!(folder.run(&words), seen(0, &stdout, ""));
}

#[test]
fn it_is_one_json_object() {
    let folder = spell();
    let ran =
        folder.run(&["run", "web", "--dry-run", "--allow-asked", "--output", "json", "-m", "echo-large"]);
    let texts = folder.path().join("web/texts");
    let asked = json!({
        "net": ["example.com", "other.org"], "read": [texts], "write": []
    });
    let nothing = json!({"net": [], "read": [], "write": []});
    let expected = json!({
        "spell": "web",
        "version": "1.2",
        "engine": "luau",
        "entry": "main.luau",
        "params": {"url": "https://example.com"},
        "permissions": {
            "asked": asked, "granted_by": {"allow_asked": asked}, "not_granted": nothing, "effective": asked
        },
        "limits": {
            "cpu_seconds": 30.0, "wall_seconds": 90.0, "memory_bytes": 128 << 20, "output_bytes": 16 << 20,
            "tasks": 10_000, "model_calls": 1_000, "tokens": null, "cost_usd": 0.5
        },
        "model": "mock/echo-large",
    });
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), expected);
}

#[test]
fn it_says_of_a_model_what_is_known_without_a_look_at_the_network() {
    let folder = folder(&[("s/main.luau", ""), ("s/spell.yaml", "models: {default: openai/manifests}")]);
    let local = "no key found: a run looks for Ollama on this machine, and else uses the mock provider";
    for (environment, words, model, note) in [
        (
            &[("OPENAI_API_KEY", "k"), ("OPENAI_MODEL", "other")][..],
            &[][..],
            json!("openai/manifests"),
            Value::Null,
        ),
        (&[("OPENAI_API_KEY", "k")], &["-m", "openai/n"], json!("openai/n"), Value::Null),
        (&[], &[], Value::Null, json!(local)),
        (&[], &["-m", "ollama/llama"], json!("ollama/llama"), Value::Null),
        (&[("MOCK_LLM", "1")], &[], json!("mock/echo"), Value::Null),
    ] {
        let words: Vec<_> = ["run", "s", "--dry-run", "--output", "json"].iter().chain(words).collect();
        let mut command = folder.command(&[]);
        let ran = finish(command.args(&words).env_remove("MOCK_LLM").envs(environment.iter().copied()));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
        let preview: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&preview["model"], &preview["note"]), (&model, &note), "{words:?}");
    }
}

#[test]
fn what_is_wrong_is_told_as_in_a_run() {
    let folder = spell();
    let stderr = "error: there is no spell at webb\nhint: did you mean `web`?\n";
    assert_eq!(folder.run(&["run", "webb", "--dry-run"]), seen(2, "", stderr));
    let ran = folder.run(&["run", "web", "n=x", "--dry-run"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.starts_with("error: parameter `n`: expected integer"), "{}", ran.stderr);
}
