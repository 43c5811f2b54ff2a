//! The fallback chain of a call: the models to call, one after the other, until one answers.
//!
//! A call moves on to the next model only if its provider is at fault (rate limit, overload, network, timeout, bad
//! answer) and no chunk of an answer has been delivered. Errors of the request, and of the configuration, end the call.
//! The reply lists the models that failed, and includes their attempts and usage.

use std::collections::VecDeque;
use std::sync::Arc;

use llmspell_core::capability::{ModelRef, Models};
use llmspell_core::chat::{ChatRequest, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::configured_provider::ConfiguredProvider;
use crate::output::with_schema_prompt;
use crate::provider::{Attempt, SamplingSupport};
use crate::provider_call::CallDeadline;
use crate::refused::{self, Parameter, RefusedParameters};
use crate::resolve::named;

/// The models of a call, in order, and the failures so far.
pub(crate) struct FallbackChain<'a> {
    client: &'a Client,
    /// The provider to call now.
    entry: &'a ConfiguredProvider,
    /// The idempotency key of the call. It is the same for each retry, and when the run is resumed.
    idempotency_key: String,
    fitted: FittedRequest,
    rest: VecDeque<ModelRef>,
    failed: Vec<FailedModel>,
    /// The parameters that models of this call refused.
    refused: Vec<Parameter>,
    /// The attempts that ended with such a refusal.
    refused_attempts: u32,
}

/// A request, adapted to the current model.
struct FittedRequest {
    attempt: Attempt,
    /// The original request, if it was changed.
    given: Option<ChatRequest>,
    /// Warnings for the user about parameters that the model does not accept.
    warnings: Vec<String>,
}

/// A model that failed to answer.
struct FailedModel {
    /// The model and the reason, as text.
    told: String,
    attempts: u32,
    usage: Usage,
    retryable: bool,
}

impl<'a> FallbackChain<'a> {
    /// Creates a chain, which begins with the requested model.
    ///
    /// # Errors
    /// When any model of the chain is not available.
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
        Ok(Self {
            client,
            entry,
            idempotency_key,
            fitted,
            rest,
            failed: Vec::new(),
            refused: Vec::new(),
            refused_attempts: 0,
        })
    }

    /// Returns the provider to call now.
    pub(crate) fn entry(&self) -> &'a ConfiguredProvider {
        self.entry
    }

    /// Returns the adapted request.
    pub(crate) fn attempt(&self) -> &Attempt {
        &self.fitted.attempt
    }

    /// Returns whether another model remains.
    pub(crate) fn goes_on(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Moves on: without a parameter that the model has just refused, or else to the next model.
    ///
    /// # Errors
    /// The final error of the call: the request is at fault, a chunk of the answer was delivered (`handed`), the time
    /// is up, or no model remains.
    pub(crate) fn turn(&mut self, error: Error, handed: bool, time: CallDeadline) -> Result<()> {
        if !handed && !time.is_up() && self.learn(&error) {
            self.refused_attempts += error.call().map_or(0, |call| call.attempts);
            let request = self.given();
            self.fitted = fit(self.entry, request, &self.next_key());
            return Ok(());
        }
        if handed || !is_of_provider(&error) || time.is_up() {
            return Err(self.ended(&error));
        }
        let Some(next) = self.rest.pop_front() else { return Err(self.ended(&error)) };
        self.failed.push(self.failure(&error));
        self.entry = named(self.client.entries(), &next.provider)?;
        let mut request = self.given();
        request.provider = Some(next.provider);
        request.model = Some(next.model);
        self.fitted = fit(self.entry, request, &self.next_key());
        Ok(())
    }

    /// Returns the request as the caller made it, for another model of the chain.
    fn given(&mut self) -> ChatRequest {
        let given = self.fitted.given.take();
        given.unwrap_or_else(|| ChatRequest::clone(&self.attempt().request))
    }

    /// Returns the idempotency key of a changed request, which the provider must not take for a repetition.
    fn next_key(&self) -> String {
        format!("{}-{}", self.idempotency_key, self.failed.len() + self.refused.len())
    }

    /// Stores a parameter that the model refused, so that it is left out from now on. Returns whether the call can be
    /// made once more without it.
    fn learn(&mut self, error: &Error) -> bool {
        let source = std::error::Error::source(error);
        let Some(refused) = source.and_then(|source| source.downcast_ref::<RefusedParameters>()) else {
            return false;
        };
        let request = &self.fitted.attempt.request;
        let sent = |parameter: &&Parameter| parameter.is_in(request) && !self.refused.contains(parameter);
        let (Some(parameter), Some(base_url)) =
            (refused.0.iter().find(sent).copied(), self.entry.base_url.as_deref())
        else {
            return false;
        };
        refused::learn(base_url, request.model.as_deref().unwrap_or_default(), parameter);
        self.refused.push(parameter);
        true
    }

    /// Completes a reply with the failed models and their usage, and with the warning about omitted parameters.
    pub(crate) fn served(&self, mut reply: Reply) -> Reply {
        reply.usage = self.failed.iter().fold(reply.usage, |sum, failed| add(sum, &failed.usage));
        reply.attempts +=
            self.refused_attempts + self.failed.iter().map(|failed| failed.attempts).sum::<u32>();
        reply.failed = self.failed.iter().map(|failed| failed.told.clone()).collect();
        reply.warnings.extend(self.fitted.warnings.iter().cloned());
        reply
    }

    fn failure(&self, error: &Error) -> FailedModel {
        let model = self.attempt().request.model.as_deref().unwrap_or_default();
        let name = &self.entry.name;
        let why = error.message();
        let why = why.strip_prefix(name.as_str()).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
        let call = error.call();
        FailedModel {
            told: format!("{name}/{model}: {why}"),
            attempts: call.map_or(0, |call| call.attempts),
            usage: call.and_then(|call| call.usage.clone()).unwrap_or_default(),
            retryable: error.is_retryable(),
        }
    }

    /// Returns the error of the whole call: the last model's error, with the failures of the others.
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

/// Adapts a request to its model: adds schema instructions to the prompt, and omits sampling parameters that the model
/// refuses.
fn fit(entry: &ConfiguredProvider, given: ChatRequest, idempotency_key: &str) -> FittedRequest {
    let mut told = with_schema_prompt(entry, &given);
    let mut warnings: Vec<String> = refused_sampling(entry, &given).into_iter().collect();
    if !warnings.is_empty() {
        let request = told.get_or_insert_with(|| given.clone());
        (request.temperature, request.top_p) = (None, None);
    }
    for parameter in LEFT_OUT {
        let request = told.as_ref().unwrap_or(&given);
        if parameter.is_in(request) && entry.refuses(request, parameter) {
            warnings.push(left_out(entry, request, parameter));
            omit(told.get_or_insert_with(|| given.clone()), parameter);
        }
    }
    let (request, given) = match told {
        Some(told) => (told, Some(given)),
        None => (given, None),
    };
    FittedRequest {
        attempt: Attempt { request: Arc::new(request), idempotency_key: idempotency_key.into() },
        given,
        warnings,
    }
}

/// The parameters that are left out if a model refuses them. The others have another form.
const LEFT_OUT: [Parameter; 5] =
    [Parameter::Temperature, Parameter::TopP, Parameter::Stop, Parameter::Seed, Parameter::Reasoning];

fn omit(request: &mut ChatRequest, parameter: Parameter) {
    match parameter {
        Parameter::Temperature => request.temperature = None,
        Parameter::TopP => request.top_p = None,
        Parameter::Stop => request.stop.clear(),
        Parameter::Seed => request.seed = None,
        Parameter::Reasoning => request.reasoning = None,
        Parameter::MaxTokens | Parameter::Output | Parameter::StreamOptions => {}
    }
}

fn left_out(entry: &ConfiguredProvider, request: &ChatRequest, parameter: Parameter) -> String {
    let (provider, model) = (&entry.name, request.model.as_deref().unwrap_or_default());
    format!("{provider}/{model} does not take `{}`: it was left out", parameter.name())
}

/// Returns a warning if the model refuses the request's sampling parameters. The text depends only on the model, not on
/// which parameter was set, so that it is logged once.
fn refused_sampling(entry: &ConfiguredProvider, request: &ChatRequest) -> Option<String> {
    request.temperature.or(request.top_p)?;
    let when = match entry.provider.takes_sampling(request) {
        SamplingSupport::Yes => return None,
        SamplingSupport::NotReasoning => " while it reasons",
        SamplingSupport::No => "",
    };
    let (provider, model) = (&entry.name, request.model.as_deref().unwrap_or_default());
    Some(format!("{provider}/{model} does not take `temperature` and `top_p`{when}: they were left out"))
}

/// Returns whether another provider may succeed: the fault lies neither in the request nor in the configuration.
fn is_of_provider(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Quota
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::ModelLoading
            | ErrorKind::Network
            | ErrorKind::Timeout
            | ErrorKind::BadResponse
            | ErrorKind::EmptyResponse
            | ErrorKind::ContentFiltered
            | ErrorKind::BadStream
            | ErrorKind::StreamInterrupted
    )
}

/// Adds usage. Known costs are added up. A sum of free and unknown costs is unknown.
pub(crate) fn add(mut sum: Usage, more: &Usage) -> Usage {
    let is_unpriced =
        |usage: &Usage| usage.cost_usd.is_none() && (usage.input_tokens > 0 || usage.output_tokens > 0);
    let is_unknown = is_unpriced(&sum) || is_unpriced(more);
    sum.add_tokens(more);
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
