//! Exports traces as OTLP over HTTP, in the JSON encoding.
//!
//! The format is implemented here, in one small file. The existing crates bring protobuf and an SDK, read the
//! environment themselves, and log a collector's refusal instead of returning it.

mod names;
mod span;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use self::span::{Attribute, Span, SpanBuilder};
use super::{TracedRun, Tracer};
use crate::store::StoredEffect;

/// The maximum number of effect spans per run. The spans of the run and its tasks are added to these.
const MOST_SPANS: usize = 50_000;
/// The number of spans per request.
const BATCH: usize = 1_000;
/// The time limit for a collector's response.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum length of a collector's message in an error, in characters.
const COMPLAINT: usize = 200;

/// The destination of traces, and their level of detail.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// The full URL for spans, such as `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// Request headers for the collector.
    pub headers: Vec<(String, SecretString)>,
    /// The service name, exported as `service.name`.
    pub service: String,
    /// Additional resource attributes.
    pub resource: Vec<(String, String)>,
    /// Whether prompts, answers and URL queries are exported.
    pub content: bool,
}

impl OtlpConfig {
    /// Creates a configuration for this URL, without headers and without content.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            headers: Vec::new(),
            service: "llmspell".to_owned(),
            resource: Vec::new(),
            content: false,
        }
    }
}

/// Collects the spans of finished runs until they are [sent](Self::send). No connection is set up before that.
///
/// ```no_run
/// # async fn run(runtime: llmspell::Runtime, spell: llmspell::Spell) -> llmspell::Result<()> {
/// use llmspell::{Otlp, OtlpConfig};
///
/// let otlp = Otlp::new(OtlpConfig::new("http://127.0.0.1:4318/v1/traces"));
/// let outcome = runtime.run(spell).trace(otlp.tracer()).start().outcome().await;
/// otlp.send().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Otlp(Arc<OtlpInner>);

#[derive(Debug)]
struct OtlpInner {
    config: OtlpConfig,
    ended: Mutex<Vec<Span>>,
    client: OnceLock<reqwest::Client>,
}

impl Otlp {
    /// Creates an exporter without spans.
    #[must_use]
    pub fn new(config: OtlpConfig) -> Self {
        Self(Arc::new(OtlpInner { config, ended: Mutex::default(), client: OnceLock::new() }))
    }

    /// Returns a tracer for one run.
    #[must_use]
    pub fn tracer(&self) -> Arc<dyn Tracer> {
        Arc::new(RunTracer { shared: Arc::clone(&self.0), effects: Mutex::default() })
    }

    /// Sends the spans of runs that have ended since the last call. Spans that cannot be sent are lost.
    ///
    /// # Errors
    /// When the collector cannot be reached, or refuses spans.
    pub async fn send(&self) -> Result<()> {
        let ended = std::mem::take(&mut *lock(&self.0.ended));
        for spans in ended.chunks(BATCH) {
            tokio::time::timeout(PATIENCE, self.0.post(spans)).await.unwrap_or_else(|_| {
                Err(failed(&format!("no answer within {} s", PATIENCE.as_secs())).with_retryable(true))
            })?;
        }
        Ok(())
    }
}

impl OtlpInner {
    async fn post(&self, spans: &[Span]) -> Result<()> {
        let mut request = self.client()?.post(&self.config.endpoint).json_body(&self.export(spans))?;
        for (name, value) in &self.config.headers {
            request = request.header(name, value.expose_secret());
        }
        // The error's source contains the full URL, which may contain a token.
        let sent = request.send().await.map_err(|error| failed(&cause(&error)))?;
        let status = sent.status();
        let body = sent.text().await.unwrap_or_default();
        if !status.is_success() {
            let complaint: String = body.chars().take(COMPLAINT).collect();
            return Err(failed(&format!("it answers {}: {}", status.as_u16(), complaint.escape_debug())));
        }
        match serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default() {
            answer if refused(&answer) > 0 => {
                let why = answer["partialSuccess"]["errorMessage"].as_str().unwrap_or("it does not say why");
                Err(failed(&format!("it refuses {} spans: {}", refused(&answer), why.escape_debug())))
            }
            _ => Ok(()),
        }
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = llmspell_llm::http_client()?
            .build()
            .map_err(|error| Error::internal(format!("the HTTP client cannot be set up: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn export<'a>(&'a self, spans: &'a [Span]) -> Export<'a> {
        let OtlpConfig { service, resource, .. } = &self.config;
        let mut attributes = vec![Attribute::text(names::SERVICE_NAME, service)];
        attributes.extend(resource.iter().map(|(name, value)| Attribute::text(name, value)));
        let scope = OtlpScope { name: "llmspell", version: env!("CARGO_PKG_VERSION") };
        let scope_spans = [ScopeSpans { scope, spans }];
        Export { resource_spans: [ResourceSpans { resource: OtlpResource { attributes }, scope_spans }] }
    }
}

/// Returns how many spans a collector refused. OTLP's JSON writes 64-bit numbers as strings, but some collectors write
/// numbers.
fn refused(answer: &serde_json::Value) -> u64 {
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::Network, format!("the trace could not be exported: {why}"))
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

trait JsonBody: Sized {
    fn json_body(self, body: &impl Serialize) -> Result<Self>;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::internal(format!("the trace cannot be written: {error}")))?;
        Ok(self.header(reqwest::header::CONTENT_TYPE, "application/json").body(body))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: OtlpResource,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct OtlpResource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: OtlpScope,
    spans: &'a [Span],
}

#[derive(Serialize)]
struct OtlpScope {
    name: &'static str,
    version: &'static str,
}

/// Collects the effects of a run until it ends. Answers from the journal are skipped: they were exported when they
/// happened.
#[derive(Debug)]
struct RunTracer {
    shared: Arc<OtlpInner>,
    effects: Mutex<Vec<StoredEffect>>,
}

impl Tracer for RunTracer {
    fn ended(&self, effect: &StoredEffect, recorded: bool) {
        let mut effects = lock(&self.effects);
        if !recorded && effects.len() < MOST_SPANS {
            effects.push(effect.clone());
        }
    }

    fn closed(&self, run: &TracedRun<'_>) {
        let effects = std::mem::take(&mut *lock(&self.effects));
        let trace = SpanBuilder::new(run, self.shared.config.content);
        let mut spans: Vec<Span> =
            effects.iter().chain(&run.unfinished).map(|effect| trace.effect(effect)).collect();
        let mut tasks = BTreeMap::new();
        for effect in effects.iter().chain(&run.unfinished) {
            trace.note_tasks(effect, &mut tasks);
        }
        spans.extend(tasks.iter().map(|(task, times)| trace.task(task, *times)));
        spans.push(trace.run());
        lock(&self.shared.ended).extend(spans);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
