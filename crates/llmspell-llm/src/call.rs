//! One call of one provider, over all its tries.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use llmspell_core::chat::{ChatRequest, Delta, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::catalogue;
use crate::client::Entry;
use crate::count::{count_request, count_tokens};
use crate::limiter::{Pass, Refused, Turn};
use crate::provider::Attempt;
use crate::providers::ProviderRow;
use crate::resolve::{known_hint, near_hint};
use crate::retry::{RetryPolicy, Tries, is_unanswered};

/// How long a provider may take to list its models when a wrong name is to be explained.
const EXPLAINING: Duration = Duration::from_secs(3);

/// Tokens that an answer is taken to have whose length nobody limits, until it is there.
const USUAL_ANSWER: u64 = 1_024;

/// The time that a call has, for all providers that it may go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    deadline: Instant,
    /// The run ends the call by itself at its own deadline; here it only says what is not worth waiting for.
    patience: Instant,
    limit: Duration,
}

impl Time {
    pub(crate) fn new(limit: Duration, permit: &Permit) -> Self {
        let deadline = Instant::now() + limit;
        let patience = permit.deadline().map_or(deadline, |run| deadline.min(run.into()));
        Self { deadline, patience, limit }
    }

    /// Whether there is none left.
    pub(crate) fn is_up(self) -> bool {
        Instant::now() >= self.patience
    }

    fn left(self) -> Duration {
        self.patience.saturating_duration_since(Instant::now())
    }
}

/// A call of a provider.
pub(crate) struct Call<'a> {
    entry: &'a Entry,
    tries: Tries,
    time: Time,
    turn: Turn,
    /// The try that worked, for as long as its answer takes.
    pass: Option<Pass>,
}

impl<'a> Call<'a> {
    /// A call of a model, or of none when its name is empty.
    pub(crate) fn begin(entry: &'a Entry, model: &str, retry: RetryPolicy, time: Time) -> Self {
        let turn = Turn {
            number: entry.limiter.number(),
            model: model.into(),
            tokens: 0,
            has_fallback: false,
            is_again: false,
            patience: time.patience,
        };
        Self { entry, tries: Tries::new(retry, time.patience), time, turn, pass: None }
    }

    /// Says what is asked, and whether another model may answer.
    pub(crate) fn asking(mut self, request: &ChatRequest, has_fallback: bool) -> Self {
        self.turn.has_fallback = has_fallback;
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

    /// Waits for the turn of the next try. After one that failed, its error says more than why there is no other.
    async fn pass(&mut self, failed: Option<Error>) -> Result<Pass> {
        self.turn.is_again = failed.is_some();
        let refused = match self.entry.limiter.pass(&self.turn).await {
            Ok(pass) => return Ok(pass),
            Err(refused) => refused,
        };
        let (name, left) = (&self.entry.name, self.time.left());
        Err(match failed {
            _ if refused == Refused::Late && Instant::now() >= self.time.deadline => self.overdue(),
            Some(error) => error.hint(refused.hint(name, left)),
            None => refused.error(name, left),
        })
    }

    /// Tries until it works, is not to be tried again, or the time is up. Nothing is in flight between two tries.
    pub(crate) async fn tries<T>(&mut self, each: impl Fn() -> BoxFuture<'static, Result<T>>) -> Result<T> {
        let mut failed = None;
        loop {
            let mut pass = self.pass(failed.take()).await?;
            self.tries.begin();
            let error = match timeout_at(self.time.deadline, each()).await {
                Ok(Ok(done)) => {
                    pass.worked();
                    self.pass = Some(pass);
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.overdue()),
            };
            pass.failed(&error);
            failed = Some(error.clone());
            if let Err(error) = self.tries.wait(error).await {
                self.entry.limiter.lost(&self.turn.model, &error);
                return Err(error);
            }
        }
    }

    /// Asks for a whole answer.
    pub(crate) async fn chat(&mut self, attempt: &Attempt) -> Result<Reply> {
        let provider = &self.entry.provider;
        match self.tries(|| provider.chat(attempt.clone())).await {
            Ok(reply) => Ok(self.complete(reply, &attempt.request)),
            Err(error) => Err(self.explain(error, &attempt.request, "").await),
        }
    }

    /// Asks for an answer piece by piece; `handed` says whether one was handed on, after which no other may come.
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

    /// Sends the pieces of an answer on and returns its end, or nothing when nobody reads it any more. It is tried again
    /// only while there was no piece.
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
    pub(crate) async fn explain(&self, mut error: Error, asked: &ChatRequest, partial: &str) -> Error {
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
        let patience = Instant::now() + EXPLAINING;
        let turn = Turn {
            number: self.entry.limiter.number(),
            model: "".into(),
            tokens: 0,
            patience,
            ..self.turn.clone()
        };
        let _pass = self.entry.limiter.pass(&turn).await.ok()?;
        let listed = timeout_at(patience, self.entry.provider.models()).await.ok()?.ok()?;
        let listed: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
        known_hint(name, model, &listed)
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::StreamInterrupted, "the stream ended before the model had finished")
        .with_retryable(true)
}
