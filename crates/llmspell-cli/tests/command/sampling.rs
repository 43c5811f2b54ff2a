//! Sampling parameters that a model does not accept are omitted, and the user is warned once.

use crate::fallback::server;
use crate::support::{Folder, Seen, finish, folder};

const ANSWER: &str = r#"{"type": "message", "model": "claude-sonnet-5", "stop_reason": "end_turn", "content": [{"type": "text", "text": "short"}], "usage": {"input_tokens": 1, "output_tokens": 1}}"#;

const WARNING: &str =
    "warning: anthropic/claude-sonnet-5 does not take `temperature` and `top_p`: they were left out\n";

fn run(folder: &Folder, url: &str, words: &[&str]) -> Seen {
    let mut command = folder.command(words);
    command.env_remove("MOCK_LLM").env("ANTHROPIC_API_KEY", "key").env("ANTHROPIC_BASE_URL", url);
    finish(&mut command)
}

#[test]
fn a_temperature_that_a_model_refuses_is_warned_of_once_in_a_run_and_in_its_replay() {
    let (url, asked) = server(200, ANSWER);
    for (name, source) in [
        (
            "s.luau",
            "for _ = 1, 3 do assert(llm.chat('hi', {temperature = 0.2})) end\n\
             assert(llm.extract('hi', 'string', {temperature = 0.2}))\n\
             local agent = agents.create {name = 'a', temperature = 0.2}\n\
             assert(agent:run('hi'))\n\
             local question = {role = 'user', content = 'hi'}\n\
             return #assert(llm.generate {messages = {question}, top_p = 0.5}).warnings",
        ),
        (
            "s.js",
            "for (let i = 0; i < 3; i++) await llm.chat('hi', {temperature: 0.2});\n\
             await llm.extract('hi', 'string', {temperature: 0.2});\n\
             await agents.create({name: 'a', temperature: 0.2}).run('hi');\n\
             const reply = await llm.generate({messages: [{role: 'user', content: 'hi'}], topP: 0.5});\n\
             export default reply.warnings.length;",
        ),
    ] {
        let folder = folder(&[(name, source)]);
        let before = asked.lock().unwrap().len();
        let ran = run(&folder, &url, &["run", name, "--record", "r.json"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "{name}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches(WARNING).count(), 1, "{name}: {}", ran.stderr);
        assert_eq!(asked.lock().unwrap().len(), before + 6, "{name}");
        // The recorded request is unchanged.
        let recording = std::fs::read_to_string(folder.path().join("r.json")).unwrap();
        assert!(recording.contains("\"temperature\""), "{name}: {recording}");
        let again = run(&folder, &url, &["run", name, "--replay", "r.json"]);
        assert_eq!((again.code, again.stdout.as_str()), (0, "1\n"), "{name}: {}", again.stderr);
        assert_eq!(again.stderr.matches(WARNING).count(), 1, "{name}: {}", again.stderr);
        assert_eq!(asked.lock().unwrap().len(), before + 6, "{name}");
    }
}
