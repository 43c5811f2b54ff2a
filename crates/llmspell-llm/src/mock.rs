//! A provider that needs no network and always says the same: for tests, and for trying a spell without a key.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::chat::{
    Capabilities, ChatRequest, Content, Delta, FinishReason, ModelInfo, Part, Reply, Role, ToolCall, Usage,
};
use llmspell_core::{Error, Result};
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use crate::count::{count_request, count_tokens};
use crate::provider::{Attempt, Provider};

/// The name of the provider.
pub(crate) const NAME: &str = "mock";

/// The model used when none is named.
pub(crate) const DEFAULT_MODEL: &str = "echo";

/// A scripted provider. It answers what it was told to, and else repeats the question: `mock: <question>`.
///
/// Clones share one script, so that a test can keep one and look at [`requests`](Self::requests).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use llmspell_core::{capability::Models, chat::ChatRequest, effect::Permit};
/// use llmspell_llm::{Client, Mock};
///
/// let mock = Mock::new().reply("first").when("weather", "sunny");
/// let client = Client::builder().mock(mock.clone()).build()?;
/// let ask = |text: &str| {
///     let request = ChatRequest { provider: Some("mock".into()), model: Some("echo".into()), ..ChatRequest::prompt(text) };
///     client.chat(Permit::for_test(), request)
/// };
/// assert_eq!(ask("hi").await?.text, "first");
/// assert_eq!(ask("how is the weather?").await?.text, "sunny");
/// assert_eq!(ask("hi again").await?.text, "mock: hi again");
/// assert_eq!(mock.requests().len(), 3);
/// # Ok::<(), llmspell_core::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Mock(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    next: VecDeque<Answer>,
    rules: Vec<(String, Answer)>,
    chunk: Option<usize>,
    gate: Option<Gate>,
    requests: Vec<ChatRequest>,
    forgets: bool,
    answered: usize,
}

#[derive(Clone)]
enum Answer {
    Text(String),
    Call(ToolCall),
    Error(Error),
    /// A text that streams, and then the error in place of an end.
    Broken(String, Error),
}

/// Lets a test say when each piece of a mock's answer may leave.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this many more pieces through; a whole answer and the end of a stream count as one each.
    pub fn pass(&self, pieces: usize) {
        self.0.add_permits(pieces);
    }

    async fn wait(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

impl Mock {
    /// A mock that repeats each question.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the next call that has no answer yet with this text.
    #[must_use]
    pub fn reply(self, text: impl Into<String>) -> Self {
        self.then(Answer::Text(text.into()))
    }

    /// Answers the next call that has no answer yet with a call of a tool.
    #[must_use]
    pub fn reply_tool_call(self, name: impl Into<String>, arguments: Json) -> Self {
        let call = ToolCall { id: String::new(), name: name.into(), arguments, signature: None };
        self.then(Answer::Call(call))
    }

    /// Fails the next call that has no answer yet.
    #[must_use]
    pub fn error(self, error: Error) -> Self {
        self.then(Answer::Error(error))
    }

    /// Answers the next call with a text and then fails in place of the end.
    #[must_use]
    pub fn broken(self, text: impl Into<String>, error: Error) -> Self {
        self.then(Answer::Broken(text.into(), error))
    }

    /// Answers each question that contains these words with this text, once the answers in order are used up.
    #[must_use]
    pub fn when(self, contains: impl Into<String>, reply: impl Into<String>) -> Self {
        self.script().rules.push((contains.into(), Answer::Text(reply.into())));
        self
    }

    /// Streams this many characters at a time in place of words.
    #[must_use]
    pub fn chunk(self, characters: usize) -> Self {
        self.script().chunk = Some(characters.max(1));
        self
    }

    /// Holds each piece back until the gate lets it pass.
    #[must_use]
    pub fn gate(self, gate: &Gate) -> Self {
        self.script().gate = Some(gate.clone());
        self
    }

    /// Keeps no requests: for a mock that answers for long and at which nobody looks.
    #[must_use]
    pub fn forgetful(self) -> Self {
        self.script().forgets = true;
        self
    }

    /// The requests so far, oldest first; each try of a call is one.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.script().requests.clone()
    }

    fn then(self, answer: Answer) -> Self {
        self.script().next.push_back(answer);
        self
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer to a request: the pieces of its text, and how it ends.
    fn answer(&self, request: &ChatRequest) -> Turn {
        let mut script = self.script();
        if !script.forgets {
            script.requests.push(request.clone());
        }
        script.answered += 1;
        let question = question(request);
        let ruled = |script: &Script| {
            script
                .rules
                .iter()
                .find(|(words, _)| question.contains(words.as_str()))
                .map(|(_, answer)| answer.clone())
        };
        let answer = script.next.pop_front().or_else(|| ruled(&script));
        let number = script.answered;
        let (text, call, error) = match answer.unwrap_or_else(|| Answer::Text(format!("mock: {question}"))) {
            Answer::Text(text) => (text, None, None),
            Answer::Call(call) => {
                (String::new(), Some(ToolCall { id: format!("call_{number}"), ..call }), None)
            }
            Answer::Error(error) => (String::new(), None, Some(error)),
            Answer::Broken(text, error) => (text, None, Some(error)),
        };
        let pieces = pieces(&text, script.chunk);
        let end = match error {
            Some(error) => Err(error),
            None => Ok(reply(request, text, call, number)),
        };
        Turn { pieces, end, gate: script.gate.clone() }
    }
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").field("requests", &self.script().requests.len()).finish_non_exhaustive()
    }
}

struct Turn {
    pieces: Vec<String>,
    end: Result<Reply>,
    gate: Option<Gate>,
}

impl Turn {
    async fn pass(&self) {
        if let Some(gate) = &self.gate {
            gate.wait().await;
        }
    }
}

impl Provider for Mock {
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        Box::pin(async move {
            let turn = this.answer(&attempt.request);
            turn.pass().await;
            turn.end
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let mut turn = this.answer(&attempt.request);
            turn.pieces.reverse();
            let deltas = stream::unfold(Some(turn), |turn| async move {
                let mut turn = turn?;
                turn.pass().await;
                match turn.pieces.pop() {
                    Some(text) => Some((Ok(Delta::Text { text }), Some(turn))),
                    None => Some((turn.end.map(|reply| Delta::End { reply: Box::new(reply) }), None)),
                }
            });
            Ok(deltas.boxed())
        })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        Box::pin(async { Ok(models()) })
    }
}

/// The models it has: a small one that is free and a large one that has a price.
pub(crate) fn models() -> Vec<ModelInfo> {
    let model = |name: &str, window, prices: (f64, f64, f64)| ModelInfo {
        id: format!("{NAME}/{name}"),
        name: name.to_owned(),
        provider: NAME.to_owned(),
        context_window: Some(window),
        max_output: Some(window / 2),
        capabilities: Some(Capabilities { tools: true, vision: true, reasoning: false, json_schema: false }),
        input_price: Some(prices.0),
        output_price: Some(prices.1),
        cached_input_price: Some(prices.2),
    };
    vec![model(DEFAULT_MODEL, 8_192, (0.0, 0.0, 0.0)), model("echo-large", 131_072, (1.0, 2.0, 0.5))]
}

/// What was asked last: the user's text, or what a tool answered.
fn question(request: &ChatRequest) -> String {
    let Some(last) =
        request.messages.iter().rev().find(|message| matches!(message.role, Role::User | Role::Tool))
    else {
        return String::new();
    };
    let results = match &last.content {
        Content::Parts(parts) => parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolResult { content, .. } => Some(content.as_str()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Content::Text(_) => String::new(),
    };
    format!("{}{results}", last.joined_text())
}

fn pieces(text: &str, chunk: Option<usize>) -> Vec<String> {
    match chunk {
        None => text.split_inclusive(' ').map(str::to_owned).collect(),
        Some(size) => {
            let letters: Vec<char> = text.chars().collect();
            letters.chunks(size).map(|piece| piece.iter().collect()).collect()
        }
    }
}

fn reply(request: &ChatRequest, text: String, call: Option<ToolCall>, number: usize) -> Reply {
    let called = call.iter().map(|call| count_tokens(&call.arguments.to_string())).sum::<u64>();
    let usage = Usage {
        input_tokens: count_request(request),
        output_tokens: count_tokens(&text) + called,
        ..Usage::default()
    };
    let finish_reason = if call.is_some() { FinishReason::ToolCalls } else { FinishReason::Stop };
    let id = Some(format!("mock_{number}"));
    Reply { text, finish_reason, tool_calls: call.into_iter().collect(), usage, id, ..Reply::default() }
}
