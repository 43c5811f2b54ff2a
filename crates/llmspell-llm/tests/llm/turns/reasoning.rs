//! Reasoning that goes back to the server unchanged, where the server wants it.

use llmspell_llm::ProtocolKind;
use serde_json::{Value as Json, json};

use super::{run, script};

const CITY: &str = r#"{"city":"Oslo"}"#;

/// Returns a chunk of Chat Completions.
fn delta(delta: &Json) -> Json {
    json!({"choices": [{"delta": delta}]})
}

fn call() -> Json {
    json!({"index": 0, "id": "a1", "type": "function", "function": {"name": "weather", "arguments": CITY}})
}

#[tokio::test]
async fn chat_completions_receive_reasoning_in_the_field_in_which_they_sent_it() {
    let text = |text: &str, index: u64, more: &str| json!({"type": "reasoning.text", "index": index, "format": "f", "text": text, "signature": if more.is_empty() { Json::Null } else { json!(more) }});
    let sealed = json!({"type": "reasoning.encrypted", "index": 1, "id": "a1", "data": "ENC=="});
    for (field, whole, pieces) in [
        ("reasoning_content", json!("I look it up."), vec![json!("I look "), json!("it up.")]),
        ("reasoning", json!("I look it up."), vec![json!("I look "), json!("it up.")]),
        (
            "reasoning_details",
            json!([text("I look it up.", 0, "SIG=="), sealed]),
            vec![
                json!([text("I look ", 0, "")]),
                json!([text("it up.", 0, "")]),
                json!([text("", 0, "SIG==")]),
                json!([sealed]),
            ],
        ),
    ] {
        for streamed in [false, true] {
            let message = json!({"content": null, "reasoning": "hm", field: whole, "tool_calls": [call()]});
            let answer = json!({"choices": [{"message": message, "finish_reason": "tool_calls"}]});
            let mut chunks: Vec<Json> = pieces.iter().map(|piece| delta(&json!({field: piece}))).collect();
            chunks.push(delta(&json!({"tool_calls": [call()]})));
            chunks.push(json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}));
            let protocol = ProtocolKind::OpenAiChat;
            let done = run(protocol, "m", script(protocol, streamed, &answer, &chunks), streamed).await;
            let sent = &done.next["messages"][1];
            assert_eq!(sent[field], whole, "{field} streamed={streamed}: {sent}");
            let others = ["reasoning_content", "reasoning", "reasoning_details"];
            let others = others.iter().filter(|other| **other != field && sent.get(other).is_some());
            assert_eq!(others.count(), 0, "{field} streamed={streamed}: {sent}");
        }
    }
}

#[tokio::test]
async fn chat_completions_receive_the_extra_content_of_a_call() {
    let protocol = ProtocolKind::OpenAiChat;
    let extra = json!({"google": {"thought_signature": "SIG=="}});
    let mut call = call();
    call["extra_content"] = extra.clone();
    let whole = json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    let chunks = [
        delta(&json!({"tool_calls": [call]})),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    for streamed in [false, true] {
        let done = run(protocol, "m", script(protocol, streamed, &whole, &chunks), streamed).await;
        let sent = &done.next["messages"][1]["tool_calls"][0];
        assert_eq!(sent["extra_content"], extra, "streamed={streamed}");
    }
}

#[tokio::test]
async fn gemini_receives_the_signatures_of_texts_and_calls() {
    let protocol = ProtocolKind::Gemini;
    let call = json!({"functionCall": {"name": "clock", "args": {}}, "thoughtSignature": "T2=="});
    let said = json!({"text": "I look.", "thoughtSignature": "T1=="});
    let thought = json!({"text": "hm", "thought": true, "thoughtSignature": "T0=="});
    let alone = json!({"text": "", "thoughtSignature": "T1=="});
    for (name, whole, pieces, expected) in [
        (
            "on a text",
            json!([said, call]),
            vec![json!({"text": "I "}), json!({"text": "look.", "thoughtSignature": "T1=="}), call.clone()],
            json!([said, call]),
        ),
        (
            "on an empty text after the text",
            json!([{"text": "I look."}, alone, call]),
            vec![json!({"text": "I look."}), alone.clone(), call.clone()],
            json!([said, call]),
        ),
        ("without any text", json!([alone, call]), vec![alone.clone(), call.clone()], json!([call, alone])),
        (
            "on a thought",
            json!([thought, said, call]),
            vec![thought.clone(), said.clone(), call.clone()],
            json!([thought, said, call]),
        ),
    ] {
        let answer = |parts: &Json, finish: Json| json!({"candidates": [{"content": {"parts": parts}, "finishReason": finish}]});
        let mut chunks: Vec<Json> = pieces.iter().map(|part| answer(&json!([part]), Json::Null)).collect();
        chunks.push(answer(&json!([]), json!("STOP")));
        let whole = answer(&whole, json!("STOP"));
        for streamed in [false, true] {
            let done = run(protocol, "m", script(protocol, streamed, &whole, &chunks), streamed).await;
            assert_eq!(done.next["contents"][1]["parts"], expected, "{name} streamed={streamed}");
        }
    }
}

#[tokio::test]
async fn anthropic_and_responses_receive_their_sealed_reasoning() {
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "SIG1"});
    let redacted = json!({"type": "redacted_thinking", "data": "ENC=="});
    let used = json!({"type": "tool_use", "id": "t1", "name": "clock", "input": {}});
    let whole = json!({"type": "message", "content": [thinking, redacted, used], "stop_reason": "tool_use"});
    let start =
        |at: u64, block: &Json| json!({"type": "content_block_start", "index": at, "content_block": block});
    let piece = |delta: Json| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let chunks = [
        start(0, &json!({"type": "thinking", "thinking": ""})),
        piece(json!({"type": "thinking_delta", "thinking": "hm"})),
        piece(json!({"type": "signature_delta", "signature": "SIG1"})),
        start(1, &redacted),
        start(2, &used),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ];
    let reasoning = json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "sealed"});
    let function = json!({"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"});
    let response = json!({"status": "completed", "output": [reasoning, function]});
    let done =
        |at: u64, item: &Json| json!({"type": "response.output_item.done", "output_index": at, "item": item});
    let events = [
        done(0, &reasoning),
        done(1, &function),
        json!({"type": "response.completed", "response": response}),
    ];
    for streamed in [false, true] {
        let answer = script(ProtocolKind::Anthropic, streamed, &whole, &chunks);
        let sent = run(ProtocolKind::Anthropic, "m", answer, streamed).await.next;
        assert_eq!(sent["messages"][1]["content"], json!([thinking, redacted, used]), "streamed={streamed}");

        let answer = script(ProtocolKind::OpenAiResponses, streamed, &response, &events);
        let sent = run(ProtocolKind::OpenAiResponses, "m", answer, streamed).await.next;
        assert_eq!((&sent["input"][1], &sent["input"][2]), (&reasoning, &function), "streamed={streamed}");
    }
}

#[tokio::test]
async fn reasoning_before_an_answer_without_calls_is_not_sent_back() {
    let protocol = ProtocolKind::OpenAiChat;
    let server = crate::fault_server::FaultServer::start(vec![crate::fault_server::response(
        200,
        "",
        &json!({"choices": [{"message": {"content": "hi", "reasoning_content": "hm"}}]}).to_string(),
    )])
    .await;
    let client = crate::support::client(protocol, &server.url, |builder| builder);
    let reply = client.ask_whole(crate::support::ask()).await.unwrap();
    assert_eq!((reply.reasoning.as_deref(), reply.reasoning_parts.len()), (Some("hm"), 0));
}
