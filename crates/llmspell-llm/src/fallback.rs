//! What a request falls back on when the model that was asked cannot answer.

use std::collections::VecDeque;
use std::sync::Arc;

use llmspell_core::capability::{ModelRef, Models};
use llmspell_core::chat::{ChatRequest, Content, Part, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};

use crate::call::Time;
use crate::client::{Client, Entry};
use crate::output::told;
use crate::provider::{Attempt, TakesSampling};
use crate::resolve::named;

/// The models that a request may go to, in order, and what became of those that were asked.
pub(crate) struct Chain<'a> {
    client: &'a Client,
    /// The one that is asked now.
    entry: &'a Entry,
    /// The same for each try, and for the whole call when its run is resumed.
    idempotency_key: String,
    fitted: Fitted,
    rest: VecDeque<ModelRef>,
    failed: Vec<Failed>,
}

/// A request as the model that is asked now can take it.
struct Fitted {
    attempt: Attempt,
    /// The request as it was given, where it was changed.
    given: Option<ChatRequest>,
    /// What the model does not take, in words for the user.
    warning: Option<String>,
}

/// A model that could not answer.
struct Failed {
    /// Which and why, in words.
    told: String,
    attempts: u32,
    usage: Usage,
    retryable: bool,
}

impl<'a> Chain<'a> {
    /// # Errors
    /// When a model is named that cannot be used, be it the last to be asked.
    pub(crate) fn new(client: &'a Client, permit: &Permit, mut request: ChatRequest) -> Result<Self> {
        let entry = named(client.entries(), request.provider.as_deref().unwrap_or_default())?;
        let names = std::mem::take(&mut request.fallback);
        let mut rest: VecDeque<ModelRef> = VecDeque::new();
        for name in &names {
            let found = client.resolve_fallback(name)?;
            let is_first = found.provider == entry.name && request.model.as_ref() == Some(&found.model);
            if !is_first && !rest.contains(&found) {
                rest.push_back(found);
            }
        }
        let idempotency_key = permit.idempotency_key();
        let fitted = fit(entry, request, &idempotency_key);
        Ok(Self { client, entry, idempotency_key, fitted, rest, failed: Vec::new() })
    }

    /// The provider to ask now.
    pub(crate) fn entry(&self) -> &'a Entry {
        self.entry
    }

    /// What to ask it.
    pub(crate) fn attempt(&self) -> &Attempt {
        &self.fitted.attempt
    }

    /// Whether there is a model left to fall back on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Goes on to the next model.
    ///
    /// # Errors
    /// When this one's error is the answer: the fault is the request's, a piece of an answer was handed on, or nothing
    /// and no time is left.
    pub(crate) fn turn(&mut self, error: Error, handed: bool, time: Time) -> Result<()> {
        if handed || !is_of_provider(&error) || time.is_up() {
            return Err(self.ended(&error));
        }
        let Some(next) = self.rest.pop_front() else { return Err(self.ended(&error)) };
        self.failed.push(self.failure(&error));
        self.entry = named(self.client.entries(), &next.provider)?;
        let given = self.fitted.given.take();
        let mut request = given.unwrap_or_else(|| ChatRequest::clone(&self.attempt().request));
        if request.provider.as_ref() != Some(&next.provider) {
            forget_signatures(&mut request);
        }
        request.provider = Some(next.provider);
        request.model = Some(next.model);
        // The provider may be the same one, and the request is another one.
        let key = format!("{}-{}", self.idempotency_key, self.failed.len());
        self.fitted = fit(self.entry, request, &key);
        Ok(())
    }

    /// Says of an answer what was tried before it and what its model does not take, and adds what was used.
    pub(crate) fn served(&self, mut reply: Reply) -> Reply {
        reply.usage = self.failed.iter().fold(reply.usage, |sum, failed| add(sum, &failed.usage));
        reply.attempts += self.failed.iter().map(|failed| failed.attempts).sum::<u32>();
        reply.failed = self.failed.iter().map(|failed| failed.told.clone()).collect();
        reply.warnings.extend(self.fitted.warning.clone());
        reply
    }

    fn failure(&self, error: &Error) -> Failed {
        let model = self.attempt().request.model.as_deref().unwrap_or_default();
        let name = &self.entry.name;
        let why = error.message();
        let why = why.strip_prefix(name.as_str()).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
        let call = error.call();
        Failed {
            told: format!("{name}/{model}: {why}"),
            attempts: call.map_or(0, |call| call.attempts),
            usage: call.and_then(|call| call.usage.clone()).unwrap_or_default(),
            retryable: error.is_retryable(),
        }
    }

    /// The error of the whole call: the last model's, with what became of those before it.
    fn ended(&mut self, error: &Error) -> Error {
        if self.failed.is_empty() {
            return error.clone();
        }
        self.failed.push(self.failure(error));
        let told: Vec<&str> = self.failed.iter().map(|failed| failed.told.as_str()).collect();
        let mut call = error.call().cloned().unwrap_or_default();
        call.attempts = self.failed.iter().map(|failed| failed.attempts).sum();
        call.usage = Some(self.failed.iter().fold(Usage::default(), |sum, failed| add(sum, &failed.usage)));
        let whole = Error::new(error.kind(), told.join("; "))
            .with_retryable(self.failed.iter().any(|failed| failed.retryable))
            .with_call(call);
        error.hints().iter().fold(whole, |whole, hint| whole.hint(hint))
    }
}

/// Fits a request to the model that it names: says in words what its answer must be, and leaves out what it refuses.
fn fit(entry: &Entry, given: ChatRequest, idempotency_key: &str) -> Fitted {
    let mut told = told(entry, &given);
    let warning = refused_sampling(entry, &given);
    if warning.is_some() {
        let request = told.get_or_insert_with(|| given.clone());
        (request.temperature, request.top_p) = (None, None);
    }
    let (request, given) = match told {
        Some(told) => (told, Some(given)),
        None => (given, None),
    };
    Fitted {
        attempt: Attempt { request: Arc::new(request), idempotency_key: idempotency_key.into() },
        given,
        warning,
    }
}

/// What to tell the user when the model refuses the sampling parameters that the request has. One text for each model,
/// whichever of them was asked for, so that it is said once.
fn refused_sampling(entry: &Entry, request: &ChatRequest) -> Option<String> {
    request.temperature.or(request.top_p)?;
    let when = match entry.provider.takes_sampling(request) {
        TakesSampling::Yes => return None,
        TakesSampling::NotReasoning => " while it reasons",
        TakesSampling::No => "",
    };
    let (provider, model) = (&entry.name, request.model.as_deref().unwrap_or_default());
    Some(format!("{provider}/{model} does not take `temperature` and `top_p`{when}: they were left out"))
}

/// Whether another provider may do better: the fault is not the request's, nor the user's who set it up.
fn is_of_provider(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Quota
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Network
            | ErrorKind::Timeout
            | ErrorKind::BadResponse
            | ErrorKind::EmptyResponse
            | ErrorKind::BadStream
            | ErrorKind::StreamInterrupted
    )
}

/// Takes out what one provider signed: another one refuses it.
fn forget_signatures(request: &mut ChatRequest) {
    for message in &mut request.messages {
        if let Content::Parts(parts) = &mut message.content {
            parts.retain(|part| !matches!(part, Part::Reasoning { .. }));
            for part in parts {
                if let Part::ToolCall(call) = part {
                    call.signature = None;
                }
            }
        }
    }
    request.messages.retain(|message| !matches!(&message.content, Content::Parts(parts) if parts.is_empty()));
}

/// What is known of the cost counts; what is free beside something of unknown cost is of unknown cost.
pub(crate) fn add(mut sum: Usage, more: &Usage) -> Usage {
    let is_unpriced =
        |usage: &Usage| usage.cost_usd.is_none() && (usage.input_tokens > 0 || usage.output_tokens > 0);
    let is_unknown = is_unpriced(&sum) || is_unpriced(more);
    sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
    sum.cached_tokens = sum.cached_tokens.saturating_add(more.cached_tokens);
    sum.reasoning_tokens = sum.reasoning_tokens.saturating_add(more.reasoning_tokens);
    sum.estimated |= more.estimated;
    let cost = sum.cost_usd.into_iter().chain(more.cost_usd).reduce(|one, other| one + other);
    sum.cost_usd = cost.filter(|cost| !is_unknown || *cost > 0.0);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_unknown_cost_is_never_free() {
        let usage = |tokens, cost_usd| Usage { input_tokens: tokens, cost_usd, ..Usage::default() };
        for (one, other, cost) in [
            (usage(1, None), usage(0, None), None),
            (usage(1, Some(0.5)), usage(0, None), Some(0.5)),
            (usage(1, Some(0.5)), usage(1, Some(0.25)), Some(0.75)),
            (usage(1, None), usage(1, Some(0.0)), None),
            (usage(1, Some(0.0)), usage(1, None), None),
            (usage(1, None), usage(1, Some(0.5)), Some(0.5)),
        ] {
            let sum = add(one.clone(), &other);
            assert_eq!(sum.cost_usd, cost, "{one:?} {other:?}");
        }
    }
}
