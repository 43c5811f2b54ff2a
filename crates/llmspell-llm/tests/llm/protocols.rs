//! The wire protocols: requests and answers of each API, complete and streamed.

use llmspell_core::capability::Models;
use llmspell_core::chat::{
    ChatRequest, Content, Effort, FinishReason, Message, OutputSpec, Part, Role, ToolCall, ToolSpec,
};
use llmspell_core::effect::Permit;
use llmspell_llm::{Client, ProtocolKind, ProviderConfig};
use serde_json::{Value as Json, json};

use crate::fault_server::{FaultServer, Step, chunked, chunked_head, response};
use crate::support::{self, Answer, PROTOCOLS, Sample, ask, client, sample, stream_of, stream_script};

/// A conversation that uses everything a request can hold.
fn everything() -> ChatRequest {
    let call = ToolCall {
        id: "c1".into(),
        name: "add".into(),
        arguments: json!({"a": 1}),
        signature: None,
        provider: None,
    };
    ChatRequest {
        messages: vec![
            Message::user("hi"),
            Message {
                role: Role::Assistant,
                content: Content::Parts(vec![Part::Text { text: "one moment".into() }, Part::ToolCall(call)]),
            },
            Message {
                role: Role::Tool,
                content: Content::Parts(vec![Part::ToolResult {
                    id: "c1".into(),
                    content: "2".into(),
                    is_error: false,
                }]),
            },
            Message {
                role: Role::User,
                content: Content::Parts(vec![
                    Part::Text { text: "and this?".into() },
                    Part::Image { mime: "image/png".into(), data: "AAAA".into() },
                ]),
            },
        ],
        system: Some("be brief".into()),
        temperature: Some(0.5),
        max_tokens: Some(64),
        tools: vec![ToolSpec {
            name: "add".into(),
            description: "adds".into(),
            parameters: json!({"type": "object"}),
        }],
        ..ChatRequest::default()
    }
}

fn body_of(request: &str) -> Json {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_request_is_written_as_each_api_has_it() {
    let tool =
        json!({"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}});
    let expected = |protocol| match protocol {
        ProtocolKind::OpenAiChat => (
            "POST /v1/chat/completions HTTP/1.1",
            json!({
                "model": "m",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "one moment", "tool_calls": [
                        {"type": "function", "id": "c1", "function": {"name": "add", "arguments": "{\"a\":1}"}}]},
                    {"role": "tool", "tool_call_id": "c1", "content": "2"},
                    {"role": "user", "content": [
                        {"type": "text", "text": "and this?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
                ],
                "temperature": 0.5,
                "max_tokens": 64,
                "stream": false,
                "tools": [{"type": "function", "function": tool}],
            }),
        ),
        ProtocolKind::OpenAiResponses => (
            "POST /v1/responses HTTP/1.1",
            json!({
                "model": "m",
                "instructions": "be brief",
                "input": [
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "one moment"}]},
                    {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{\"a\":1}"},
                    {"type": "function_call_output", "call_id": "c1", "output": "2"},
                    {"type": "message", "role": "user", "content": [
                        {"type": "input_text", "text": "and this?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
                ],
                "store": false,
                "temperature": 0.5,
                "max_output_tokens": 64,
                "stream": false,
                "tools": [{"type": "function", "name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}, "strict": false}],
            }),
        ),
        ProtocolKind::Anthropic => (
            "POST /v1/messages HTTP/1.1",
            json!({
                "model": "m",
                "max_tokens": 64,
                "system": "be brief",
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                    {"role": "assistant", "content": [
                        {"type": "text", "text": "one moment"},
                        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "2", "is_error": false},
                        {"type": "text", "text": "and this?"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
                ],
                "temperature": 0.5,
                "stream": false,
                "tools": [{"name": "add", "description": "adds", "input_schema": {"type": "object", "properties": {}}}],
            }),
        ),
        ProtocolKind::Gemini => (
            "POST /v1beta/models/m:generateContent HTTP/1.1",
            json!({
                "systemInstruction": {"parts": [{"text": "be brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "hi"}]},
                    {"role": "model", "parts": [{"text": "one moment"}, {"functionCall": {"name": "add", "args": {"a": 1}}}]},
                    {"role": "user", "parts": [{"functionResponse": {"name": "add", "response": {"result": "2"}}}]},
                    {"role": "user", "parts": [{"text": "and this?"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
                ],
                "generationConfig": {"temperature": 0.5, "maxOutputTokens": 64},
                "tools": [{"functionDeclarations": [
                    {"name": "add", "description": "adds", "parametersJsonSchema": {"type": "object", "properties": {}}}]}],
            }),
        ),
        ProtocolKind::Ollama => (
            "POST /api/chat HTTP/1.1",
            json!({
                "model": "m",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "one moment", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]},
                    {"role": "tool", "tool_name": "add", "content": "2"},
                    {"role": "user", "content": "and this?", "images": ["AAAA"]},
                ],
                "stream": false,
                "options": {"temperature": 0.5, "num_predict": 64, "num_ctx": 8192},
                "tools": [{"type": "function", "function": tool}],
            }),
        ),
    };
    for protocol in PROTOCOLS {
        let server =
            FaultServer::start(support::scripts(protocol, vec![response(200, "", &sample(protocol).whole)]))
                .await;
        let client = client(protocol, &server.url, |builder| builder);
        client.ask_whole(everything()).await.unwrap();
        let requests = server.requests();
        let request = requests.last().unwrap();
        let (line, body) = expected(protocol);
        assert_eq!(request.lines().next().unwrap(), line, "{protocol:?}");
        assert_eq!(body_of(request), body, "{protocol:?}");
        assert!(request.contains("idempotency-key: llmspell-"), "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_reads_the_same_whole_and_streamed() {
    for protocol in PROTOCOLS {
        let Sample { whole, stream } = sample(protocol);
        let server = FaultServer::start(support::scripts(protocol, vec![response(200, "", &whole)])).await;
        let reply = client(protocol, &server.url, |builder| builder).ask_whole(ask()).await.unwrap();
        let server =
            FaultServer::start(support::scripts(protocol, vec![stream_script(protocol, &stream)])).await;
        let answer = client(protocol, &server.url, |builder| builder).ask_stream(ask()).await;
        let Answer { text, end: Ok(streamed) } = answer else { panic!("{protocol:?}: {answer:?}") };

        assert_eq!(text, "grüß 你好 🦀", "{protocol:?}");
        assert_eq!(reply.text, text, "{protocol:?}");
        assert_eq!(reply.usage.input_tokens, 11, "{protocol:?}");
        assert_eq!(reply.usage.output_tokens, 5, "{protocol:?}");
        assert!(!reply.usage.estimated, "{protocol:?}");
        assert_eq!(reply.finish_reason, FinishReason::ToolCalls, "{protocol:?}");
        let calls: Vec<(&str, &Json)> =
            reply.tool_calls.iter().map(|call| (call.name.as_str(), &call.arguments)).collect();
        assert_eq!(calls, [("add", &json!({"a": 1})), ("now", &json!({}))], "{protocol:?}");
        assert_eq!(streamed, reply, "{protocol:?}");
    }
}

#[tokio::test]
async fn r15_where_the_network_splits_a_stream_makes_no_difference() {
    for protocol in PROTOCOLS {
        let stream = sample(protocol).stream;
        let bytes = stream.as_bytes();
        // Every split reaches the reader separately: first each byte alone, then each possible cut.
        let mut splits: Vec<Vec<&[u8]>> = vec![bytes.chunks(1).collect()];
        splits.extend((1..bytes.len()).step_by(5).map(|at| vec![&bytes[..at], &bytes[at..]]));
        let scripts = splits.iter().map(|pieces| {
            let head = chunked_head(stream_of(protocol));
            let pieces = pieces.iter().copied().map(chunked);
            std::iter::once(head).chain(pieces).chain([chunked(b"")]).collect::<Vec<Step>>()
        });
        let server = FaultServer::start(support::scripts(protocol, scripts.collect())).await;
        let client = client(protocol, &server.url, |builder| builder);
        for (at, _) in splits.iter().enumerate() {
            let answer = client.ask_stream(ask()).await;
            assert!(answer.end.is_ok(), "{protocol:?} split {at}: {answer:?}");
            assert_eq!(answer.text, "grüß 你好 🦀", "{protocol:?} split {at}");
        }
    }
}

#[tokio::test]
async fn thought_is_asked_for_as_each_model_takes_it() {
    for (protocol, model, path, expected) in [
        (ProtocolKind::OpenAiChat, "m", "/reasoning_effort", json!("low")),
        (ProtocolKind::OpenAiResponses, "m", "/reasoning", json!({"effort": "low"})),
        (
            ProtocolKind::Anthropic,
            "claude-sonnet-4-5",
            "/thinking",
            json!({"type": "enabled", "budget_tokens": 1024}),
        ),
        (ProtocolKind::Anthropic, "claude-opus-5", "/output_config", json!({"effort": "low"})),
        (
            ProtocolKind::Gemini,
            "m",
            "/generationConfig/thinkingConfig",
            json!({"thinkingBudget": 1024, "includeThoughts": true}),
        ),
        (ProtocolKind::Ollama, "m", "/think", json!(true)),
    ] {
        let server =
            FaultServer::start(support::scripts(protocol, vec![response(200, "", &sample(protocol).whole)]))
                .await;
        let request = ChatRequest { reasoning: Some(Effort::Low), model: Some(model.into()), ..ask() };
        client(protocol, &server.url, |builder| builder).ask_whole(request).await.unwrap();
        let requests = server.requests();
        assert_eq!(body_of(requests.last().unwrap()).pointer(path), Some(&expected), "{protocol:?} {model}");
    }
}

#[tokio::test]
async fn sampling_parameters_that_a_model_refuses_are_left_out_and_the_reply_says_so() {
    let never = "p/claude-opus-5 does not take `temperature` and `top_p`: they were left out";
    let reasoning =
        "p/claude-haiku-4-5 does not take `temperature` and `top_p` while it reasons: they were left out";
    for (model, effort, temperature, top_p, warnings) in [
        ("claude-opus-5", None, Some(0.5), None, &[never][..]),
        ("claude-opus-5", Some(Effort::High), None, Some(0.9), &[never]),
        ("claude-opus-5", None, None, None, &[]),
        ("claude-haiku-4-5", None, Some(0.5), None, &[]),
        ("claude-haiku-4-5", Some(Effort::Low), Some(0.5), Some(0.9), &[reasoning]),
    ] {
        for streamed in [false, true] {
            let case = format!("{model} {effort:?} {temperature:?} {top_p:?} streamed={streamed}");
            let sample = sample(ProtocolKind::Anthropic);
            let script = match streamed {
                true => stream_script(ProtocolKind::Anthropic, &sample.stream),
                false => response(200, "", &sample.whole),
            };
            let server = FaultServer::start(vec![script]).await;
            let client = client(ProtocolKind::Anthropic, &server.url, |builder| builder);
            let model = Some(model.to_owned());
            // A text answer with a schema changes the request too.
            let output = Some(OutputSpec { schema: json!({"type": "string"}), native: None });
            let request = ChatRequest { model, temperature, top_p, reasoning: effort, output, ..ask() };
            let reply = match streamed {
                true => client.ask_stream(request).await.end.unwrap(),
                false => client.ask_whole(request).await.unwrap(),
            };
            assert_eq!(reply.warnings, warnings, "{case}");
            let body = body_of(&server.requests()[0]);
            let sent = (body["temperature"].as_f64(), body["top_p"].as_f64());
            let expected = if warnings.is_empty() { (temperature, top_p) } else { (None, None) };
            assert_eq!(sent, expected, "{case}");
            assert_eq!(body["thinking"].is_object(), effort.is_some(), "{case}");
            assert!(body["system"].as_str().unwrap().contains("fits this JSON Schema"), "{case}");
        }
    }
}

#[tokio::test]
async fn a_fallback_is_asked_for_what_the_first_model_refused() {
    let sample = sample(ProtocolKind::Anthropic);
    let server = FaultServer::start(vec![response(529, "", "{}"), response(200, "", &sample.whole)]).await;
    let client = client(ProtocolKind::Anthropic, &server.url, |builder| {
        builder.retry(llmspell_llm::RetryPolicy::none())
    });
    let request = ChatRequest {
        model: Some("claude-opus-5".into()),
        temperature: Some(0.5),
        fallback: vec!["p/claude-haiku-4-5".into()],
        ..ask()
    };
    let reply = client.ask_whole(request).await.unwrap();
    let sent: Vec<Json> = server.requests().iter().map(|sent| body_of(sent)["temperature"].clone()).collect();
    assert_eq!((sent, reply.warnings.len()), (vec![Json::Null, json!(0.5)], 0));
}

/// A request whose answer must be an object with one field.
fn asking_for_data() -> ChatRequest {
    let schema = json!({
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0}},
        "required": ["age"],
        "additionalProperties": false,
    });
    ChatRequest {
        output: Some(OutputSpec { schema, native: None }),
        system: Some("be brief".into()),
        ..ask()
    }
}

/// Returns the request body that the server receives.
async fn sent(protocol: ProtocolKind, request: ChatRequest) -> Json {
    let server =
        FaultServer::start(support::scripts(protocol, vec![response(200, "", &sample(protocol).whole)]))
            .await;
    client(protocol, &server.url, |builder| builder).ask_whole(request).await.unwrap();
    body_of(server.requests().last().unwrap())
}

#[tokio::test]
async fn a_schema_of_the_answer_is_written_as_each_api_has_it() {
    let strict = json!({
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": false,
    });
    let whole = asking_for_data().output.unwrap().schema;
    for (protocol, path, expected) in [
        (
            ProtocolKind::OpenAiChat,
            "/response_format",
            json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": strict, "strict": true}}),
        ),
        (
            ProtocolKind::OpenAiResponses,
            "/text/format",
            json!({"type": "json_schema", "name": "answer", "schema": strict, "strict": true}),
        ),
        (ProtocolKind::Anthropic, "/output_config/format", json!({"type": "json_schema", "schema": strict})),
        (
            ProtocolKind::Gemini,
            "/generationConfig",
            json!({"responseMimeType": "application/json", "responseJsonSchema": whole}),
        ),
        (ProtocolKind::Ollama, "/format", whole.clone()),
    ] {
        let mut request = asking_for_data();
        request.output.as_mut().unwrap().native = Some(true);
        let body = sent(protocol, request).await;
        assert_eq!(body.pointer(path), Some(&expected), "{protocol:?}");
        // Ollama enforces the schema, but does not show it to the model.
        let is_told = body.to_string().contains("fits this JSON Schema");
        assert_eq!(is_told, protocol == ProtocolKind::Ollama, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_model_that_is_not_known_to_take_a_schema_is_told_in_words() {
    for protocol in PROTOCOLS {
        let mut request = asking_for_data();
        if protocol == ProtocolKind::Ollama {
            request.output.as_mut().unwrap().native = Some(false);
        }
        let body = sent(protocol, request).await;
        let text = body.to_string();
        assert!(
            text.contains("be brief\\n\\nAnswer with one JSON value that fits this JSON Schema"),
            "{protocol:?}: {text}"
        );
        assert!(text.contains(r#"\"minimum\":0"#), "{protocol:?}: {text}");
        for path in ["/response_format", "/text", "/output_config", "/generationConfig", "/format"] {
            assert_eq!(body.pointer(path), None, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_known_model_is_kept_to_the_schema_as_the_catalogue_says() {
    for (model, native) in [("gpt-4o-mini", true), ("gpt-4", false)] {
        let protocol = ProtocolKind::OpenAiChat;
        let server = FaultServer::start(vec![response(200, "", &sample(protocol).whole)]).await;
        let config = ProviderConfig::new("openai", protocol, &server.url).unwrap();
        let client = Client::builder().provider(config).build().unwrap();
        let request =
            ChatRequest { provider: Some("openai".into()), model: Some(model.into()), ..asking_for_data() };
        client.chat(Permit::for_test(), request).await.unwrap();
        let body = body_of(server.requests().last().unwrap());
        assert_eq!(body.get("response_format").is_some(), native, "{model}");
    }
}

#[tokio::test]
async fn what_an_api_cannot_hold_a_model_to_is_said_in_words() {
    let list = json!({"type": "array", "items": {"type": "string"}});
    let open = json!({"type": "object", "additionalProperties": {"type": "string"}});
    for (protocol, schema) in [
        (ProtocolKind::OpenAiChat, list.clone()),
        (ProtocolKind::OpenAiResponses, list),
        (ProtocolKind::Anthropic, open),
    ] {
        let output = Some(OutputSpec { schema, native: Some(true) });
        let body = sent(protocol, ChatRequest { output, ..ask() }).await;
        assert!(body.to_string().contains("fits this JSON Schema"), "{protocol:?}: {body}");
    }
    // Gemini accepts either tools or a schema.
    let tools = vec![ToolSpec { name: "add".into(), description: "adds".into(), parameters: json!({}) }];
    let mut request = ChatRequest { tools, ..asking_for_data() };
    request.output.as_mut().unwrap().native = Some(true);
    let body = sent(ProtocolKind::Gemini, request).await;
    assert_eq!(body.pointer("/generationConfig"), None);
}
