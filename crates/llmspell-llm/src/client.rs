//! The client: all providers behind one door, with retries, queues, time limits and prices.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::capability::{Estimate, ModelListing, ModelRef, Models, Price, ProviderInfo};
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::catalogue;
use crate::config::{ProviderConfig, Timeouts};
use crate::count::{count_request, count_tokens};
use crate::http::HttpProvider;
use crate::mock::{self, Mock};
use crate::ollama::Ollama;
use crate::provider::{Attempt, Provider};
use crate::providers::{ProviderRow, ShapeKind};
use crate::resolve::{known_hint, named, near_hint, resolve};
use crate::retry::{RetryPolicy, Tries, is_unanswered};
use crate::transport::Transport;

/// Pieces of a stream that may wait for whoever reads them; more are left in the socket.
const WAITING_PIECES: usize = 64;

/// How long a provider may take to list its models when a wrong name is to be explained.
const EXPLAINING: Duration = Duration::from_secs(3);

/// All the providers that a program set up.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// The default first.
    entries: Vec<Entry>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    io: Option<Handle>,
}

impl Inner {
    /// Whether an entry is another way to the same provider: to be used by its name, and not counted as one more.
    fn repeats(&self, entry: &Entry) -> bool {
        let other_way = |other: &Entry| !other.explicit && other.base_url == entry.base_url;
        entry.explicit && self.entries.iter().any(other_way)
    }
}

/// A provider that can be used.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) default_model: String,
    pub(crate) is_mock: bool,
    found_by: String,
    base_url: Option<String>,
    local: bool,
    explicit: bool,
    provider: Arc<dyn Provider>,
    slots: Semaphore,
}

impl Entry {
    /// What is known of a model without asking.
    pub(crate) fn model(&self, name: &str) -> Option<ModelInfo> {
        if self.is_mock {
            return mock::models().into_iter().find(|model| model.name == name);
        }
        catalogue::find(&self.name, name)
    }

    fn cost(&self, model: &str, usage: &Usage) -> Option<f64> {
        if self.local {
            return Some(0.0);
        }
        catalogue::cost(&self.model(model)?, usage)
    }
}

/// Sets up a [`Client`].
///
/// Without more: no provider, two retries, ten minutes a call, 32 calls in flight to a provider, and calls run on
/// the runtime that asks.
pub struct ClientBuilder {
    sources: Vec<Source>,
    default: Option<String>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    max_in_flight: usize,
    io: Option<Handle>,
}

/// Where a provider comes from.
enum Source {
    Config(ProviderConfig),
    Mock(Mock),
    Custom(String, Arc<dyn Provider>),
}

impl ClientBuilder {
    /// Adds a provider. The first one that is added is the default.
    #[must_use]
    pub fn provider(mut self, config: ProviderConfig) -> Self {
        self.sources.push(Source::Config(config));
        self
    }

    /// Adds the provider `mock`.
    #[must_use]
    pub fn mock(mut self, mock: Mock) -> Self {
        self.sources.push(Source::Mock(mock));
        self
    }

    /// Adds a provider of the program's own.
    #[must_use]
    pub fn custom(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.sources.push(Source::Custom(name.into(), provider));
        self
    }

    /// Names the default provider.
    #[must_use]
    pub fn default_provider(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into());
        self
    }

    /// Sets how failed calls are tried again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how long calls may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets how many calls each provider may have in flight; more wait in line, within their time limit.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Sets the runtime whose threads drive the sockets.
    #[must_use]
    pub fn io(mut self, runtime: Handle) -> Self {
        self.io = Some(runtime);
        self
    }

    /// Makes the client. No socket is opened and no TLS set up before the first call.
    ///
    /// # Errors
    /// When two providers have one name, or the default is none of them.
    pub fn build(self) -> Result<Client> {
        let transport = Arc::new(Transport::new(self.timeouts));
        let slots = self.max_in_flight;
        let mut entries: Vec<Entry> =
            self.sources.into_iter().map(|source| source.entry(&transport, slots)).collect();
        for (at, entry) in entries.iter().enumerate() {
            if entries[..at].iter().any(|other| other.name == entry.name) {
                let message = format!("two providers are named `{}`", entry.name);
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        if let Some(default) = self.default {
            named(&entries, &default)?;
            entries.sort_by_key(|entry| entry.name != default);
        }
        Ok(Client(Arc::new(Inner { entries, retry: self.retry, timeouts: self.timeouts, io: self.io })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("providers", &self.sources.len()).finish_non_exhaustive()
    }
}

impl Source {
    fn entry(self, transport: &Arc<Transport>, slots: usize) -> Entry {
        let own = |name: String, provider| Entry {
            name,
            default_model: String::new(),
            is_mock: false,
            found_by: "the host program".to_owned(),
            base_url: None,
            local: false,
            explicit: false,
            provider,
            slots: Semaphore::new(slots),
        };
        match self {
            Self::Custom(name, provider) => own(name, provider),
            Self::Mock(mock) => Entry {
                default_model: mock::DEFAULT_MODEL.to_owned(),
                is_mock: true,
                found_by: "built in".to_owned(),
                ..own(mock::NAME.to_owned(), Arc::new(mock))
            },
            Self::Config(config) => Entry {
                name: config.name.clone(),
                default_model: config.default_model.clone(),
                is_mock: false,
                found_by: config.found_by.clone(),
                base_url: Some(config.base_url.to_string()),
                local: config.local,
                explicit: config.explicit,
                provider: match config.shape {
                    ShapeKind::Ollama => Arc::new(Ollama::new(config, Arc::clone(transport))),
                    _ => Arc::new(HttpProvider::new(config, Arc::clone(transport))),
                },
                slots: Semaphore::new(slots),
            },
        }
    }
}

impl Client {
    /// Begins to set up a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            sources: Vec::new(),
            default: None,
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            max_in_flight: 32,
            io: None,
        }
    }

    /// Runs work where the sockets are driven; it ends when the future is dropped.
    ///
    /// # Errors
    /// When there is no runtime to run it on.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<AbortOnDropHandle<T>> {
        let runtime = match &self.0.io {
            Some(runtime) => runtime.clone(),
            None => Handle::try_current().map_err(|_| {
                Error::internal("a model was called outside of any runtime")
                    .hint("give the client one with `Client::builder().io(…)`")
            })?,
        };
        Ok(AbortOnDropHandle::new(runtime.spawn(work)))
    }

    async fn chat_now(self, permit: Permit, request: ChatRequest) -> Result<Reply> {
        let mut call = Call::begin(&self, &permit, &request)?;
        let attempt = attempt(request);
        let asked = Arc::clone(&attempt.request);
        let provider = &call.entry.provider;
        let result = call.tries(|| provider.chat(attempt.clone())).await;
        match result {
            Ok(reply) => Ok(call.complete(reply, &asked)),
            Err(error) => Err(call.explain(error, &asked, "").await),
        }
    }

    async fn stream_now(self, permit: Permit, request: ChatRequest, pieces: mpsc::Sender<Result<Delta>>) {
        let begun = Call::begin(&self, &permit, &request);
        let attempt = attempt(request);
        let asked = Arc::clone(&attempt.request);
        let mut call = match begun {
            Ok(call) => call,
            Err(error) => return drop(pieces.send(Err(error)).await),
        };
        let mut text = String::new();
        if let Err(error) = call.pump(attempt, &pieces, &mut text).await {
            let error = call.explain(error, &asked, &text).await;
            // Whoever would read it may be gone.
            let _ = pieces.send(Err(error)).await;
        }
    }
}

fn attempt(request: ChatRequest) -> Attempt {
    // Unguessable is not needed, only that no two calls share one.
    let number = RandomState::new().build_hasher().finish();
    Attempt { request: Arc::new(request), idempotency_key: format!("llmspell-{number:016x}").into() }
}

/// One call, over all its tries.
struct Call<'a> {
    entry: &'a Entry,
    tries: Tries,
    deadline: Instant,
    limit: Duration,
    slot: Option<SemaphorePermit<'a>>,
}

impl<'a> Call<'a> {
    fn begin(client: &'a Client, permit: &Permit, request: &ChatRequest) -> Result<Self> {
        let entry = named(&client.0.entries, request.provider.as_deref().unwrap_or_default())?;
        let limit = request.timeout.map_or(client.0.timeouts.total, |limit| limit.duration());
        let deadline = Instant::now() + limit;
        // The run ends the call by itself at its own deadline; here it only says what is not worth waiting for.
        let patience = permit.deadline().map_or(deadline, |run| deadline.min(run.into()));
        Ok(Self { entry, tries: Tries::new(client.0.retry, patience), deadline, limit, slot: None })
    }

    fn overdue(&self) -> Error {
        let message = format!(
            "{}: the call took longer than its limit of {} s",
            self.entry.name,
            self.limit.as_secs_f64()
        );
        Error::new(ErrorKind::Timeout, message).with_retryable(true)
    }

    /// Tries until it works, is not to be tried again, or the time is up.
    async fn tries<T>(&mut self, each: impl Fn() -> BoxFuture<'static, Result<T>>) -> Result<T> {
        let slot = timeout_at(self.deadline, self.entry.slots.acquire()).await.map_err(|_| self.overdue())?;
        self.slot = slot.ok();
        loop {
            self.tries.begin();
            match timeout_at(self.deadline, each()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => self.tries.wait(error).await?,
                Err(_) => return Err(self.overdue()),
            }
        }
    }

    /// Sends the pieces of an answer on. It is tried again only while there was none.
    async fn pump(
        &mut self,
        attempt: Attempt,
        pieces: &mpsc::Sender<Result<Delta>>,
        text: &mut String,
    ) -> Result<()> {
        let provider = Arc::clone(&self.entry.provider);
        let asked = Arc::clone(&attempt.request);
        let (mut delta, mut rest) = self
            .tries(|| {
                let opening = provider.stream(attempt.clone());
                Box::pin(async move {
                    let mut rest = opening.await?;
                    let first = rest.next().await.unwrap_or_else(|| Err(cut()))?;
                    Ok((first, rest))
                })
            })
            .await?;
        loop {
            if let Delta::Text { text: more } = &delta {
                text.push_str(more);
            }
            let (item, over) = match delta {
                Delta::End { reply } => (Delta::End { reply: Box::new(self.complete(*reply, &asked)) }, true),
                piece => (piece, false),
            };
            if pieces.send(Ok(item)).await.is_err() || over {
                return Ok(());
            }
            let next = timeout_at(self.deadline, rest.next()).await.map_err(|_| self.overdue())?;
            delta = next.unwrap_or_else(|| Err(cut()))?;
        }
    }

    fn complete(&self, mut reply: Reply, asked: &ChatRequest) -> Reply {
        let model = asked.model.clone().unwrap_or_default();
        reply.usage.cost_usd = self.entry.cost(&model, &reply.usage);
        reply.provider.clone_from(&self.entry.name);
        reply.attempts = self.tries.made();
        if reply.model.is_empty() {
            reply.model = model;
        }
        reply
    }

    /// Adds what is known of the call, and what the user can do.
    async fn explain(&self, mut error: Error, asked: &ChatRequest, partial: &str) -> Error {
        let model = asked.model.as_deref().unwrap_or_default();
        let usage = self.used(&error, asked, partial);
        let call = error.call_mut();
        call.provider = Some(self.entry.name.clone());
        call.attempts = self.tries.made();
        call.usage.get_or_insert(usage);
        if !partial.is_empty() {
            call.partial = Some(partial.to_owned());
        }
        match error.kind() {
            ErrorKind::Auth => {
                match ProviderRow::find(&self.entry.name).filter(|row| !row.key_env.is_empty()) {
                    Some(row) => error.hint(format!("is `{}` right?", row.key_env)),
                    None => error,
                }
            }
            ErrorKind::Network if !is_unanswered(&error) => match ProviderRow::find(&self.entry.name) {
                Some(row) => error.hint(format!(
                    "is the server there and running? `{}` sets its address",
                    row.base_url_env
                )),
                None => error,
            },
            ErrorKind::UnknownModel => match self.near(model).await {
                Some(hint) => error.hint(hint),
                None => error,
            },
            _ => error,
        }
    }

    /// What a failed call is taken to have used: nothing, unless the provider had begun to work on it.
    fn used(&self, error: &Error, asked: &ChatRequest, partial: &str) -> Usage {
        let begun = error.call().and_then(|call| call.status).is_some_and(|status| status < 300);
        let late = error.kind() == ErrorKind::Timeout && self.tries.made() > 0;
        if !begun && !late && !is_unanswered(error) && partial.is_empty() {
            return Usage::default();
        }
        let mut usage = Usage {
            input_tokens: count_request(asked),
            output_tokens: count_tokens(partial),
            estimated: true,
            ..Usage::default()
        };
        usage.cost_usd = self.entry.cost(asked.model.as_deref().unwrap_or_default(), &usage);
        usage
    }

    /// Names near a wrong one: of the catalogue, or where that has none, of the provider's own list.
    async fn near(&self, model: &str) -> Option<String> {
        let name = &self.entry.name;
        let known = catalogue::names(name).filter(|known| *known != model);
        if let Some(hint) = near_hint(name, model, known) {
            return Some(hint);
        }
        let listed = tokio::time::timeout(EXPLAINING, self.entry.provider.models()).await.ok()?.ok()?;
        let listed: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
        known_hint(name, model, &listed)
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::StreamInterrupted, "the stream ended before the model had finished")
        .with_retryable(true)
}

impl Models for Client {
    fn providers(&self) -> Vec<ProviderInfo> {
        let info = |entry: &Entry| ProviderInfo {
            name: entry.name.clone(),
            default_model: entry.default_model.clone(),
            found_by: entry.found_by.clone(),
            base_url: entry.base_url.clone(),
        };
        self.0.entries.iter().filter(|entry| !self.0.repeats(entry)).map(info).collect()
    }

    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        resolve(&self.0.entries, provider, model)
    }

    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        let this = self.clone();
        Box::pin(async move {
            let task = this.spawn(this.clone().chat_now(permit, request))?;
            task.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let this = self.clone();
        Box::pin(async move {
            let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
            let task = this.spawn(this.clone().stream_now(permit, request, sender))?;
            let first = pieces.recv().await.unwrap_or_else(|| Err(lost()))?;
            // The task lives as long as the stream: dropping it closes the socket.
            let rest = stream::unfold((pieces, task), |(mut pieces, task)| async move {
                pieces.recv().await.map(|piece| (piece, (pieces, task)))
            });
            Ok(stream::iter([Ok(first)]).chain(rest).boxed())
        })
    }

    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        let this = self.clone();
        Box::pin(async move {
            if let Some(name) = &provider {
                named(&this.0.entries, name)?;
            }
            this.spawn(this.clone().list_now(permit, provider))?.await.map_err(|_| lost())
        })
    }

    fn count_tokens(&self, text: &str, _: &ModelRef) -> u64 {
        count_tokens(text)
    }

    fn estimate(&self, request: &ChatRequest) -> Estimate {
        let entry = named(&self.0.entries, request.provider.as_deref().unwrap_or_default()).ok();
        let model = entry.and_then(|entry| entry.model(request.model.as_deref().unwrap_or_default()));
        let price = match entry {
            Some(entry) if entry.local => Some(Price::default()),
            _ => model.as_ref().and_then(catalogue::price),
        };
        let max_output = model.and_then(|model| u32::try_from(model.max_output?).ok());
        Estimate { input_tokens: count_request(request), max_output, price }
    }
}

impl Client {
    async fn list_now(self, permit: Permit, provider: Option<String>) -> ModelListing {
        let asked = self.0.entries.iter().filter(|entry| match &provider {
            Some(name) => entry.name == *name,
            None => !self.0.repeats(entry),
        });
        let nothing = ChatRequest::default();
        let listed = join_all(asked.map(|entry| {
            let request = ChatRequest { provider: Some(entry.name.clone()), ..ChatRequest::default() };
            let (client, permit, nothing) = (&self, &permit, &nothing);
            async move {
                let mut call = Call::begin(client, permit, &request)?;
                match call.tries(|| entry.provider.models()).await {
                    Ok(models) => {
                        Ok(models.into_iter().map(|model| catalogue::complete(&entry.name, model)).collect())
                    }
                    Err(error) => Err(call.explain(error, nothing, "").await),
                }
            }
        }));
        let mut listing = ModelListing::default();
        for models in listed.await as Vec<Result<Vec<ModelInfo>>> {
            match models {
                Ok(models) => listing.models.extend(models),
                Err(error) => listing.errors.push(error),
            }
        }
        listing
    }
}

/// A task that ended without a word: it panicked, or its runtime was shut down.
fn lost() -> Error {
    Error::internal("the call ended without an answer")
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.entries.iter().map(|entry| entry.name.as_str()).collect();
        f.debug_struct("Client").field("providers", &names).finish_non_exhaustive()
    }
}
