//! The client: all providers of a program behind the trait [`Models`].
//!
//! Each call passes these layers, in this order:
//!
//! 1. The fallback chain (`fallback.rs`) chooses the model to call and adapts the request to it.
//! 2. `ProviderCall` (`call.rs`) retries failed attempts with exponential backoff, within the time limit.
//! 3. The rate limiter (`limiter.rs`) of the provider's key delays each attempt.
//! 4. A [`Provider`] translates the request and sends it.
//!
//! Calls run as tasks on a tokio runtime of the program, so a busy script never delays a socket. Dropping the future or
//! the stream of a call aborts its task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_core::capability::{Estimate, ModelListing, ModelRef, Models, Price, ProviderInfo};
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply, Seconds};
use llmspell_core::effect::Permit;
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::catalogue;
use crate::config::{ProviderConfig, Timeouts};
use crate::configured_provider::ConfiguredProvider;
use crate::count::{count_request, count_tokens};
use crate::embed;
use crate::fallback::FallbackChain;
use crate::http::HttpProvider;
use crate::limiter::Limiter;
use crate::mock::{self, Mock};
use crate::ollama::OllamaProvider;
use crate::provider::Provider;
use crate::provider_call::{CallDeadline, ProviderCall};
use crate::providers::ProtocolKind;
use crate::rate_limits::RateLimits;
use crate::resolve::{named, resolve};
use crate::retry::RetryPolicy;
use crate::transport::Transport;

/// The number of chunks of a stream that may wait for the reader. Further chunks stay in the socket.
const WAITING_PIECES: usize = 64;

/// All providers that a program has configured.
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

struct ClientInner {
    /// The providers, the default first.
    entries: Vec<ConfiguredProvider>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    io: Option<Handle>,
}

impl ClientInner {
    /// Returns whether an entry is a second configuration of a provider that was found without it. Such an entry is
    /// used by its name, but not listed as another provider.
    fn repeats(&self, entry: &ConfiguredProvider) -> bool {
        let other_way = |other: &ConfiguredProvider| !other.explicit && other.base_url == entry.base_url;
        entry.explicit && self.entries.iter().any(other_way)
    }
}

/// Builds a [`Client`].
///
/// By default, a client has no provider, two retries per call, a time limit of ten minutes per call, and at most 32
/// calls in flight per provider. Calls run on the tokio runtime of the caller.
pub struct ClientBuilder {
    sources: Vec<ProviderSource>,
    default: Option<String>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    pace: RateLimits,
    io: Option<Handle>,
}

/// The origin of a provider.
enum ProviderSource {
    Config(ProviderConfig),
    Mock(Mock),
    Custom(String, Arc<dyn Provider>),
}

impl ClientBuilder {
    /// Adds a provider. The first one added is the default.
    #[must_use]
    pub fn provider(mut self, config: ProviderConfig) -> Self {
        self.sources.push(ProviderSource::Config(config));
        self
    }

    /// Adds the provider `mock`.
    #[must_use]
    pub fn mock(mut self, mock: Mock) -> Self {
        self.sources.push(ProviderSource::Mock(mock));
        self
    }

    /// Adds a provider that the program implements.
    #[must_use]
    pub fn custom(mut self, name: impl Into<String>, provider: Arc<dyn Provider>) -> Self {
        self.sources.push(ProviderSource::Custom(name.into(), provider));
        self
    }

    /// Sets the default provider.
    #[must_use]
    pub fn default_provider(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into());
        self
    }

    /// Sets the retry policy.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets the time limits.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the rate limits of each provider. Calls beyond them wait in a queue, within their time limits.
    #[must_use]
    pub fn pace(mut self, pace: RateLimits) -> Self {
        self.pace = pace;
        self
    }

    /// Sets the tokio runtime on which calls run.
    #[must_use]
    pub fn io(mut self, runtime: Handle) -> Self {
        self.io = Some(runtime);
        self
    }

    /// Builds the client. Sockets and TLS are set up only with the first call.
    ///
    /// # Errors
    /// When two providers have the same name, or the default is not among them.
    pub fn build(self) -> Result<Client> {
        let transport = Arc::new(Transport::new(self.timeouts));
        let pace = self.pace;
        let mut entries: Vec<ConfiguredProvider> =
            self.sources.into_iter().map(|source| source.entry(&transport, pace)).collect();
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
        Ok(Client(Arc::new(ClientInner { entries, retry: self.retry, timeouts: self.timeouts, io: self.io })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("providers", &self.sources.len()).finish_non_exhaustive()
    }
}

impl ProviderSource {
    fn entry(self, transport: &Arc<Transport>, pace: RateLimits) -> ConfiguredProvider {
        let own = |name: String, provider| ConfiguredProvider {
            name,
            default_model: String::new(),
            is_mock: false,
            found_by: "the host program".to_owned(),
            base_url: None,
            local: false,
            explicit: false,
            provider,
            limiter: Limiter::alone(pace),
        };
        match self {
            Self::Custom(name, provider) => own(name, provider),
            Self::Mock(mock) => ConfiguredProvider {
                default_model: mock::DEFAULT_MODEL.to_owned(),
                is_mock: true,
                found_by: "built in".to_owned(),
                ..own(mock::NAME.to_owned(), Arc::new(mock))
            },
            Self::Config(config) => {
                let limiter = Limiter::of(&config, pace);
                ConfiguredProvider {
                    name: config.name.clone(),
                    default_model: config.default_model.clone(),
                    is_mock: false,
                    found_by: config.found_by.clone(),
                    base_url: Some(config.base_url.to_string()),
                    local: config.local,
                    explicit: config.explicit,
                    limiter: Arc::clone(&limiter),
                    provider: match config.protocol {
                        ProtocolKind::Ollama => {
                            Arc::new(OllamaProvider::new(config, Arc::clone(transport), limiter))
                        }
                        _ => Arc::new(HttpProvider::new(config, Arc::clone(transport), limiter)),
                    },
                }
            }
        }
    }
}

impl Client {
    /// Returns a builder.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            sources: Vec::new(),
            default: None,
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            pace: RateLimits::default(),
            io: None,
        }
    }

    /// Runs work on the runtime of the sockets. Dropping the returned handle aborts the work.
    ///
    /// # Errors
    /// When there is no runtime.
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
        let time = self.time(&permit, &request);
        let mut chain = FallbackChain::new(&self, &permit, request)?;
        loop {
            match self.call(&chain, time).chat(chain.attempt()).await {
                Ok(reply) => return Ok(chain.served(reply)),
                Err(error) => chain.turn(error, false, time)?,
            }
        }
    }

    async fn stream_now(self, permit: Permit, request: ChatRequest, pieces: mpsc::Sender<Result<Delta>>) {
        let end = match self.pump(&permit, request, &pieces).await {
            Ok(None) => return,
            Ok(Some(reply)) => Ok(Delta::End { reply: Box::new(reply) }),
            Err(error) => Err(error),
        };
        // The reader may have been dropped.
        let _ = pieces.send(end).await;
    }

    async fn pump(
        &self,
        permit: &Permit,
        request: ChatRequest,
        pieces: &mpsc::Sender<Result<Delta>>,
    ) -> Result<Option<Reply>> {
        let time = self.time(permit, &request);
        let mut chain = FallbackChain::new(self, permit, request)?;
        let mut handed = false;
        loop {
            match self.call(&chain, time).stream(chain.attempt(), pieces, &mut handed).await {
                Ok(reply) => return Ok(reply.map(|reply| chain.served(reply))),
                Err(error) => chain.turn(error, handed, time)?,
            }
        }
    }

    /// Returns the providers, the default first.
    pub(crate) fn entries(&self) -> &[ConfiguredProvider] {
        &self.0.entries
    }

    fn time(&self, permit: &Permit, request: &ChatRequest) -> CallDeadline {
        CallDeadline::new(self.total(request.timeout), permit)
    }

    /// Returns the time limit of a call.
    pub(crate) fn total(&self, asked: Option<Seconds>) -> Duration {
        asked.map_or(self.0.timeouts.total, Seconds::duration)
    }

    /// Returns the retry policy.
    pub(crate) fn retry(&self) -> RetryPolicy {
        self.0.retry
    }

    fn call<'a>(&self, chain: &FallbackChain<'a>, time: CallDeadline) -> ProviderCall<'a> {
        let request = &chain.attempt().request;
        let model = request.model.as_deref().unwrap_or_default();
        let retry = RetryPolicy { retries: request.retries.unwrap_or(self.0.retry.retries), ..self.0.retry };
        ProviderCall::begin(chain.entry(), model, retry, time).asking(request, chain.goes_on())
    }
}

impl Models for Client {
    fn providers(&self) -> Vec<ProviderInfo> {
        let info = |entry: &ConfiguredProvider| ProviderInfo {
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
            // The stream owns the task, so dropping the stream closes the socket.
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

    fn embed_model(&self, provider: &str) -> Result<String> {
        let usual = embed::usual_model(named(&self.0.entries, provider)?);
        usual.map(str::to_owned).ok_or_else(|| embed::unsupported(self, provider))
    }

    fn embed(&self, permit: Permit, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        let this = self.clone();
        Box::pin(async move {
            let task = this.spawn(this.clone().embed_now(permit, request))?;
            task.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn count_tokens(&self, text: &str, _: &ModelRef) -> u64 {
        count_tokens(text)
    }

    /// Any model of the fallback chain may answer, so this uses the highest price and the lowest output limit.
    fn estimate(&self, request: &ChatRequest) -> Estimate {
        let first = named(&self.0.entries, request.provider.as_deref().unwrap_or_default()).ok();
        let first = first.map(|entry| entry.terms(request.model.as_deref().unwrap_or_default()));
        let others = request.fallback.iter().filter_map(|name| self.resolve_fallback(name).ok());
        let others = others
            .filter_map(|found| Some(named(&self.0.entries, &found.provider).ok()?.terms(&found.model)));
        let (price, max_output) = first
            .into_iter()
            .chain(others)
            .reduce(|(price, most), (other, less)| {
                let dearer = |one: Price, other: Price| Price {
                    input: one.input.max(other.input),
                    output: one.output.max(other.output),
                };
                (price.zip(other).map(|(one, other)| dearer(one, other)), most.into_iter().chain(less).min())
            })
            .unwrap_or_default();
        Estimate { input_tokens: count_request(request), max_output, price }
    }
}

impl Client {
    async fn list_now(self, permit: Permit, provider: Option<String>) -> ModelListing {
        let asked = self.0.entries.iter().filter(|entry| match &provider {
            Some(name) => entry.name == *name,
            None => !self.0.repeats(entry),
        });
        let nothing = &ChatRequest::default();
        let time = self.time(&permit, nothing);
        let listed = join_all(asked.map(|entry| {
            let mut call = ProviderCall::begin(entry, "", self.0.retry, time);
            async move {
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

/// Returns the error of a task that ended without a result, by a panic or because its runtime shut down.
fn lost() -> Error {
    Error::internal("the call ended without an answer")
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.entries.iter().map(|entry| entry.name.as_str()).collect();
        f.debug_struct("Client").field("providers", &names).finish_non_exhaustive()
    }
}
