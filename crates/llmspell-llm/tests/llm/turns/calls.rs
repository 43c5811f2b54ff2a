//! Tools and their calls: schemas, arguments and ids.

use std::collections::HashSet;

use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Content, Message, Part, Role, ToolCall, ToolSpec};
use llmspell_core::effect::Permit;
use llmspell_llm::{Client, ProtocolKind, ProviderConfig, RetryPolicy};
use serde_json::{Value as Json, json};

use super::{Call, answer, body_of, history, run, run_scripts, script, text};
use crate::fault_server::{FaultServer, response};
use crate::support::{self, PROTOCOLS, ask, client};

#[tokio::test]
async fn a_tool_without_arguments_has_the_schema_of_an_empty_object() {
    let path = |protocol| match protocol {
        ProtocolKind::OpenAiChat | ProtocolKind::Ollama => "/tools/0/function/parameters",
        ProtocolKind::OpenAiResponses => "/tools/0/parameters",
        ProtocolKind::Anthropic => "/tools/0/input_schema",
        ProtocolKind::Gemini => "/tools/0/functionDeclarations/0/parametersJsonSchema",
    };
    for protocol in PROTOCOLS {
        for streamed in [false, true] {
            for parameters in [json!(null), json!({}), json!([]), json!({"type": "object"})] {
                let case = format!("{protocol:?} streamed={streamed} {parameters}");
                let script = text(protocol, streamed, "hi");
                let server = FaultServer::start(support::scripts(protocol, vec![script])).await;
                let tool = ToolSpec { name: "now".into(), description: "d".into(), parameters };
                let request = ChatRequest { tools: vec![tool], ..ask() };
                let client = client(protocol, &server.url, |builder| builder);
                let reply = match streamed {
                    true => client.ask_stream(request).await.end,
                    false => client.ask_whole(request).await,
                };
                assert_eq!(reply.unwrap().text, "hi", "{case}");
                let sent = body_of(server.requests().last().unwrap());
                let expected = json!({"type": "object", "properties": {}});
                assert_eq!(sent.pointer(path(protocol)), Some(&expected), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn arguments_run_however_they_are_encoded_and_the_history_stays_valid() {
    let oslo = r#"weather {"city":"Oslo"}"#;
    for (call, ran, sent, told) in [
        (("a", "weather", r#"{"city":"Oslo"}"#), oslo, oslo, "weather is done"),
        (("a", "weather", r#""{\"city\":\"Oslo\"}""#), oslo, oslo, "weather is done"),
        (("a", "clock", ""), "clock {}", "clock {}", "clock is done"),
        (("a", "clock", "null"), "clock {}", "clock {}", "clock is done"),
        (("a", "clock", r#""null""#), "clock {}", "clock {}", "clock is done"),
        (("a", "clock", r#""""#), "clock {}", "clock {}", "clock is done"),
        (
            ("a", "weather", r#"{"city": "the "old" town"}"#),
            "",
            "weather {}",
            r#"tool `weather`: the arguments are no JSON object (invalid JSON: expected `,` or `}` at line 1 column 16): `{"city": "the "old" town"}`"#,
        ),
        (
            ("a", "weather", r#"{"city": "Os"#),
            "",
            "weather {}",
            r#"tool `weather`: the arguments are no JSON object (invalid JSON: EOF while parsing a string at line 1 column 12): `{"city": "Os`"#,
        ),
    ] {
        for protocol in PROTOCOLS {
            for streamed in [false, true] {
                let case = format!("{call:?} {protocol:?} streamed={streamed}");
                let done = run(protocol, "m", answer(protocol, streamed, "", &[call]), streamed).await;
                assert_eq!(done.ran.join(", "), ran, "{case}");
                let (calls, results) = history(protocol, &done.next);
                let calls: Vec<&str> = calls.iter().map(|(_, call)| call.as_str()).collect();
                let results: Vec<&str> = results.iter().map(|(_, told)| told.as_str()).collect();
                assert_eq!((calls, results), (vec![sent], vec![told]), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn calls_that_share_an_id_or_have_none_are_calls_of_their_own() {
    let (oslo, rome) = (r#"{"city":"Oslo"}"#, r#"{"city":"Rome"}"#);
    for calls in [
        [("c", "weather", oslo), ("c", "weather", rome), ("c", "clock", "{}")],
        [("", "weather", oslo), ("", "weather", rome), ("", "clock", "")],
        [("c", "weather", oslo), ("c", "weather", oslo), ("", "clock", "{}")],
    ] as [[Call<'_>; 3]; 3]
    {
        for protocol in PROTOCOLS {
            for streamed in [false, true] {
                let case = format!("{calls:?} {protocol:?} streamed={streamed}");
                let done = run(protocol, "m", answer(protocol, streamed, "", &calls), streamed).await;
                let mut expected: Vec<String> = calls
                    .iter()
                    .map(|(_, name, arguments)| {
                        format!("{name} {}", if arguments.is_empty() { "{}" } else { arguments })
                    })
                    .collect();
                let (sent, results) = history(protocol, &done.next);
                let written: Vec<&str> = sent.iter().map(|(_, call)| call.as_str()).collect();
                assert_eq!(written, expected, "{case}");
                let mut ran = done.ran;
                ran.sort();
                expected.sort();
                assert_eq!(ran, expected, "{case}");
                let ids: Vec<&str> = sent.iter().map(|(id, _)| id.as_str()).collect();
                let answered: Vec<&str> = results.iter().map(|(id, _)| id.as_str()).collect();
                assert_eq!(ids, answered, "{case}");
                if !matches!(protocol, ProtocolKind::Gemini | ProtocolKind::Ollama) {
                    let different: HashSet<&str> = ids.iter().copied().filter(|id| !id.is_empty()).collect();
                    assert_eq!(different.len(), 3, "{case} {ids:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn streamed_calls_without_index_and_id_are_calls_of_their_own() {
    let protocol = ProtocolKind::OpenAiChat;
    let call = |city: &str| {
        let arguments = json!({"city": city}).to_string();
        let call =
            json!({"id": "", "type": "function", "function": {"name": "weather", "arguments": arguments}});
        json!({"choices": [{"delta": {"tool_calls": [call]}}]})
    };
    let end = json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]});
    let chunks = [call("Oslo"), call("Rome"), end];
    let done = run(protocol, "m", script(protocol, true, &json!(null), &chunks), true).await;
    assert_eq!(done.ran, [r#"weather {"city":"Oslo"}"#, r#"weather {"city":"Rome"}"#]);
}

/// A conversation with a call of the model `q/n`.
fn foreign(id: &str) -> Vec<Message> {
    let signature = Some("foreign-signature".to_owned());
    let parts = vec![
        Part::Reasoning {
            text: "foreign thought".into(),
            signature: signature.clone(),
            provider: Some("q".into()),
        },
        Part::ToolCall(ToolCall {
            id: id.into(),
            name: "weather".into(),
            arguments: json!({"city": "Oslo"}),
            signature,
            provider: Some("q".into()),
        }),
    ];
    let result = Part::ToolResult { id: id.into(), content: "sunny".into(), is_error: false };
    vec![
        Message::user("go"),
        Message { role: Role::Assistant, content: Content::Parts(parts) },
        Message { role: Role::Tool, content: Content::Parts(vec![result]) },
    ]
}

#[tokio::test]
async fn a_fallback_receives_ids_it_accepts_and_no_signature_of_another() {
    let (short, long) = ("functions.weather:0", "functions.weather:0123456789-0123456789-0123456789");
    let is_word = |id: &str| id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let is_nine = |id: &str| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    for (protocol, model, id, expected) in [
        (ProtocolKind::OpenAiChat, "m", short, None),
        (ProtocolKind::OpenAiChat, "m", long, Some(&is_nine as &dyn Fn(&str) -> bool)),
        (ProtocolKind::OpenAiChat, "mistral-small-latest", short, Some(&is_nine)),
        (ProtocolKind::OpenAiChat, "mistral-small-latest", "call_0", Some(&is_nine)),
        (ProtocolKind::OpenAiChat, "mistral-small-latest", "Ab3Ab3Ab3", None),
        (ProtocolKind::OpenAiResponses, "m", short, None),
        (ProtocolKind::Anthropic, "m", short, Some(&is_word)),
        (ProtocolKind::Anthropic, "m", "toolu_01-x", None),
        (ProtocolKind::Gemini, "m", short, None),
        (ProtocolKind::Ollama, "m", short, None),
    ] {
        for streamed in [false, true] {
            let case = format!("{protocol:?} {model} {id} streamed={streamed}");
            let first = FaultServer::start(vec![response(503, "", "{}")]).await;
            let script = text(protocol, streamed, "hi");
            let second = FaultServer::start(support::scripts(protocol, vec![script])).await;
            let client = Client::builder()
                .provider(ProviderConfig::new("q", ProtocolKind::OpenAiChat, &first.url).unwrap())
                .provider(ProviderConfig::new("p", protocol, &second.url).unwrap())
                .retry(RetryPolicy::none())
                .build()
                .unwrap();
            let request = ChatRequest {
                messages: foreign(id),
                provider: Some("q".into()),
                model: Some("n".into()),
                fallback: vec![format!("p/{model}")],
                ..ChatRequest::default()
            };
            if streamed {
                let pieces = client.stream(Permit::for_test(), request).await.unwrap();
                assert!(futures_util::StreamExt::collect::<Vec<_>>(pieces).await.iter().all(Result::is_ok));
            } else {
                client.chat(Permit::for_test(), request).await.unwrap();
            }
            let sent = body_of(second.requests().last().unwrap());
            assert!(!sent.to_string().contains("foreign"), "{case}: {sent}");
            let (calls, results) = history(protocol, &sent);
            let [(call, _)] = &calls[..] else { panic!("{case}: {sent}") };
            let [(result, content)] = &results[..] else { panic!("{case}: {sent}") };
            assert_eq!((call, content.as_str()), (result, "sunny"), "{case}");
            match expected {
                Some(fits) => assert!(call != id && fits(call), "{case}: {call}"),
                // These receive no ids.
                None if matches!(protocol, ProtocolKind::Gemini | ProtocolKind::Ollama) => {}
                None => assert_eq!(call, id, "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn anthropic_receives_no_blank_texts_and_no_blank_messages() {
    let protocol = ProtocolKind::Anthropic;
    for streamed in [false, true] {
        let script = answer(protocol, streamed, "\n\n", &[("t1", "clock", "{}")]);
        let done = run(protocol, "m", script, streamed).await;
        let call = json!({"type": "tool_use", "id": "t1", "name": "clock", "input": {}});
        assert_eq!(done.next["messages"][1]["content"], json!([call]), "streamed={streamed}");

        let server = FaultServer::start(vec![text(protocol, streamed, "hi")]).await;
        let client = client(protocol, &server.url, |builder| builder);
        let blank = Part::Text { text: " \n".into() };
        let result = Part::ToolResult { id: "t1".into(), content: String::new(), is_error: false };
        let messages = vec![
            Message::user("one"),
            Message::assistant("\n"),
            Message::user("two"),
            Message {
                role: Role::User,
                content: Content::Parts(vec![blank, Part::Text { text: "three".into() }]),
            },
            Message { role: Role::Tool, content: Content::Parts(vec![result]) },
            Message::user("  "),
        ];
        let request = ChatRequest { messages, system: Some(" ".into()), ..ask() };
        let reply = match streamed {
            true => client.ask_stream(request).await.end,
            false => client.ask_whole(request).await,
        };
        assert_eq!(reply.unwrap().text, "hi");
        let body = body_of(server.requests().last().unwrap());
        let said = |text: &str| json!({"type": "text", "text": text});
        let result = json!({"type": "tool_result", "tool_use_id": "t1", "is_error": false});
        let expected =
            json!([{"role": "user", "content": [said("one"), said("two"), said("three"), result]}]);
        assert_eq!(
            (&body["messages"], body.get("system")),
            (&expected, None::<&Json>),
            "streamed={streamed}"
        );
    }
}

#[tokio::test]
async fn a_call_that_the_provider_cannot_read_is_tried_again_and_then_told_to_the_model() {
    let protocol = ProtocolKind::OpenAiChat;
    let written = "<function=weather={\"city\": \"Oslo\"}</function>";
    let error = json!({"error": {"message": "Failed to call a function.", "type": "invalid_request_error",
        "code": "tool_use_failed", "failed_generation": written}});
    for streamed in [false, true] {
        let failed = match streamed {
            true => script(protocol, true, &error, std::slice::from_ref(&error)),
            false => response(400, "", &error.to_string()),
        };
        let server = FaultServer::start(vec![failed]).await;
        let client = client(protocol, &server.url, |builder| builder);
        let failure = match streamed {
            true => client.ask_stream(ask()).await.end.unwrap_err(),
            false => client.ask_whole(ask()).await.unwrap_err(),
        };
        assert_eq!((failure.kind(), failure.is_retryable()), (llmspell_core::ErrorKind::BadResponse, true));
        let call = failure.call().unwrap();
        assert_eq!((call.attempts, call.body.as_deref()), (2, Some(written)), "streamed={streamed}");
    }
    // Both tries of the first turn fail.
    let failed = response(400, "", &error.to_string());
    let done =
        run_scripts(protocol, "m", vec![failed.clone(), failed, text(protocol, false, "done")], false).await;
    let told = &done.next["messages"];
    assert_eq!(told[1], json!({"role": "assistant", "content": written}));
    assert!(told[2]["content"].as_str().unwrap().starts_with("That was not a valid tool call"), "{told}");
}
