//! A scripted provider without a network, for tests and for trying a spell without a key.

mod vectors;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::chat::{
    Capabilities, ChatRequest, Content, Delta, FinishReason, ModelInfo, Part, Reply, Role, ToolCall, Usage,
};
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use crate::count::{count_request, count_tokens};
use crate::error::{from_status, interrupted};
use crate::provider::{Attempt, Provider};

/// The provider's name.
pub(crate) const NAME: &str = "mock";

/// The model used if none is named.
pub(crate) const DEFAULT_MODEL: &str = "echo";

/// A scripted provider. It returns the scripted answers, and then repeats each question: `mock: <question>`.
///
/// Clones share one script, so a test can keep a clone and inspect [`requests`](Self::requests).
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
pub struct Mock(Arc<Mutex<MockScript>>);

#[derive(Default)]
struct MockScript {
    /// The answers in order, each with its delay.
    next: VecDeque<(MockAnswer, Duration)>,
    rules: Vec<(String, MockAnswer)>,
    otherwise: Option<Error>,
    chunk: Option<usize>,
    gate: Option<MockGate>,
    requests: Vec<ChatRequest>,
    forgets: bool,
    answered: usize,
}

#[derive(Clone)]
enum MockAnswer {
    Text(String),
    /// A text and tool calls.
    Calls(String, Vec<ToolCall>),
    Error(Error),
    /// A text that streams, followed by an error instead of the end.
    Broken(String, Error),
    /// An answer that is cut off after this text.
    Cut(String),
    /// Bytes that are not a valid answer.
    Garbled,
}

/// Controls when each piece of a mock's answer is sent.
#[derive(Debug, Clone)]
pub struct MockGate(Arc<Semaphore>);

impl Default for MockGate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl MockGate {
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this many more pieces through. A complete answer counts as one piece, and so does the end of a stream.
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
    /// Creates a mock that repeats each question.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an answer with this text to the script.
    #[must_use]
    pub fn reply(self, text: impl Into<String>) -> Self {
        self.then(MockAnswer::Text(text.into()))
    }

    /// Appends an answer with one tool call.
    #[must_use]
    pub fn reply_tool_call(self, name: impl Into<String>, arguments: Json) -> Self {
        self.reply_tool_calls("", [(name.into(), arguments)])
    }

    /// Appends an answer with a text and tool calls, given as names and arguments.
    #[must_use]
    pub fn reply_tool_calls(
        self,
        text: impl Into<String>,
        calls: impl IntoIterator<Item = (String, Json)>,
    ) -> Self {
        let call = |(name, arguments)| ToolCall {
            id: String::new(),
            name,
            arguments,
            signature: None,
            provider: None,
        };
        self.then(MockAnswer::Calls(text.into(), calls.into_iter().map(call).collect()))
    }

    /// Appends a failure.
    #[must_use]
    pub fn error(self, error: Error) -> Self {
        self.then(MockAnswer::Error(error))
    }

    /// Appends an answer whose text streams and which then fails instead of ending.
    #[must_use]
    pub fn broken(self, text: impl Into<String>, error: Error) -> Self {
        self.then(MockAnswer::Broken(text.into(), error))
    }

    /// Appends a rejection with this HTTP status, and optionally a `Retry-After` in seconds.
    #[must_use]
    pub fn status(self, status: u16, retry_after: Option<f64>) -> Self {
        let mut headers = HeaderMap::new();
        let seconds = retry_after.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok());
        headers.extend(seconds.map(|seconds| (RETRY_AFTER, seconds)));
        self.error(from_status(status, &headers, br#"{"error":{"message":"refused by the mock"}}"#, None))
    }

    /// Appends an answer that is cut off after this text.
    #[must_use]
    pub fn cut(self, text: impl Into<String>) -> Self {
        self.then(MockAnswer::Cut(text.into()))
    }

    /// Appends bytes that are not a valid answer.
    #[must_use]
    pub fn garbled(self) -> Self {
        self.then(MockAnswer::Garbled)
    }

    /// Delays the last appended answer.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        if let Some((_, after)) = self.script().next.back_mut() {
            *after = time;
        }
        self
    }

    /// Fails each call without a scripted answer or a matching rule, instead of repeating its question.
    #[must_use]
    pub fn otherwise(self, error: Error) -> Self {
        self.script().otherwise = Some(error);
        self
    }

    /// Adds a rule: once the script is used up, questions that contain `contains` are answered with `reply`.
    #[must_use]
    pub fn when(self, contains: impl Into<String>, reply: impl Into<String>) -> Self {
        self.script().rules.push((contains.into(), MockAnswer::Text(reply.into())));
        self
    }

    /// Streams this many characters per piece. Default: one word per piece.
    #[must_use]
    pub fn chunk(self, characters: usize) -> Self {
        self.script().chunk = Some(characters.max(1));
        self
    }

    /// Holds back each piece until the gate lets it pass.
    #[must_use]
    pub fn gate(self, gate: &MockGate) -> Self {
        self.script().gate = Some(gate.clone());
        self
    }

    /// Does not record requests, for mocks that answer many calls.
    #[must_use]
    pub fn forgetful(self) -> Self {
        self.script().forgets = true;
        self
    }

    /// Returns the requests so far, oldest first. Each try of a call is one request.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.script().requests.clone()
    }

    fn then(self, answer: MockAnswer) -> Self {
        self.script().next.push_back((answer, Duration::ZERO));
        self
    }

    fn script(&self) -> MutexGuard<'_, MockScript> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer to a request: its pieces and its end.
    fn answer(&self, request: &ChatRequest, streams: bool) -> MockTurn {
        let mut script = self.script();
        if !script.forgets {
            script.requests.push(request.clone());
        }
        script.answered += 1;
        let question = question(request);
        let ruled = |script: &MockScript| {
            script
                .rules
                .iter()
                .find(|(words, _)| question.contains(words.as_str()))
                .map(|(_, answer)| answer.clone())
        };
        let planned = script.next.pop_front();
        let (answer, after) = planned.or_else(|| Some((ruled(&script)?, Duration::ZERO))).unzip();
        let number = script.answered;
        let mut calls = Vec::new();
        let (text, error) = match (answer, &script.otherwise) {
            (None, None) => (format!("mock: {question}"), None),
            (None, Some(error)) => (String::new(), Some(error.clone())),
            (Some(MockAnswer::Text(text)), _) => (text, None),
            (Some(MockAnswer::Calls(text, wanted)), _) => {
                calls = numbered(wanted, number);
                (text, None)
            }
            (Some(MockAnswer::Error(error)), _) => (String::new(), Some(error)),
            (Some(MockAnswer::Broken(text, error)), _) => (text, Some(error)),
            (Some(MockAnswer::Cut(text)), _) => {
                let error = if streams { interrupted("") } else { not_understood(&text) };
                (text, Some(error))
            }
            (Some(MockAnswer::Garbled), _) if streams => (String::new(), Some(bad_chunk())),
            (Some(MockAnswer::Garbled), _) => (String::new(), Some(not_understood(GARBLED))),
        };
        let pieces = pieces(&text, script.chunk);
        let end = match error {
            Some(error) => Err(error),
            None => Ok(reply(request, text, calls, number)),
        };
        MockTurn { pieces, end, after: after.unwrap_or_default(), gate: script.gate.clone() }
    }
}

const GARBLED: &str = "<html>";

fn not_understood(found: &str) -> Error {
    let found: String = found.chars().take(60).collect();
    Error::new(ErrorKind::BadResponse, format!("the answer is no JSON: `{found}`")).with_retryable(true)
}

fn bad_chunk() -> Error {
    Error::new(ErrorKind::BadStream, format!("chunk 1 of the stream is no JSON object: `{GARBLED}`"))
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").field("requests", &self.script().requests.len()).finish_non_exhaustive()
    }
}

struct MockTurn {
    pieces: Vec<String>,
    end: Result<Reply>,
    after: Duration,
    gate: Option<MockGate>,
}

impl MockTurn {
    /// Waits for the answer's delay.
    async fn wait(&self) {
        if !self.after.is_zero() {
            tokio::time::sleep(self.after).await;
        }
    }

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
            let turn = this.answer(&attempt.request, false);
            turn.wait().await;
            turn.pass().await;
            turn.end
        })
    }

    fn stream(&self, attempt: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let mut turn = this.answer(&attempt.request, true);
            turn.wait().await;
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

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let dimensions = request.dimensions.map_or(vectors::DIMENSIONS, |count| count as usize);
        let vectors = request.texts.iter().map(|text| vectors::of(text, dimensions)).collect();
        let input_tokens = request.texts.iter().map(|text| count_tokens(text)).sum();
        let usage = Usage { input_tokens, ..Usage::default() };
        Box::pin(async { Ok(Embeddings { vectors, usage, ..Embeddings::default() }) })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        Box::pin(async { Ok(models()) })
    }
}

/// Returns the models of the mock: a small free one and a large one with a price.
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

/// Returns the last question: a user's text, or tool results.
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

/// Sets the ids of calls: `call_3`, or `call_3_1` and `call_3_2` if there are several.
fn numbered(mut calls: Vec<ToolCall>, answer: usize) -> Vec<ToolCall> {
    let several = calls.len() > 1;
    for (number, call) in (1..).zip(&mut calls) {
        call.id = if several { format!("call_{answer}_{number}") } else { format!("call_{answer}") };
    }
    calls
}

fn reply(request: &ChatRequest, text: String, tool_calls: Vec<ToolCall>, number: usize) -> Reply {
    let called = tool_calls.iter().map(|call| count_tokens(&call.arguments.to_string())).sum::<u64>();
    let usage = Usage {
        input_tokens: count_request(request),
        output_tokens: count_tokens(&text) + called,
        ..Usage::default()
    };
    let finish_reason = if tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
    let id = Some(format!("mock_{number}"));
    Reply { text, finish_reason, tool_calls, usage, id, ..Reply::default() }
}

#[cfg(test)]
mod tests {
    use llmspell_core::capability::Models;
    use llmspell_core::effect::Permit;

    use super::*;
    use crate::{Client, RetryPolicy};

    fn client(mock: Mock) -> Client {
        let retry = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
        Client::builder().retry(retry).mock(mock).build().unwrap()
    }

    fn question() -> ChatRequest {
        ChatRequest {
            provider: Some(NAME.into()),
            model: Some(DEFAULT_MODEL.into()),
            ..ChatRequest::prompt("hi")
        }
    }

    /// Returns the outcome of a call, complete and streamed.
    async fn both(mock: impl Fn() -> Mock) -> [String; 2] {
        let told = |result: Result<String>| match result {
            Ok(text) => text,
            Err(error) => {
                let call = error.call().cloned().unwrap_or_default();
                let partial = call.partial.map(|text| format!(" after {text}")).unwrap_or_default();
                format!("{} in {}{partial}", error.kind(), call.attempts)
            }
        };
        let whole = client(mock()).chat(Permit::for_test(), question()).await.map(|reply| reply.text);
        let in_pieces = async {
            let pieces = client(mock()).stream(Permit::for_test(), question()).await?;
            let pieces: Vec<_> = pieces.collect().await;
            let mut text = String::new();
            for piece in pieces {
                match piece? {
                    Delta::Text { text: more } => text.push_str(&more),
                    _ => text.push('.'),
                }
            }
            Ok(text)
        };
        [told(whole), told(in_pieces.await)]
    }

    #[tokio::test(start_paused = true)]
    async fn it_fails_as_providers_do() {
        let mock = Mock::new;
        let cases: [(&dyn Fn() -> Mock, [&str; 2]); 7] = [
            (&|| mock().status(429, Some(0.0)).status(503, None).reply("hello"), ["hello", "hello."]),
            (&|| mock().status(401, None).reply("hello"), ["auth in 1"; 2]),
            (&|| mock().status(429, Some(86_400.0)).reply("hello"), ["rate_limited in 1"; 2]),
            (&|| mock().garbled().reply("hello"), ["hello", "bad_stream in 1"]),
            (&|| mock().cut("he").cut("hel"), ["bad_response in 2", "stream_interrupted in 1 after he"]),
            (&|| mock().reply("hello").after(Duration::from_secs(700)), ["timeout in 1"; 2]),
            (&|| mock().otherwise(Error::new(ErrorKind::Replay, "no more")), ["replay in 1"; 2]),
        ];
        for (number, (mock, expected)) in cases.into_iter().enumerate() {
            assert_eq!(both(mock).await, expected, "case {number}");
        }
    }
}
