//! The spans of a run.
//!
//! Each run is one trace. The root span is the run. Tasks are its descendants, in their spawning hierarchy, and each
//! task contains the spans of its effects.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use llmspell_core::chat::{ChatRequest, Content, Message, Part, Reply, Usage};
use llmspell_core::effect::EffectPath;
use llmspell_core::{Error, Value, from_value};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::json;

use super::names;
use crate::store::StoredEffect;
use crate::tracing::TracedRun;

/// The first start and the last end of a task, measured from the start of the run.
pub(super) type Times = (Duration, Duration);

/// The span kinds of OTLP, by number.
#[derive(Clone, Copy)]
enum SpanKind {
    Internal = 1,
    Client = 3,
}

/// The status code `ERROR`.
const FAILED: u8 = 2;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Status,
}

#[derive(Debug, Default, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Attribute {
    key: String,
    value: serde_json::Value,
}

impl Attribute {
    pub(super) fn text(key: &str, text: impl Into<String>) -> Self {
        Self::new(key, json!({"stringValue": text.into()}))
    }

    fn number(key: &str, number: impl std::fmt::Display) -> Self {
        Self::new(key, json!({"intValue": number.to_string()}))
    }

    fn real(key: &str, number: f64) -> Self {
        Self::new(key, json!({"doubleValue": number}))
    }

    fn truth(key: &str, truth: bool) -> Self {
        Self::new(key, json!({"boolValue": truth}))
    }

    fn texts<'a>(key: &str, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let values: Vec<_> = texts.into_iter().map(|text| json!({"stringValue": text})).collect();
        Self::new(key, json!({"arrayValue": {"values": values}}))
    }

    fn new(key: &str, value: serde_json::Value) -> Self {
        Self { key: key.to_owned(), value }
    }
}

/// Creates the spans of one run.
pub(super) struct SpanBuilder<'a> {
    run: &'a TracedRun<'a>,
    /// Whether prompts and answers are exported.
    content: bool,
}

impl<'a> SpanBuilder<'a> {
    pub(super) fn new(run: &'a TracedRun<'a>, content: bool) -> Self {
        Self { run, content }
    }

    /// Returns the root span, which covers the whole run.
    pub(super) fn run(&self) -> Span {
        let (spell, outcome) = (self.run.spell, self.run.outcome);
        let mut span = self.span("main", &format!("spell {}", spell.name), SpanKind::Internal);
        let ended = self.moment(outcome.duration);
        span.end_time_unix_nano = ended;
        span.add(Attribute::text(names::LLMSPELL_SPELL_NAME, &spell.name));
        span.add(Attribute::text(names::LLMSPELL_RUN_ID, &spell.run_id));
        span.attributes.extend(
            spell.version.iter().map(|version| Attribute::text(names::LLMSPELL_SPELL_VERSION, version)),
        );
        span.add(Attribute::number(names::LLMSPELL_MODEL_CALLS, outcome.model_calls));
        if outcome.model_calls > 0 {
            span.usage(&outcome.usage);
        }
        span.failed(outcome.error.as_ref());
        span
    }

    /// Returns the span of a task or a named step, a child of its parent task's span.
    pub(super) fn task(&self, task: &str, (began, ended): Times) -> Span {
        let name = if task.starts_with("step(") { task.to_owned() } else { format!("task {task}") };
        let mut span = self.span(task, &name, SpanKind::Internal);
        span.parent_span_id = self.id(parent(task));
        (span.start_time_unix_nano, span.end_time_unix_nano) = (self.moment(began), self.moment(ended));
        span
    }

    /// Extends the times of an effect's task, and of its ancestors except the main task, to include the effect.
    pub(super) fn note_tasks(&self, effect: &StoredEffect, tasks: &mut BTreeMap<String, Times>) {
        let (began, ended) = (effect.began, self.end(effect));
        let mut task = &*effect.entry.effect.path.task;
        while task != "main" {
            let times = tasks.entry(task.to_owned()).or_insert((began, ended));
            *times = (times.0.min(began), times.1.max(ended));
            task = parent(task);
        }
    }

    /// Returns the span of an effect.
    pub(super) fn effect(&self, effect: &StoredEffect) -> Span {
        let EffectPath { task, count } = &effect.entry.effect.path;
        let ask = &effect.entry.effect.ask;
        let operation = format!("{}.{}", ask.capability, ask.operation);
        let at = format!("{task}#{count}");
        let mut span = self.span(&at, &operation, SpanKind::Internal);
        span.parent_span_id = self.id(task);
        span.start_time_unix_nano = self.moment(effect.began);
        span.end_time_unix_nano = self.moment(self.end(effect));
        span.add(Attribute::text(names::LLMSPELL_EFFECT_PATH, at));
        span.add(Attribute::text(names::LLMSPELL_EFFECT_OPERATION, &operation));
        match &*operation {
            "models.chat" | "models.stream" => self.model(&mut span, effect, &ask.operation),
            "net.fetch" | "net.stream" => self.http(&mut span, effect),
            _ => {}
        }
        match &effect.entry.end {
            Some(_) => span.failed(effect.entry.error().as_ref()),
            None => span.status = Status { code: Some(FAILED), message: "never ended".to_owned() },
        }
        span
    }

    fn model(&self, span: &mut Span, effect: &StoredEffect, operation: &str) {
        span.kind = SpanKind::Client as u8;
        span.add(Attribute::text(names::GEN_AI_OPERATION_NAME, "chat"));
        let request: ChatRequest = from_value(effect.entry.effect.ask.request.clone()).unwrap_or_default();
        let reply = effect.entry.reply();
        let error = effect.entry.error();
        let failed = error.as_ref().and_then(Error::call);
        let provider = reply.as_ref().map(|reply| reply.provider.clone());
        let provider = provider.or_else(|| failed?.provider.clone()).or_else(|| request.provider.clone());
        if let Some(provider) = provider {
            span.add(Attribute::text(names::GEN_AI_PROVIDER_NAME, names::provider(&provider)));
        }
        let asked = request.model.clone().or_else(|| Some(reply.as_ref()?.model.clone()));
        if let Some(model) = asked {
            span.name = format!("chat {model}");
            span.add(Attribute::text(names::GEN_AI_REQUEST_MODEL, model));
        }
        span.add(Attribute::truth(names::GEN_AI_REQUEST_STREAM, operation == "stream"));
        let ChatRequest { max_tokens, temperature, top_p, seed, stop, .. } = &request;
        let numbers = [
            (names::GEN_AI_REQUEST_MAX_TOKENS, max_tokens.map(u64::from)),
            (names::GEN_AI_REQUEST_SEED, *seed),
        ];
        let reals = [(names::GEN_AI_REQUEST_TEMPERATURE, temperature), (names::GEN_AI_REQUEST_TOP_P, top_p)];
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some(Attribute::number(name, number?)));
        let reals = reals.into_iter().filter_map(|(name, number)| Some(Attribute::real(name, (*number)?)));
        span.attributes.extend(numbers.chain(reals));
        if !stop.is_empty() {
            let stop = stop.iter().map(String::as_str);
            span.add(Attribute::texts(names::GEN_AI_REQUEST_STOP_SEQUENCES, stop));
        }
        if self.content {
            span.said(&request, reply.as_ref());
        }
        if let Some(reply) = &reply {
            span.add(Attribute::text(names::GEN_AI_RESPONSE_MODEL, &reply.model));
            let reason = word(&reply.finish_reason);
            span.add(Attribute::texts(names::GEN_AI_RESPONSE_FINISH_REASONS, [&*reason]));
            span.attributes.extend(reply.id.iter().map(|id| Attribute::text(names::GEN_AI_RESPONSE_ID, id)));
        }
        let usage = reply.map(|reply| reply.usage).or_else(|| failed?.usage.clone());
        usage.iter().for_each(|usage| span.usage(usage));
    }

    fn http(&self, span: &mut Span, effect: &StoredEffect) {
        span.kind = SpanKind::Client as u8;
        let request = &effect.entry.effect.ask.request;
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        if let Some(method) = text("method") {
            method.clone_into(&mut span.name);
            span.add(Attribute::text(names::HTTP_REQUEST_METHOD, method));
        }
        if let Some(url) = text("url") {
            // Some services pass keys in the query.
            let url = if self.content { url } else { url.split('?').next().unwrap_or_default() };
            span.add(Attribute::text(names::URL_FULL, url));
        }
        let answer = effect.entry.end.as_ref().and_then(|end| end.answer.as_ref().ok());
        let status = answer.and_then(|answer| answer.get("head")?.get("status"));
        if let Some(Value::Int(status)) = status {
            span.add(Attribute::number(names::HTTP_RESPONSE_STATUS_CODE, status));
        }
    }

    fn end(&self, effect: &StoredEffect) -> Duration {
        effect.took.map_or(self.run.outcome.duration, |took| effect.began + took)
    }

    fn span(&self, at: &str, name: &str, kind: SpanKind) -> Span {
        let began = self.moment(Duration::ZERO);
        Span {
            trace_id: self.run.spell.run_id.clone(),
            span_id: self.id(at),
            parent_span_id: String::new(),
            name: name.to_owned(),
            kind: kind as u8,
            start_time_unix_nano: began.clone(),
            end_time_unix_nano: began,
            attributes: Vec::new(),
            status: Status::default(),
        }
    }

    /// Returns the span id of a task or an effect path. It is the same whenever this run is exported.
    fn id(&self, at: &str) -> String {
        let hash = digest(&SHA256, format!("{} {at}", self.run.spell.run_id).as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn moment(&self, since: Duration) -> String {
        let time = (self.run.started + since).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        time.as_nanos().to_string()
    }
}

impl Span {
    fn add(&mut self, attribute: Attribute) {
        self.attributes.push(attribute);
    }

    fn failed(&mut self, error: Option<&Error>) {
        if let Some(error) = error {
            self.add(Attribute::text(names::ERROR_TYPE, error.kind().as_str()));
            self.status = Status { code: Some(FAILED), message: error.message().to_owned() };
        }
    }

    fn usage(&mut self, usage: &Usage) {
        self.add(Attribute::number(names::GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens));
        self.add(Attribute::number(names::GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens));
        let parts = [
            (names::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cached_tokens),
            (names::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning_tokens),
        ];
        let parts = parts.into_iter().filter(|(_, count)| *count > 0);
        self.attributes.extend(parts.map(|(name, count)| Attribute::number(name, count)));
        self.attributes
            .extend(usage.cost_usd.iter().map(|cost| Attribute::real(names::LLMSPELL_USAGE_COST, *cost)));
        if usage.estimated {
            self.add(Attribute::truth(names::LLMSPELL_USAGE_ESTIMATED, true));
        }
    }

    /// Adds the prompt and the answer, in the JSON form of the conventions.
    fn said(&mut self, request: &ChatRequest, reply: Option<&Reply>) {
        if let Some(system) = &request.system {
            let text = json!([{"type": "text", "content": system}]);
            self.add(Attribute::text(names::GEN_AI_SYSTEM_INSTRUCTIONS, text.to_string()));
        }
        let asked: Vec<_> = request.messages.iter().map(message).collect();
        self.add(Attribute::text(names::GEN_AI_INPUT_MESSAGES, json!(asked).to_string()));
        if let Some(reply) = reply {
            let mut answer = message(&reply.to_message());
            answer["finish_reason"] = json!(reply.finish_reason);
            self.add(Attribute::text(names::GEN_AI_OUTPUT_MESSAGES, json!([answer]).to_string()));
        }
    }
}

fn message(message: &Message) -> serde_json::Value {
    let parts = match &message.content {
        Content::Text(text) => vec![json!({"type": "text", "content": text})],
        Content::Parts(parts) => parts.iter().map(part).collect(),
    };
    json!({"role": message.role, "parts": parts})
}

fn part(part: &Part) -> serde_json::Value {
    match part {
        Part::Text { text } => json!({"type": "text", "content": text}),
        Part::Reasoning { text, .. } => json!({"type": "reasoning", "content": text}),
        Part::ToolCall(call) => {
            json!({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments})
        }
        Part::ToolResult { id, content, .. } => {
            json!({"type": "tool_call_response", "id": id, "result": content})
        }
        Part::Image { mime, data } => {
            json!({"type": "blob", "modality": "image", "mime_type": mime, "content": data})
        }
    }
}

/// Returns a name in its JSON form.
fn word(name: &impl Serialize) -> String {
    json!(name).as_str().unwrap_or_default().to_owned()
}

/// Returns the parent of a task, which is `main` for a step.
fn parent(task: &str) -> &str {
    task.rsplit_once('.').map_or("main", |(parent, _)| parent)
}
