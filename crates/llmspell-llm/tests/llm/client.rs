//! The behaviour of the client that does not depend on the provider.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use llmspell_core::ErrorKind;
use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Delta};
use llmspell_core::effect::Permit;
use llmspell_llm::{Client, Mock, MockGate, ProtocolKind, ProviderConfig, ProviderRow, RateLimits};
use serde_json::json;

use crate::fault_server::{FaultServer, Step, response, stream_head};
use crate::support::{ask, client, frames, sample};

fn row(name: &str) -> ProviderConfig {
    ProviderConfig::from_row(ProviderRow::find(name).unwrap()).key("k")
}

fn mock_ask(text: &str) -> ChatRequest {
    ChatRequest { provider: Some("mock".into()), model: Some("echo".into()), ..ChatRequest::prompt(text) }
}

#[test]
fn names_mean_what_a_user_would_think() {
    let client = Client::builder()
        .provider(row("openai"))
        .provider(row("openrouter"))
        .mock(Mock::new())
        .build()
        .unwrap();
    for (provider, model, expected) in [
        (None, None, "openai/gpt-5.4-mini"),
        (None, Some("gpt-4o"), "openai/gpt-4o"),
        (None, Some("a-model-of-tomorrow"), "openai/a-model-of-tomorrow"),
        (None, Some("mock/echo"), "mock/echo"),
        (None, Some("openrouter/anthropic/claude"), "openrouter/anthropic/claude"),
        (Some("openrouter"), Some("anthropic/claude"), "openrouter/anthropic/claude"),
        (Some("openai"), Some("openai/gpt-4o"), "openai/gpt-4o"),
        (Some("mock"), None, "mock/echo"),
        (None, Some("meta/llama"), "openai/meta/llama"),
    ] {
        assert_eq!(client.resolve(provider, model).unwrap().to_string(), expected, "{provider:?} {model:?}");
    }
    for (provider, model, expected) in [
        (
            Some("opnai"),
            None,
            "no_provider: there is no provider `opnai` [did you mean `openai`? usable now: `openai`, `openrouter`, `mock`]",
        ),
        (
            Some("groq"),
            None,
            "no_provider: the provider `groq` is not set up [set `GROQ_API_KEY` to its key usable now: `openai`, `openrouter`, `mock`]",
        ),
        (
            None,
            Some("anthropic/claude"),
            "no_provider: the provider `anthropic` is not set up [set `ANTHROPIC_API_KEY` to its key usable now: `openai`, `openrouter`, `mock`]",
        ),
        (Some("mock"), Some("ehco"), "unknown_model: `mock` has no model `ehco` [did you mean `mock/echo`?]"),
    ] {
        let error = client.resolve(provider, model).unwrap_err();
        let told = format!("{}: {error} [{}]", error.kind(), error.hints().join(" "));
        assert_eq!(told, expected);
    }
    let nothing = Client::builder().build().unwrap().resolve(None, None).unwrap_err();
    assert_eq!(nothing.to_string(), "no provider of models is set up");
    assert_eq!(
        nothing.hints(),
        ["set `OPENAI_API_KEY` to its key, or set `MOCK_LLM=true` to try without one"]
    );
}

#[test]
fn the_default_comes_first_and_has_to_be_there() {
    let client =
        Client::builder().provider(row("openai")).mock(Mock::new()).default_provider("mock").build().unwrap();
    let names: Vec<String> = client.providers().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["mock", "openai"]);
    let error = Client::builder().mock(Mock::new()).default_provider("openai").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoProvider);
    let twice = Client::builder().provider(row("openai")).provider(row("openai")).build().unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_unknown_model_is_told_with_the_names_near_it() {
    let body = json!({"error": {"code": "model_not_found", "message": "no such model"}}).to_string();
    let server = FaultServer::start(vec![response(404, "", &body)]).await;
    let config = row("openai").base_url(&server.url).unwrap();
    let client = Client::builder().provider(config).build().unwrap();
    let request = ChatRequest { provider: Some("openai".into()), model: Some("gpt-4oo".into()), ..ask() };
    let error = client.chat(Permit::for_test(), request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownModel);
    assert!(error.hints()[0].starts_with("did you mean `openai/gpt-4o`"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_model_that_the_catalogue_cannot_guess_is_told_by_the_providers_list() {
    let refused = response(404, "", r#"{"error": "model 'nothing-like-it' not found"}"#);
    let listed = response(200, "", r#"{"models": [{"name": "llama3.2"}, {"name": "qwen3"}]}"#);
    // The model's size is requested first.
    let server = FaultServer::start(vec![refused, listed]).await;
    let client = Client::builder().provider(row("ollama").base_url(&server.url).unwrap()).build().unwrap();
    let request =
        ChatRequest { provider: Some("ollama".into()), model: Some("nothing-like-it".into()), ..ask() };
    let error = client.chat(Permit::for_test(), request).await.unwrap_err();
    assert_eq!(error.to_string(), "ollama: answered 404: model 'nothing-like-it' not found");
    assert_eq!(error.hints(), ["it has `ollama/llama3.2`, `ollama/qwen3`"]);
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_is_told_without_it() {
    let config = row("openai").key("sk-canary\n").base_url("http://127.0.0.1:1").unwrap();
    let client = Client::builder().provider(config).build().unwrap();
    let request = ChatRequest { provider: Some("openai".into()), ..ask() };
    let error = client.chat(Permit::for_test(), request).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Auth, "openai: the key has characters that no key has")
    );
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn a_known_model_has_its_price() {
    let body = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}});
    let server = FaultServer::start(vec![response(200, "", &body.to_string())]).await;
    let config = row("openai").base_url(&server.url).unwrap();
    let client = Client::builder().provider(config).build().unwrap();
    let request = ChatRequest { provider: Some("openai".into()), model: Some("gpt-4o".into()), ..ask() };
    let reply = client.chat(Permit::for_test(), request).await.unwrap();
    assert_eq!(reply.usage.cost_usd, Some(3.5));
    assert_eq!((reply.provider.as_str(), reply.model.as_str()), ("openai", "gpt-4o"));
}

#[tokio::test]
async fn one_providers_failure_does_not_hide_the_others_models() {
    let good = FaultServer::start(vec![response(
        200,
        "",
        r#"{"data": [{"id": "gpt-4o"}, {"id": "mine", "context_length": 7}]}"#,
    )])
    .await;
    let bad = FaultServer::start(vec![response(401, "", r#"{"error": {"message": "no"}}"#)]).await;
    let client = Client::builder()
        .provider(row("openai").base_url(&good.url).unwrap())
        .provider(row("openai-responses").base_url(&good.url).unwrap())
        .provider(row("groq").base_url(&bad.url).unwrap())
        .mock(Mock::new())
        .build()
        .unwrap();
    let listing = client.list(Permit::for_test(), None).await.unwrap();
    let models: Vec<(&str, Option<u64>)> =
        listing.models.iter().map(|model| (model.id.as_str(), model.context_window)).collect();
    assert_eq!(
        models,
        [
            ("openai/gpt-4o", Some(128_000)),
            ("openai/mine", Some(7)),
            ("mock/echo", Some(8_192)),
            ("mock/echo-large", Some(131_072)),
        ]
    );
    let errors: Vec<String> = listing.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["groq: answered 401: no"]);
    assert!(client.list(Permit::for_test(), Some("nope".into())).await.is_err());
}

#[tokio::test]
async fn the_first_piece_arrives_before_the_last_is_sent() {
    let stream = sample(ProtocolKind::OpenAiChat).stream;
    let middle = stream.find("你好").unwrap() - 60;
    let script = vec![
        stream_head("text/event-stream"),
        Step::Send(stream.as_bytes()[..middle].to_vec()),
        Step::Wait,
        Step::Send(stream.as_bytes()[middle..].to_vec()),
    ];
    let server = FaultServer::start(vec![script]).await;
    let caller = client(ProtocolKind::OpenAiChat, &server.url, |builder| builder);
    let mut pieces = caller.client().stream(Permit::for_test(), ask()).await.unwrap();
    assert_eq!(pieces.next().await.unwrap().unwrap(), Delta::Text { text: "grüß ".into() });
    server.go_on();
    let rest: Vec<_> = pieces.collect().await;
    assert!(matches!(rest.last(), Some(Ok(Delta::End { .. }))), "{rest:?}");
}

#[tokio::test]
async fn dropping_a_call_closes_its_socket() {
    let begun = frames(ProtocolKind::OpenAiChat, &[json!({"choices": [{"delta": {"content": "hi"}}]})]);
    let script = vec![stream_head("text/event-stream"), Step::Send(begun.into_bytes()), Step::Hang];
    let mut server = FaultServer::start(vec![script]).await;
    let caller = client(ProtocolKind::OpenAiChat, &server.url, |builder| builder);
    let mut pieces = caller.client().stream(Permit::for_test(), ask()).await.unwrap();
    pieces.next().await.unwrap().unwrap();
    let before = Instant::now();
    drop(pieces);
    server.client_gone().await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());

    let mut server = FaultServer::start(vec![vec![Step::Hang]]).await;
    let caller = client(ProtocolKind::OpenAiChat, &server.url, |builder| builder);
    let mut call = caller.client().chat(Permit::for_test(), ask());
    while server.requests().is_empty() {
        tokio::select! {
            _ = &mut call => panic!("the server never answers"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(call);
    server.client_gone().await;
}

#[test]
fn calls_run_on_the_runtime_they_are_given() {
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server =
        io.block_on(FaultServer::start(vec![response(200, "", &sample(ProtocolKind::Gemini).whole)]));
    let caller = client(ProtocolKind::Gemini, &server.url, |builder| builder.io(io.handle().clone()));
    // There is no runtime here, so this thread cannot drive a socket.
    let reply = futures_executor_block_on(caller.client().chat(Permit::for_test(), ask()));
    assert_eq!(reply.unwrap().text, "grüß 你好 🦀");
}

/// Polls a future on this thread, and parks it in between.
fn futures_executor_block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_allowed() {
    let gate = MockGate::new();
    let mock = Mock::new().gate(&gate);
    let client = Client::builder()
        .mock(mock.clone())
        .pace(RateLimits { in_flight: NonZeroUsize::new(2), ..RateLimits::default() })
        .build()
        .unwrap();
    let calls: Vec<_> = (0..5)
        .map(|number| tokio::spawn(client.chat(Permit::for_test(), mock_ask(&number.to_string()))))
        .collect();
    for expected in [2, 3, 4, 5] {
        while mock.requests().len() < expected {
            tokio::task::yield_now().await;
        }
        // Any further request would arrive during this loop.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(mock.requests().len(), expected);
        gate.pass(1);
    }
    gate.pass(1);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn the_mock_streams_word_by_word_and_fails_as_told() {
    let error = llmspell_core::Error::new(ErrorKind::StreamInterrupted, "cut");
    let mock = Mock::new()
        .reply("one two three")
        .reply_tool_call("add", json!({"a": 1}))
        .broken("half an", error)
        .chunk(100);
    let words = Client::builder().mock(Mock::new()).build().unwrap();
    let pieces: Vec<_> = words.stream(Permit::for_test(), mock_ask("a b")).await.unwrap().collect().await;
    let texts: Vec<String> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Ok(Delta::Text { text }) => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["mock: ", "a ", "b"]);
    let Some(Ok(Delta::End { reply })) = pieces.last() else { panic!("{pieces:?}") };
    assert_eq!((reply.text.as_str(), reply.usage.cost_usd), ("mock: a b", Some(0.0)));

    let client = Client::builder().mock(mock).build().unwrap();
    assert_eq!(client.chat(Permit::for_test(), mock_ask("x")).await.unwrap().text, "one two three");
    assert_eq!(client.chat(Permit::for_test(), mock_ask("x")).await.unwrap().tool_calls[0].name, "add");
    let pieces: Vec<_> = client.stream(Permit::for_test(), mock_ask("x")).await.unwrap().collect().await;
    let error = pieces.into_iter().last().unwrap().unwrap_err();
    assert_eq!(error.call().unwrap().partial.as_deref(), Some("half an"));
}

#[tokio::test]
async fn a_request_sets_the_number_of_its_retries() {
    for (retries, attempts) in [(None, 3), (Some(0), 1), (Some(4), 5), (Some(1_000), 10)] {
        let server = crate::fault_server::FaultServer::start(vec![response(503, "", "{}")]).await;
        let client = crate::support::client(ProtocolKind::OpenAiChat, &server.url, |builder| builder);
        let request = ChatRequest { retries, ..crate::support::ask() };
        let error = client.ask_whole(request).await.unwrap_err();
        assert_eq!(error.call().unwrap().attempts, attempts, "{retries:?}");
    }
}
