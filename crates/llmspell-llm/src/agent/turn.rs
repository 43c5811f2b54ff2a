//! One turn of an agent: a model call, and all the tool calls that the answer asks for.

use std::collections::HashSet;

use futures_util::StreamExt;
use futures_util::stream;
use llmspell_core::agent::AgentStep;
use llmspell_core::chat::{ChatRequest, Content, Delta, Message, Part, Reply, Role, ToolCall};
use llmspell_core::{Context, Error, ErrorKind, Result};

use super::run::{AgentRun, StopReason};
use super::{AgentSpec, ToolMode, in_text};
use crate::catalogue;
use crate::tool::{Tool, cut_result, named};
use crate::transcript::TurnGuard;

/// The maximum number of tool calls per answer. Calls beyond it are not run; the model receives an error for each.
const MOST_CALLS: usize = 64;

/// The maximum number of tool calls that run concurrently.
const AT_ONCE: usize = 32;

/// The maximum length in bytes of the list of tools that the model receives when it names an unknown tool.
const MOST_NAMED: usize = 1_000;

/// A call with a known tool and valid arguments.
struct ReadyCall {
    at: usize,
    tool: Tool,
    cx: Context,
    arguments: serde_json::Value,
}

/// The result of a call as the model receives it.
struct ToolResult {
    content: String,
    is_error: bool,
}

impl ToolResult {
    fn error(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: true }
    }
}

impl AgentRun<'_> {
    /// Asks the model, as a stream if the observer wants pieces.
    pub(super) async fn ask(&mut self, past: &TurnGuard<'_>) -> Result<Reply, StopReason> {
        let request = self.request();
        if !self.observer.streams() {
            let reply = self.cx.models().chat(request).await?;
            if let Some(text) = reply.reasoning.clone() {
                self.observe(AgentStep::Reasoning { text }).await?;
            }
            if !reply.text.is_empty() {
                self.observe(AgentStep::Text { text: reply.text.clone() }).await?;
            }
            return Ok(reply);
        }
        let mut pieces = self.cx.models().stream(request).await?;
        loop {
            let next = self.cx.cancellation().run_until_cancelled(pieces.next()).await;
            let step = match next.ok_or_else(Error::cancelled)?.transpose()? {
                Some(Delta::Text { text }) => AgentStep::Text { text },
                Some(Delta::Reasoning { text }) => AgentStep::Reasoning { text },
                Some(Delta::End { reply }) => return Ok(*reply),
                None => return Err(Error::internal("a stream ended without an end").into()),
            };
            if let Err(halt) = self.observe(step).await {
                if matches!(halt, StopReason::Stopped) {
                    self.keep_part(past, pieces.text())?;
                }
                return Err(halt);
            }
        }
    }

    fn request(&self) -> ChatRequest {
        let spec = self.agent.spec();
        let mut request = ChatRequest { messages: self.messages.clone(), ..spec.request.clone() };
        match spec.tool_mode {
            None | Some(ToolMode::Native) => request.tools = self.agent.tools.to_vec(),
            Some(ToolMode::Text) => in_text::instruct(&self.agent.tools, &mut request),
        }
        request
    }

    /// Runs the tool calls of an answer and returns one message with all the results, in the order of the calls.
    ///
    /// Calls run concurrently, at most [`AT_ONCE`] at a time.
    pub(super) async fn call_tools(&mut self, calls: &[ToolCall]) -> Result<Message, StopReason> {
        for call in calls {
            self.observe(AgentStep::ToolCall {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            })
            .await?;
        }
        let mut told: Vec<Option<ToolResult>> = Vec::with_capacity(calls.len());
        let mut ready = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            // Each call is a task of the context, numbered in the order of the calls, so that a replay finds its
            // effects again.
            let cx = self.cx.spawn();
            told.push(if at >= MOST_CALLS {
                Some(ToolResult::error(format!("not run: an answer may call at most {MOST_CALLS} tools")))
            } else {
                match self.prepare(cx, at, call).await? {
                    Ok(call) => {
                        ready.push(call);
                        None
                    }
                    Err(error) => Some(error),
                }
            });
        }
        self.calls += u32::try_from(ready.len()).unwrap_or(u32::MAX);
        for (call, told) in calls.iter().zip(&told) {
            if let Some(told) = told {
                self.hear_result(call, told).await?;
            }
        }
        let most = self.agent.spec().max_result;
        let mut running =
            stream::iter(ready.into_iter().map(|call| async move { (call.at, run(call, most).await) }))
                .buffer_unordered(AT_ONCE);
        while let Some((at, result)) = running.next().await {
            let result = result?;
            self.hear_result(&calls[at], &result).await?;
            told[at] = Some(result);
        }
        drop(running);
        let parts = calls.iter().zip(told).map(|(call, told)| {
            let ToolResult { content, is_error } = told.unwrap_or_else(|| ToolResult::error("not run"));
            Part::ToolResult { id: call.id.clone(), content, is_error }
        });
        Ok(Message { role: Role::Tool, content: Content::Parts(parts.collect()) })
    }

    /// Finds the tool of a call, validates its arguments, and asks the user for approval if the tool requires it. The
    /// inner error is for the model; the outer one ends the run.
    async fn prepare(
        &self,
        cx: Context,
        at: usize,
        call: &ToolCall,
    ) -> Result<Result<ReadyCall, ToolResult>> {
        let Some(tool) = self.agent.spec().tools.iter().find(|tool| tool.name() == call.name) else {
            return Ok(Err(ToolResult::error(self.no_such_tool(&call.name))));
        };
        let checked = match tool.check(call.arguments.clone()) {
            Ok(arguments) => tool.approve(&cx, &arguments).await.map(|()| arguments),
            Err(error) => Err(error),
        };
        match checked {
            Ok(arguments) => Ok(Ok(ReadyCall { at, tool: tool.clone(), cx, arguments })),
            Err(error) if error.is_final() => Err(error),
            Err(error) => Ok(Err(ToolResult::error(error.message()))),
        }
    }

    fn no_such_tool(&self, name: &str) -> String {
        let names: Vec<_> = self.agent.spec().tools.iter().map(Tool::name).collect();
        let names = cut_result(names.join(", "), MOST_NAMED);
        let shown = named(name, 80);
        match names.is_empty() {
            true => format!("there is no tool {shown}, and no other"),
            false => format!("there is no tool {shown}; there are: {names}"),
        }
    }

    async fn hear_result(&self, call: &ToolCall, told: &ToolResult) -> Result<(), StopReason> {
        self.observe(AgentStep::ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content: told.content.clone(),
            is_error: told.is_error,
            untrusted: true,
        })
        .await
    }
}

/// Runs a call. A tool's failure becomes a result for the model; only an error that ends the spell's run is returned.
async fn run(call: ReadyCall, most: usize) -> Result<ToolResult> {
    let result = call.tool.run(&call.cx, call.arguments).await.and_then(crate::tool::text_of);
    match result {
        Ok(text) => Ok(ToolResult { content: cut_result(text, most), is_error: false }),
        Err(error) if error.is_final() => Err(error),
        Err(error) => Ok(ToolResult::error(cut_result(with_hints(&error), most))),
    }
}

/// Formats an error for the model: its message and its hints.
fn with_hints(error: &Error) -> String {
    let mut text = error.message().to_owned();
    for hint in error.hints() {
        text.push_str(" (");
        text.push_str(hint);
        text.push(')');
    }
    text
}

/// Checks that the names of an agent's tools differ.
///
/// # Errors
/// `conflict` when two tools have the same name.
pub(super) fn check_tools(spec: &AgentSpec) -> Result<()> {
    let mut seen = HashSet::new();
    match spec.tools.iter().find(|tool| !seen.insert(tool.name())) {
        None => Ok(()),
        Some(twice) => {
            let message = format!("agent `{}` has two tools of the name `{}`", spec.name, twice.name());
            Err(Error::new(ErrorKind::Conflict, message))
        }
    }
}

/// Checks that an agent's model supports tools.
///
/// # Errors
/// `unsupported` when the catalogue says that it does not and no `tool_mode` is set.
pub(super) fn check_model(spec: &AgentSpec) -> Result<()> {
    let (Some(provider), Some(model)) = (&spec.request.provider, &spec.request.model) else { return Ok(()) };
    let known = catalogue::known(provider, model).and_then(|known| known.capabilities);
    if spec.tools.is_empty() || spec.tool_mode.is_some() || known.is_none_or(|known| known.tools) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, format!("the model {provider}/{model} calls no tools"))
        .hint("`tool_mode = \"text\"` tells it of them in words and reads its calls from its text; \"native\" tries it all the same"))
}
