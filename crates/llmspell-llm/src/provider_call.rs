//! One call to one provider: its tries, its deadline, and the details of its errors.
//!
//! Each try first waits for the rate limiter (`limiter.rs`). Between tries the call backs off (`retry.rs`) and is not
//! in flight. A stream is retried only before its first piece. Fallback to another provider is not here but in
//! `fallback.rs`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use llmspell_core::chat::{ChatRequest, Delta, Part, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::catalogue;
use crate::configured_provider::ConfiguredProvider;
use crate::count::{count_request, count_tokens};
use crate::limiter::{AttemptPermit, LimiterRefusal, QueueTicket};
use crate::provider::Attempt;
use crate::providers::ProviderRow;
use crate::resolve::{known_hint, near_hint};
use crate::retry::{RetryPolicy, RetryState, is_unanswered, is_unsent};
use crate::tool_call_ids;

/// The maximum time for listing a provider's models in order to suggest a name.
const EXPLAINING: Duration = Duration::from_secs(3);

/// The assumed length in tokens of an answer without `max_tokens`, until its usage is known.
const USUAL_ANSWER: u64 = 1_024;

/// The deadline of a call, for all providers that it may go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallDeadline {
    deadline: Instant,
    /// The earlier of `deadline` and the run's deadline. The run itself stops the call at its deadline; here that only
    /// limits what is worth waiting for.
    give_up_at: Instant,
    limit: Duration,
}

impl CallDeadline {
    pub(crate) fn new(limit: Duration, permit: &Permit) -> Self {
        let deadline = Instant::now() + limit;
        let give_up_at = permit.deadline().map_or(deadline, |run| deadline.min(run.into()));
        Self { deadline, give_up_at, limit }
    }

    /// Whether the time is up.
    pub(crate) fn is_up(self) -> bool {
        Instant::now() >= self.give_up_at
    }

    fn left(self) -> Duration {
        self.give_up_at.saturating_duration_since(Instant::now())
    }
}

/// A call to a provider.
pub(crate) struct ProviderCall<'a> {
    entry: &'a ConfiguredProvider,
    tries: RetryState,
    time: CallDeadline,
    turn: QueueTicket,
    /// The permit of the successful try, held while its answer arrives.
    pass: Option<AttemptPermit>,
}

impl<'a> ProviderCall<'a> {
    /// Begins a call to a model. The name is empty for a call without a model.
    pub(crate) fn begin(
        entry: &'a ConfiguredProvider,
        model: &str,
        retry: RetryPolicy,
        time: CallDeadline,
    ) -> Self {
        let turn = QueueTicket {
            number: entry.limiter.number(),
            model: model.into(),
            tokens: 0,
            has_fallback: false,
            is_again: false,
            deadline: time.give_up_at,
        };
        Self { entry, tries: RetryState::new(retry, time.give_up_at), time, turn, pass: None }
    }

    /// Sets the request, for the token estimate, and whether a fallback is left.
    pub(crate) fn asking(mut self, request: &ChatRequest, has_fallback: bool) -> Self {
        self.turn.has_fallback = has_fallback;
        if has_fallback {
            self.tries.with_fallback();
        }
        if self.entry.limiter.counts_tokens() {
            self.turn.tokens = count_request(request) + request.max_tokens.map_or(USUAL_ANSWER, u64::from);
        }
        self
    }

    fn overdue(&self) -> Error {
        let message = format!(
            "{}: the call took longer than its limit of {} s",
            self.entry.name,
            self.time.limit.as_secs_f64()
        );
        Error::new(ErrorKind::Timeout, message).with_retryable(true)
    }

    /// Waits for the limiter's permit for the next try. If it is refused after a failed try, that try's error is
    /// returned with the refusal as a hint.
    async fn pass(&mut self, failed: Option<Error>) -> Result<AttemptPermit> {
        self.turn.is_again = failed.is_some();
        let refused = match self.entry.limiter.pass(&self.turn).await {
            Ok(pass) => return Ok(pass),
            Err(refused) => refused,
        };
        let (name, left) = (&self.entry.name, self.time.left());
        Err(match failed {
            Some(error) if error.kind() == ErrorKind::ModelLoading => error,
            _ if refused == LimiterRefusal::Late && Instant::now() >= self.time.deadline => self.overdue(),
            Some(error) => error.hint(refused.hint(name, left)),
            None => refused.error(name, left),
        })
    }

    /// Tries until one succeeds, the error is not retryable, or the time is up.
    pub(crate) async fn tries<T>(&mut self, each: impl Fn() -> BoxFuture<'static, Result<T>>) -> Result<T> {
        let mut failed: Option<Error> = None;
        loop {
            let loading = failed.clone().filter(|error| error.kind() == ErrorKind::ModelLoading);
            let mut pass = self.pass(failed.take()).await?;
            self.tries.begin();
            let error = match timeout_at(self.time.deadline, each()).await {
                Ok(Ok(done)) => {
                    pass.worked();
                    self.pass = Some(pass);
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(loading.unwrap_or_else(|| self.overdue())),
            };
            if is_unsent(&error) {
                self.tries.undo();
                return Err(error);
            }
            failed = Some(error.clone());
            // A server that loads its model is neither down nor busy.
            if error.kind() == ErrorKind::ModelLoading {
                drop(pass);
                self.tries.wait_for_model(error).await?;
                continue;
            }
            pass.failed(&error);
            if let Err(error) = self.tries.wait(error).await {
                self.entry.limiter.lost(&self.turn.model, &error);
                return Err(error);
            }
        }
    }

    /// Requests a complete answer.
    pub(crate) async fn chat(&mut self, attempt: &Attempt) -> Result<Reply> {
        let provider = &self.entry.provider;
        match self.tries(|| provider.chat(attempt.clone())).await {
            Ok(reply) => Ok(self.complete(reply, &attempt.request)),
            Err(error) => Err(self.explain(error, &attempt.request, "").await),
        }
    }

    /// Requests a streamed answer. Sets `handed` once a piece is passed on; after that no fallback may answer.
    pub(crate) async fn stream(
        &mut self,
        attempt: &Attempt,
        pieces: &mpsc::Sender<Result<Delta>>,
        handed: &mut bool,
    ) -> Result<Option<Reply>> {
        let mut text = String::new();
        match self.pump(attempt, pieces, &mut text, handed).await {
            Ok(reply) => Ok(reply.map(|reply| self.complete(reply, &attempt.request))),
            Err(error) => Err(self.explain(error, &attempt.request, &text).await),
        }
    }

    /// Passes on the pieces of an answer and returns its end, or `None` if the receiver is gone. Retries only before
    /// the first piece.
    async fn pump(
        &mut self,
        attempt: &Attempt,
        pieces: &mpsc::Sender<Result<Delta>>,
        text: &mut String,
        handed: &mut bool,
    ) -> Result<Option<Reply>> {
        let provider = Arc::clone(&self.entry.provider);
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
            if let Delta::End { reply } = delta {
                return Ok(Some(*reply));
            }
            *handed = true;
            if pieces.send(Ok(delta)).await.is_err() {
                return Ok(None);
            }
            let next = timeout_at(self.time.deadline, rest.next()).await.map_err(|_| self.overdue())?;
            delta = next.unwrap_or_else(|| Err(cut()))?;
        }
    }

    fn complete(&mut self, mut reply: Reply, asked: &ChatRequest) -> Reply {
        if let Some(pass) = &mut self.pass {
            pass.used(reply.usage.input_tokens.saturating_add(reply.usage.output_tokens));
        }
        tool_call_ids::make_unique(&mut reply, asked);
        sign(&mut reply, &self.entry.name);
        let model = asked.model.clone().unwrap_or_default();
        self.entry.price(&model, &mut reply.usage);
        reply.provider.clone_from(&self.entry.name);
        reply.attempts = self.tries.made();
        if reply.model.is_empty() {
            reply.model = model;
        }
        reply
    }

    /// Adds details of the call to an error, and hints for the user.
    pub(crate) async fn explain(&self, mut error: Error, asked: &ChatRequest, partial: &str) -> Error {
        let model = asked.model.as_deref().unwrap_or_default();
        let usage = self.used(&error, asked, partial);
        let call = error.call_mut();
        call.provider = Some(self.entry.name.clone());
        call.attempts = self.tries.made();
        match &mut call.usage {
            Some(reported) if reported.cost_usd.is_none() => self.entry.price(model, reported),
            Some(_) => {}
            none => *none = Some(usage),
        }
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

    /// Estimates the usage of a failed call. It is zero unless the provider may have begun to work on the request.
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
        self.entry.price(asked.model.as_deref().unwrap_or_default(), &mut usage);
        usage
    }

    /// Suggests models with a similar name: from the catalogue, or else from the provider's own list.
    async fn near(&self, model: &str) -> Option<String> {
        let name = &self.entry.name;
        let known = catalogue::names(name).filter(|known| *known != model);
        if let Some(hint) = near_hint(name, model, known) {
            return Some(hint);
        }
        let deadline = Instant::now() + EXPLAINING;
        let turn = QueueTicket {
            number: self.entry.limiter.number(),
            model: "".into(),
            tokens: 0,
            deadline,
            ..self.turn.clone()
        };
        let _pass = self.entry.limiter.pass(&turn).await.ok()?;
        let listed = timeout_at(deadline, self.entry.provider.models()).await.ok()?.ok()?;
        let listed: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
        known_hint(name, model, &listed)
    }
}

/// Notes the provider at what it signed, because no other provider accepts it.
fn sign(reply: &mut Reply, name: &str) {
    for part in &mut reply.reasoning_parts {
        if let Part::Reasoning { provider, .. } = part {
            *provider = Some(name.to_owned());
        }
    }
    for call in reply.tool_calls.iter_mut().filter(|call| call.signature.is_some()) {
        call.provider = Some(name.to_owned());
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::StreamInterrupted, "the stream ended before the model had finished")
        .with_retryable(true)
}
