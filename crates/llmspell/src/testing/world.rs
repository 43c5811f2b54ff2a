//! The scripted world of a test: models and web pages with the answers that the test gives, without sockets.
//!
//! Both stand behind the gate, in place of the real `Models` and `Net`. Everything in front of them is real:
//! permissions, limits, retries and redirects.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use indexmap::IndexMap;
use llmspell_core::capability::{
    ConnectPermit, Console, Estimate, Incoming, ModelListing, ModelRef, Models, Net, Outgoing, ProviderInfo,
};
use llmspell_core::chat::{ChatRequest, Delta, Reply};
use llmspell_core::effect::Permit;
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Error, ErrorKind, Result, Value, from_value};
use llmspell_llm::{Client, Mock, PROVIDERS, Provider, ProviderRow, RetryPolicy};

use super::options::{HttpAnswer, ModelAnswer, Short, WantedCall};

const MOCK: &str = "mock";
const ECHO: &str = "echo";

/// The address of every host name in a scripted web. Nothing connects to it.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14));

/// The first request that a test has no scripted answer for.
#[derive(Clone, Default)]
pub(super) struct UnmatchedRequests(Arc<Mutex<Option<Error>>>);

impl UnmatchedRequests {
    fn note(&self, error: &Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
    }

    /// Returns and removes the error of that request.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Models that give the answers of the test in order, for whichever model is asked.
pub(super) struct ScriptedModels {
    client: Client,
    mock: Mock,
    answers: usize,
    unmatched: UnmatchedRequests,
}

impl ScriptedModels {
    pub(super) fn new(answers: &[Short<ModelAnswer>], unmatched: &UnmatchedRequests) -> Result<Self> {
        let mut mock = Mock::new();
        for Short(answer) in answers {
            mock = add(mock, answer)?;
        }
        let message = match answers.len() {
            1 => "`model` scripts one answer, and the spell asks for more".to_owned(),
            count => format!("`model` scripts {count} answers, and the spell asks for more"),
        };
        mock = mock.otherwise(Error::new(ErrorKind::Replay, message));
        // Retries need no delay here, since there is no provider to protect.
        let retry = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
        let mut builder = Client::builder().retry(retry).mock(mock.clone());
        for row in PROVIDERS {
            builder = builder.custom(row.name, Arc::new(mock.clone()) as Arc<dyn Provider>);
        }
        let unmatched = unmatched.clone();
        Ok(Self { client: builder.build()?, mock, answers: answers.len(), unmatched })
    }

    fn look(&self) -> impl Fn(&Error) + Send + 'static {
        let (mock, answers, unmatched) = (self.mock.clone(), self.answers, self.unmatched.clone());
        move |error| {
            if mock.requests().len() > answers {
                unmatched.note(error);
            }
        }
    }
}

fn add(mock: Mock, answer: &ModelAnswer) -> Result<Mock> {
    let ModelAnswer { text, tool_calls, status, retry_after, cut, bad_json, delay } = answer;
    let delay = Duration::try_from_secs_f64(*delay)
        .map_err(|error| Error::argument(format!("`delay` is no time: {error}")))?;
    let mock = match (text, status, cut, bad_json) {
        (text, None, None, false) if !tool_calls.is_empty() => {
            let calls: Result<Vec<_>> = tool_calls.iter().map(wanted).collect();
            mock.reply_tool_calls(text.clone().unwrap_or_default(), calls?)
        }
        (Some(text), None, None, false) => mock.reply(text),
        (None, Some(status @ 400..=599), None, false) => mock.status(*status, *retry_after),
        (None, Some(_), None, false) => return Err(Error::argument("`status` is one from 400 to 599")),
        (None, None, Some(text), false) => mock.cut(text),
        (None, None, None, true) => mock.garbled(),
        _ => {
            let message = "an answer has one of `text`, `tool_calls`, `status`, `cut` and `bad_json`";
            return Err(Error::argument(message));
        }
    };
    Ok(mock.after(delay))
}

/// Returns the tool's name and the arguments as a model writes them. A script's empty table may arrive as a list.
fn wanted(call: &WantedCall) -> Result<(String, serde_json::Value)> {
    let arguments = match &call.arguments {
        Value::Nil => serde_json::json!({}),
        Value::List(items) if items.is_empty() => serde_json::json!({}),
        arguments => from_value(arguments.clone())?,
    };
    Ok((call.name.clone(), arguments))
}

impl Models for ScriptedModels {
    fn providers(&self) -> Vec<ProviderInfo> {
        self.client.providers().into_iter().filter(|provider| provider.name == MOCK).collect()
    }

    /// Accepts any model of any known provider.
    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let known = |name: &str| name == MOCK || ProviderRow::find(name).is_some();
        let (provider, model) = match (provider, model.and_then(|model| model.split_once('/'))) {
            (None, Some((provider, model))) if known(provider) => (provider, Some(model)),
            (Some(provider), Some((same, model))) if same == provider => (provider, Some(model)),
            (provider, _) => (provider.unwrap_or(MOCK), model),
        };
        if !known(provider) {
            return self.client.resolve(Some(provider), model);
        }
        let default = ProviderRow::find(provider).map_or(ECHO, |row| row.default_model);
        Ok(ModelRef { provider: provider.to_owned(), model: model.unwrap_or(default).to_owned() })
    }

    fn chat(&self, permit: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        let (asking, look) = (self.client.chat(permit, request), self.look());
        Box::pin(async move { asking.await.inspect_err(look) })
    }

    fn stream(
        &self,
        permit: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let (asking, look) = (self.client.stream(permit, request), self.look());
        Box::pin(async move { asking.await.inspect_err(look) })
    }

    fn embed_model(&self, provider: &str) -> Result<String> {
        self.client.embed_model(provider)
    }

    /// Returns the mock's vectors, which need no script.
    fn embed(&self, permit: Permit, request: EmbedRequest) -> BoxFuture<'static, Result<Embeddings>> {
        self.client.embed(permit, request)
    }

    fn list(&self, permit: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        self.client.list(permit, Some(provider.unwrap_or_else(|| MOCK.to_owned())))
    }

    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64 {
        self.client.count_tokens(text, model)
    }

    fn estimate(&self, request: &ChatRequest) -> Estimate {
        self.client.estimate(request)
    }
}

/// A web with the pages that a test gives.
pub(super) struct ScriptedWeb {
    pages: IndexMap<String, HttpAnswer>,
    unmatched: UnmatchedRequests,
}

impl ScriptedWeb {
    pub(super) fn new(pages: IndexMap<String, Short<HttpAnswer>>, unmatched: &UnmatchedRequests) -> Self {
        let pages = pages.into_iter().map(|(url, Short(page))| (url, page)).collect();
        Self { pages, unmatched: unmatched.clone() }
    }

    fn answer(&self, url: &str) -> Result<Incoming> {
        let found = self.pages.iter().find(|(known, _)| is_same_address(known, url));
        let Some((_, HttpAnswer { status, headers, body })) = found else {
            let error = Error::new(ErrorKind::Replay, format!("`http` has no answer for {url}"));
            self.unmatched.note(&error);
            return Err(error);
        };
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = bytes::Bytes::from(body.clone());
        Ok(Incoming { status: *status, headers, body: stream::iter([Ok(body)]).boxed() })
    }
}

/// Whether two URLs are the same. A URL without a path is the same as with a final slash.
fn is_same_address(meant: &str, url: &str) -> bool {
    meant == url || url.strip_suffix('/') == Some(meant)
}

impl Net for ScriptedWeb {
    fn resolve(&self, _: &Permit, _: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![SOMEWHERE]) })
    }

    fn exchange(&self, dial: ConnectPermit, _: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        let answer = self.answer(dial.url().as_str());
        Box::pin(async { answer })
    }
}

/// A console and a network that never answer with anything real. The journal of a test answers before they are reached.
pub(super) struct OfflineWorld;

impl Console for OfflineWorld {
    fn read_line(&self, _: Permit, _: String) -> BoxFuture<'static, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

impl Net for OfflineWorld {
    fn resolve(&self, _: &Permit, _: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        Box::pin(async { Err(Error::internal("a test looked for a host")) })
    }

    fn exchange(&self, _: ConnectPermit, _: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        Box::pin(async { Err(Error::internal("a test reached for a host")) })
    }
}
