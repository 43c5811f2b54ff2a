//! A task of several steps, solved with a function of the script, a method of a bridge and another agent.

use std::sync::Arc;

use llmspell::capability::Models;
use llmspell::llm::{Client, ProtocolKind, ProviderConfig};
use llmspell::{Outcome, Runtime, Spell};
use serde_json::json;

use crate::server::{Answer, PROTOCOLS, Server};

const LUAU: &str = r#"
    local scout = agents.create {name = "scout", description = "Finds out who makes a thing."}
    local agent = agents.create {
        name = "clerk",
        system_prompt = "You answer questions of customers.",
        tools = {
            {
                name = "price",
                description = "Tells the price of a thing.",
                parameters = {thing = "string"},
                run = function(args) return {euros = if args.thing == "lamp" then 40 else 2} end,
            },
            "text.similarity",
            scout,
        },
    }
    local said = ""
    local function tell(event)
        if event.type == "text" then
            said ..= event.text
            return
        end
        if said ~= "" then print(`{event.turn} says {said}`) end
        said = ""
        if event.type == "tool_call" then
            print(`{event.turn} calls {event.name}`)
        elseif event.type == "tool_result" then
            print(`{event.turn} {event.name}: {event.content} {event.is_error} {event.untrusted}`)
        else
            print(`{event.turn} {event.type}`)
        end
    end
    if params.stream then
        assert(not agent:stream("Who makes the lamp, and what is it?", tell))
    else
        local result = assert(agent:run("Who makes the lamp, and what is it?", {on_event = tell}))
        assert(result.text == "The lamp costs 40 euros; ACME makes it.")
        assert(result.turns == 3 and result.tool_calls == 3 and result.usage.output_tokens == 20)
    end
    return #agent.messages
"#;

const JAVASCRIPT: &str = r#"
    const scout = agents.create({name: "scout", description: "Finds out who makes a thing."});
    const agent = agents.create({
        name: "clerk",
        systemPrompt: "You answer questions of customers.",
        tools: [
            {
                name: "price",
                description: "Tells the price of a thing.",
                parameters: {thing: "string"},
                run: async ({thing}) => ({euros: thing === "lamp" ? 40 : 2}),
            },
            "text.similarity",
            scout,
        ],
    });
    let said = "";
    const tell = (event) => {
        if (event.type === "text") {
            said += event.text;
            return;
        }
        if (said) console.log(`${event.turn} says ${said}`);
        said = "";
        if (event.type === "tool_call") console.log(`${event.turn} calls ${event.name}`);
        else if (event.type === "tool_result") console.log(`${event.turn} ${event.name}: ${event.content} ${event.is_error} ${event.untrusted}`);
        else console.log(`${event.turn} ${event.type}`);
    };
    if (params.stream) {
        await agent.stream("Who makes the lamp, and what is it?", tell);
    } else {
        const result = await agent.run("Who makes the lamp, and what is it?", {onEvent: tell});
        if (result.text !== "The lamp costs 40 euros; ACME makes it.") throw new Error(result.text);
        if (result.turns !== 3 || result.tool_calls !== 3 || result.usage.output_tokens !== 20) throw new Error("counts");
    }
    export default agent.messages.length;
"#;

const TOLD: &str = "\
1 says I look.
1 usage
1 calls price
1 calls text_similarity
1 text_similarity: 1.0 false true
1 price: {\"euros\":40} false true
2 says And who?
2 usage
2 calls scout
2 scout: ACME. false true
3 says The lamp costs 40 euros; ACME makes it.
3 usage
";

fn answers() -> Vec<Answer> {
    vec![
        Answer::calls(
            "I look.",
            &[("price", json!({"thing": "lamp"})), ("text_similarity", json!({"a": "lamp", "b": "lamp"}))],
        ),
        Answer::calls("And who?", &[("scout", json!({"input": "Who makes the lamp?"}))]),
        Answer::text("ACME."),
        Answer::text("The lamp costs 40 euros; ACME makes it."),
    ]
}

fn run(protocol: ProtocolKind, server: &Server, language: &str, source: &str, stream: bool) -> Outcome {
    let config = ProviderConfig::new("p", protocol, &server.url).unwrap().default_model("m").key("sk-test");
    let models = Client::builder().provider(config).build().unwrap();
    let runtime = Runtime::builder().workers(1).models(Arc::new(models) as Arc<dyn Models>).build().unwrap();
    let spell = Spell::from_source(&format!("clerk.{language}"), source).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let params = [("stream".to_owned(), stream.into())].into_iter().collect();
    tokio.block_on(runtime.run(spell).params(params).start().outcome())
}

#[test]
fn an_agent_solves_a_task_alike_in_each_api_whole_and_streamed_in_both_languages() {
    for protocol in PROTOCOLS {
        for (language, source) in [("luau", LUAU), ("js", JAVASCRIPT)] {
            for stream in [false, true] {
                let server = Server::start(protocol, answers());
                let outcome = run(protocol, &server, language, source, stream);
                let case = format!("{protocol:?} {language} stream: {stream}");
                assert!(outcome.error.is_none(), "{case}: {:?}", outcome.error);
                assert_eq!(outcome.output, TOLD, "{case}");
                assert_eq!(outcome.value, 6.into(), "{case}");
                let asked = server.asked();
                assert_eq!(asked.len(), 4, "{case}");
                // Signed or encrypted reasoning is returned to the provider unchanged.
                let carried = matches!(
                    protocol,
                    ProtocolKind::OpenAiResponses | ProtocolKind::Anthropic | ProtocolKind::Gemini
                );
                assert_eq!(asked[1].to_string().contains("sealed thought"), carried, "{case}: {}", asked[1]);
                // The other agent does not see the conversation of the first.
                assert!(!asked[2].to_string().contains("40"), "{case}");
            }
        }
    }
}
