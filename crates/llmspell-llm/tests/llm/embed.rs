//! Embeddings, for each API that offers them.

use std::sync::Arc;

use llmspell_core::capability::Models;
use llmspell_core::effect::Permit;
use llmspell_core::embed::{EmbedRequest, Embeddings};
use llmspell_core::{Context, Error, ErrorKind, Limits};
use llmspell_llm::{Client, Mock, ProtocolKind, ProviderConfig};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, response};
use crate::support::CANARY;

fn texts(texts: &[&str]) -> EmbedRequest {
    EmbedRequest {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        provider: Some("p".into()),
        model: Some("m".into()),
        ..EmbedRequest::default()
    }
}

async fn embed(protocol: ProtocolKind, url: &str, request: EmbedRequest) -> Result<Embeddings, Error> {
    let config = ProviderConfig::new("p", protocol, url).unwrap().key(CANARY);
    let client = Client::builder().provider(config).build().unwrap();
    client.embed(Permit::for_test(), request).await
}

#[tokio::test]
async fn each_api_is_asked_in_its_own_words() {
    let openai = json!({"model": "e", "usage": {"prompt_tokens": 5},
        "data": [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [0.5, -0.25]}]});
    let asked = json!({"model": "m", "input": ["one", "two"], "encoding_format": "float", "dimensions": 2});
    let gemini_one = |text: &str| json!({"model": "models/m", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2});
    for (protocol, path, body, answer) in [
        (ProtocolKind::OpenAiChat, "/v1/embeddings", asked.clone(), openai.clone()),
        (ProtocolKind::OpenAiResponses, "/v1/embeddings", asked, openai),
        (
            ProtocolKind::Gemini,
            "/v1beta/models/m:batchEmbedContents",
            json!({"requests": [gemini_one("one"), gemini_one("two")]}),
            json!({"embeddings": [{"values": [0.5, -0.25]}, {"values": [0, 1]}], "usageMetadata": {"promptTokenCount": 5}}),
        ),
        (
            ProtocolKind::Ollama,
            "/api/embed",
            json!({"model": "m", "input": ["one", "two"], "dimensions": 2}),
            json!({"model": "m", "embeddings": [[0.5, -0.25], [0, 1]], "prompt_eval_count": 5}),
        ),
    ] {
        let server = FaultServer::start(vec![response(200, "", &answer.to_string())]).await;
        let request = EmbedRequest { dimensions: Some(2), ..texts(&["one", "two"]) };
        let made = embed(protocol, &server.url, request).await.unwrap();
        assert_eq!(made.vectors, [[0.5, -0.25], [0.0, 1.0]], "{protocol:?}");
        assert_eq!((made.usage.input_tokens, made.usage.estimated), (5, false), "{protocol:?}");
        let requests = server.requests();
        assert_eq!(requests[0].lines().next().unwrap(), format!("POST {path} HTTP/1.1"), "{protocol:?}");
        let sent: Json = serde_json::from_str(requests[0].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(sent, body, "{protocol:?}");
    }
}

#[tokio::test]
async fn many_texts_go_in_as_few_calls_as_the_provider_takes() {
    let batch = |count: usize| {
        let vectors: Vec<Json> = (0..count).map(|_| json!({"values": [1.0]})).collect();
        response(200, "", &json!({"embeddings": vectors}).to_string())
    };
    let server = FaultServer::start(vec![batch(100), batch(100), batch(50)]).await;
    let many: Vec<&str> = vec!["word"; 250];
    let made = embed(ProtocolKind::Gemini, &server.url, texts(&many)).await.unwrap();
    assert_eq!((made.vectors.len(), server.requests().len()), (250, 3));
    // The provider does not report the number of tokens.
    assert_eq!((made.usage.input_tokens, made.usage.estimated), (250, true));
}

#[tokio::test]
async fn what_fails_is_said_as_of_other_calls() {
    let refused = r#"{"error": {"message": "no such model"}}"#;
    for (answer, kind, requests) in [
        (response(401, "", refused), ErrorKind::Auth, 1),
        (response(200, "", r#"{"data": []}"#), ErrorKind::BadResponse, 1),
    ] {
        let server = FaultServer::start(vec![answer]).await;
        let error = embed(ProtocolKind::OpenAiChat, &server.url, texts(&["one"])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.call().unwrap().provider.as_deref(), Some("p"));
        assert_eq!(server.requests().len(), requests);
        assert!(!format!("{error:?}").contains(CANARY));
    }
    let busy = response(503, "", "{}");
    let made = response(200, "", r#"{"data": [{"index": 0, "embedding": [1]}]}"#);
    let server = FaultServer::start(vec![busy, made]).await;
    assert_eq!(embed(ProtocolKind::OpenAiChat, &server.url, texts(&["one"])).await.unwrap().vectors, [[1.0]]);
}

#[tokio::test]
async fn a_provider_that_has_no_such_models_names_those_that_have() {
    let config = ProviderConfig::new("anthropic", ProtocolKind::Anthropic, "http://127.0.0.1:9").unwrap();
    let client = Client::builder().provider(config).mock(Mock::new()).build().unwrap();
    let error = client.embed_model("anthropic").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.hints(), ["name a `provider` that does: mock"]);
    let named = EmbedRequest { provider: Some("anthropic".into()), ..texts(&["one"]) };
    let error = client.embed(Permit::for_test(), named).await.unwrap_err();
    assert_eq!((error.kind(), error.hints().len()), (ErrorKind::Unsupported, 1));
}

#[tokio::test]
async fn the_gate_counts_and_charges_it() {
    let client = Client::builder().mock(Mock::new()).build().unwrap();
    let limits = Limits { model_calls: 1, ..Limits::default() };
    let cx = Context::builder().models(Arc::new(client)).limits(limits).build();
    let request = EmbedRequest { texts: vec!["one two".into()], ..EmbedRequest::default() };
    let made = cx.models().embed(request.clone()).await.unwrap();
    assert_eq!((made.provider.as_str(), made.vectors[0].len()), ("mock", 64));
    assert_eq!(cx.meter().usage().input_tokens, 2);
    let error = cx.models().embed(request).await.unwrap_err();
    assert_eq!(error.kind().as_str(), "limit.model_calls");
}
