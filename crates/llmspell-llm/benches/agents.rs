//! What an agent costs beside its model: a turn with 20 tools after 50 messages, and the call of a tool.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::sync::Arc;

use divan::Bencher;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use llmspell_core::capability::{ModelListing, ModelRef, Models, ProviderInfo};
use llmspell_core::chat::{ChatRequest, Content, Delta, Message, Part, Reply, Role, ToolCall};
use llmspell_core::effect::{MemoryJournal, Permit};
use llmspell_core::{Context, Result, Value};
use llmspell_llm::{AgentSpec, ModelAgent, Schema, Tool};
use serde_json::{Value as Json, json};

fn main() {
    divan::main();
}

/// Answers at once.
struct AtOnce;

impl Models for AtOnce {
    fn providers(&self) -> Vec<ProviderInfo> {
        Vec::new()
    }
    fn resolve(&self, _: Option<&str>, _: Option<&str>) -> Result<ModelRef> {
        Ok(ModelRef { provider: "p".into(), model: "m".into() })
    }
    fn chat(&self, _: Permit, _: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        async { Ok(Reply { text: "It is done.".into(), ..Reply::default() }) }.boxed()
    }
    fn stream(
        &self,
        _: Permit,
        _: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        unreachable!("nobody streams")
    }
    fn list(&self, _: Permit, _: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        async { Ok(ModelListing::default()) }.boxed()
    }
    fn count_tokens(&self, _: &str, _: &ModelRef) -> u64 {
        0
    }
}

fn tool(number: usize) -> Tool {
    let takes = Schema::read(&json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "where it is"},
            "depth": {"type": "integer", "minimum": 0, "default": 1},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["path"],
    }));
    let about = "Looks something up, and says what it found there and how far it had to go.";
    Tool::new(format!("tool_{number}"), about, takes.unwrap(), |_, arguments: Json| async move {
        Ok(Value::from(arguments["path"].as_str().unwrap_or_default()))
    })
    .unwrap()
}

/// Questions, calls, results and answers, 50 in all.
fn past() -> Vec<Message> {
    (0..50)
        .map(|number| {
            let id = format!("call_{}", number / 4);
            let parts = |role, part| Message { role, content: Content::Parts(vec![part]) };
            match number % 4 {
                0 => Message::user(
                    "Where is the report of the last year, and what does it say of the harvest?",
                ),
                1 => parts(
                    Role::Assistant,
                    Part::ToolCall(ToolCall {
                        id,
                        name: "tool_1".into(),
                        arguments: json!({"path": "reports/last-year.txt", "depth": 2}),
                        signature: None,
                        provider: None,
                    }),
                ),
                2 => parts(
                    Role::Tool,
                    Part::ToolResult { id, content: "The harvest was good. ".repeat(20), is_error: false },
                ),
                _ => Message::assistant("The report says that the harvest was good, all in all."),
            }
        })
        .collect()
}

fn agent(cx: &Context) -> ModelAgent {
    let request = ChatRequest {
        messages: past(),
        model: Some("m".into()),
        provider: Some("p".into()),
        ..ChatRequest::default()
    };
    ModelAgent::new(
        cx,
        AgentSpec {
            request,
            tools: (0..20).map(tool).collect(),
            context_window: Some(200_000),
            ..AgentSpec::named("bench")
        },
    )
    .unwrap()
}

/// A turn without a journal, and with one in memory.
#[divan::bench(args = [false, true])]
fn turn(bencher: Bencher, journal: bool) {
    let mut builder = Context::builder().models(Arc::new(AtOnce));
    if journal {
        builder = builder.journal(Arc::new(MemoryJournal::default()));
    }
    let limits = llmspell_core::Limits { model_calls: u32::MAX, memory: u64::MAX / 2, ..Default::default() };
    let cx = builder.limits(limits).build();
    let agent = agent(&cx);
    bencher.with_inputs(|| agent.anew(&cx).unwrap()).bench_values(|agent| {
        let run = agent.run(&cx, Message::user("And this year?"), &());
        futures_util::pin_mut!(run);
        run.now_or_never().unwrap().unwrap();
    });
}

/// A call of a tool: its arguments are checked and filled in.
#[divan::bench]
fn call(bencher: Bencher) {
    let cx = Context::builder().build();
    let tool = tool(1);
    bencher.with_inputs(|| json!({"path": "reports/last-year.txt"})).bench_values(|arguments| {
        tool.call(&cx, arguments).now_or_never().unwrap().unwrap();
    });
}
