//! An invented world for the bridges: scripted models, and script functions written in Rust.

use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use llmspell_bridges::BRIDGES;
use llmspell_core::bridge::{Arguments, Handler};
use llmspell_core::callback::CallbackCall;
use llmspell_core::capability::{ModelListing, ModelRef, Models, ProviderInfo};
use llmspell_core::chat::{ChatRequest, Delta, ModelInfo, Reply, Usage};
use llmspell_core::effect::Permit;
use llmspell_core::{
    Callback, CallbackHost, Context, Error, ErrorKind, Event, Map, Method, Result, Sink, Value,
};

/// Calls `bridge.method` like a script.
pub(crate) async fn call(cx: &Context, path: &str, arguments: Vec<Value>) -> Result<Value> {
    let (bridge, method) = path.split_once('.').unwrap();
    let bridge = BRIDGES.iter().map(|bridge| bridge()).find(|known| known.name == bridge).unwrap();
    run(cx, bridge.methods.iter().find(|known| known.name == method).unwrap(), arguments).await
}

/// Calls `object:method` like a script.
pub(crate) async fn call_on(
    cx: &Context,
    object: &Value,
    method: &str,
    arguments: Vec<Value>,
) -> Result<Value> {
    let Value::Object(inner) = object else { panic!("not an object: {object:?}") };
    let method = inner.class().methods.iter().find(|known| known.name == method).unwrap();
    run(cx, method, [object.clone()].into_iter().chain(arguments).collect()).await
}

/// Reads `object.field`.
pub(crate) fn read(cx: &Context, object: &Value, field: &str) -> Value {
    let Value::Object(inner) = object else { panic!("not an object: {object:?}") };
    let field = inner.class().fields.iter().find(|known| known.name == field).unwrap();
    (field.get)(cx, Arguments::new(vec![object.clone()])).unwrap()
}

async fn run(cx: &Context, method: &Method, arguments: Vec<Value>) -> Result<Value> {
    match &method.handler {
        Handler::Sync(function) => function(cx, Arguments::new(arguments)),
        Handler::Async(function) => function(cx.clone(), Arguments::new(arguments)).await,
    }
}

/// Converts JSON to a value.
pub(crate) fn value(json: serde_json::Value) -> Value {
    llmspell_core::to_value(&json).unwrap()
}

/// Returns an error's kind and message.
pub(crate) fn refusal(result: Result<Value>) -> String {
    let error = result.unwrap_err();
    format!("{}: {}", error.kind(), error.message())
}

type Answer = Box<dyn Fn(Vec<Value>) -> Result<Value> + Send + Sync>;

struct Host(Answer);

impl CallbackHost for Host {
    fn call(&self, call: CallbackCall) -> BoxFuture<'static, Result<Value>> {
        ready((self.0)(call.arguments)).boxed()
    }

    fn release(&self, _: u64) {}
}

/// Returns a script function that answers immediately.
pub(crate) fn function(answer: impl Fn(Vec<Value>) -> Result<Value> + Send + Sync + 'static) -> Value {
    Value::Callback(Callback::new(1, Arc::new(Host(Box::new(answer)))))
}

/// Models that stream scripted chunks, or return all of them as one answer.
pub(crate) struct Scripted {
    pub(crate) pieces: Vec<Result<&'static str>>,
    /// The answer without its text.
    pub(crate) reply: Reply,
    /// Whether the stream stays open after its last chunk, forever.
    pub(crate) hangs: bool,
    pub(crate) requests: Mutex<Vec<ChatRequest>>,
    /// Cloned into each open stream, so its reference count shows how many are open.
    pub(crate) open: Arc<()>,
}

impl Default for Scripted {
    fn default() -> Self {
        let usage = Usage { input_tokens: 3, output_tokens: 2, cost_usd: Some(0.5), ..Usage::default() };
        Self {
            pieces: vec![Ok("Hello"), Ok(", Ada")],
            reply: Reply { usage, attempts: 1, ..Reply::default() },
            hangs: false,
            requests: Mutex::default(),
            open: Arc::new(()),
        }
    }
}

impl Scripted {
    /// Returns the requests so far, as `provider/model: text | text | …`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let line = |request: &ChatRequest| {
            let texts: Vec<_> = request.messages.iter().map(|message| message.joined_text()).collect();
            let (provider, model) = (request.provider.as_deref(), request.model.as_deref());
            format!("{}/{}: {}", provider.unwrap(), model.unwrap(), texts.join(" | "))
        };
        requests.iter().map(line).collect()
    }

    fn answer(&self, request: &ChatRequest) -> Reply {
        let text = self.pieces.iter().flatten().copied().collect();
        let (provider, model) = (request.provider.clone().unwrap(), request.model.clone().unwrap());
        Reply { text, provider, model, ..self.reply.clone() }
    }
}

const PROVIDERS: [(&str, &[&str]); 2] =
    [("near", &["small", "large"]), ("far", &["wide", "org/deep", "thin"])];

impl Models for Scripted {
    fn providers(&self) -> Vec<ProviderInfo> {
        PROVIDERS
            .iter()
            .map(|(name, models)| ProviderInfo {
                name: (*name).into(),
                default_model: models[0].into(),
                found_by: "test".into(),
                base_url: None,
            })
            .collect()
    }

    fn resolve(&self, provider: Option<&str>, model: Option<&str>) -> Result<ModelRef> {
        let (provider, model) = match (provider, model.and_then(|model| model.split_once('/'))) {
            (None, Some((provider, model))) => (Some(provider), Some(model)),
            _ => (provider, model),
        };
        let provider = provider.unwrap_or("near");
        let (name, models) = PROVIDERS.into_iter().find(|(name, _)| *name == provider).ok_or_else(|| {
            Error::new(ErrorKind::NoProvider, format!("no provider `{provider}`; there are near, far"))
        })?;
        let model = model.unwrap_or(models[0]);
        if !models.contains(&model) {
            return Err(Error::new(ErrorKind::UnknownModel, format!("`{name}` has no model `{model}`")));
        }
        Ok(ModelRef { provider: name.into(), model: model.into() })
    }

    fn chat(&self, _: Permit, request: ChatRequest) -> BoxFuture<'static, Result<Reply>> {
        let failed = self.pieces.iter().find_map(|piece| piece.clone().err());
        let reply = self.answer(&request);
        self.requests.lock().unwrap().push(request);
        ready(failed.map_or(Ok(reply), Err)).boxed()
    }

    fn stream(
        &self,
        _: Permit,
        request: ChatRequest,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        let end = Delta::End { reply: Box::new(self.answer(&request)) };
        self.requests.lock().unwrap().push(request);
        let pieces = self.pieces.clone().into_iter();
        let pieces = pieces.map(|piece| piece.map(|text| Delta::Text { text: text.into() }));
        let last =
            if self.hangs { stream::pending().left_stream() } else { stream::iter([Ok(end)]).right_stream() };
        let open = Arc::clone(&self.open);
        let pieces = stream::iter(pieces).chain(last).inspect(move |_| drop(Arc::clone(&open)));
        ready(Ok(pieces.boxed())).boxed()
    }

    fn list(&self, _: Permit, provider: Option<String>) -> BoxFuture<'static, Result<ModelListing>> {
        let mut listing = ModelListing::default();
        for (name, models) in PROVIDERS {
            if provider.as_ref().is_some_and(|provider| provider != name) {
                continue;
            }
            if name == "far" {
                listing.errors.push(Error::new(ErrorKind::Network, "`far` cannot be reached"));
                continue;
            }
            listing.models.extend(models.iter().map(|model| ModelInfo {
                id: format!("{name}/{model}"),
                name: (*model).into(),
                provider: name.into(),
                ..ModelInfo::default()
            }));
        }
        ready(Ok(listing)).boxed()
    }

    fn count_tokens(&self, text: &str, model: &ModelRef) -> u64 {
        text.len() as u64 * if model.model == "large" { 10 } else { 1 }
    }
}

/// Returns the context of a run with these models.
pub(crate) fn run_with(models: &Arc<Scripted>) -> Context {
    Context::builder().models(Arc::clone(models) as Arc<dyn Models>).build()
}

/// Records the events of a run, one line per event.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for Heard {
    fn emit(&self, event: Event) {
        let line = match event {
            Event::Output { text } => format!("output {text:?}"),
            Event::Log(entry) => {
                let fields = serde_json::to_string(&entry.fields).unwrap();
                format!("{} {} {fields}", entry.level.as_str(), entry.message)
            }
            Event::Chunk { text } => format!("chunk {text:?}"),
            Event::Progress(now) => {
                let total = now.total.map_or("?".into(), |total| total.to_string());
                let end = if now.finished { " finished" } else { "" };
                format!("progress {}: {}/{total} {:?} {:?}{end}", now.id, now.done, now.label, now.message)
            }
            Event::Usage { usage } => format!("usage {}/{}", usage.input_tokens, usage.output_tokens),
            Event::Agent(event) => format!("agent {} {:?}", event.agent, event.step),
            Event::Effect(effect) => format!("effect {} {}", effect.at, effect.operation),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// An empty table.
pub(crate) fn table() -> Value {
    Value::Map(Map::new())
}
