//! Answers that end in another way than by a complete text: each is an error that says why, with the text so far.

use llmspell_core::ErrorKind::{self, *};
use llmspell_llm::ProtocolKind::{self, *};
use serde_json::{Value as Json, json};

use crate::support::{PROTOCOLS, Sample, answered, complete, frames, said};

/// An ending: the protocol, its finish reason, the kind of the error, and a part of its message.
const ENDINGS: &[(ProtocolKind, &str, ErrorKind, &str)] = &[
    (OpenAiChat, "error", Overloaded, "finish reason `error`"),
    (OpenAiChat, "network_error", Overloaded, "finish reason `network_error`"),
    (OpenAiChat, "insufficient_system_resource", Overloaded, "finish reason"),
    (OpenAiChat, "abort", Overloaded, "finish reason `abort`"),
    (OpenAiChat, "MALFORMED_FUNCTION_CALL", BadResponse, "a tool call that the provider cannot read"),
    (OpenAiChat, "content_filter", ContentFiltered, "finish reason `content_filter`"),
    (OpenAiChat, "sensitive", ContentFiltered, "finish reason `sensitive`"),
    (OpenAiResponses, "failed", Overloaded, ""),
    (OpenAiResponses, "cancelled", Overloaded, "status `cancelled`"),
    (OpenAiResponses, "content_filter", ContentFiltered, "reason `content_filter`"),
    (Anthropic, "error", Overloaded, "stop reason `error`"),
    (Anthropic, "content_filtered", ContentFiltered, "stop reason `content_filtered`"),
    (Gemini, "MALFORMED_FUNCTION_CALL", BadResponse, "finish reason `MALFORMED_FUNCTION_CALL`"),
    (Gemini, "UNEXPECTED_TOOL_CALL", BadResponse, "finish reason `UNEXPECTED_TOOL_CALL`"),
    (Gemini, "SAFETY", ContentFiltered, "finish reason `SAFETY`"),
    (Gemini, "RECITATION", ContentFiltered, "finish reason `RECITATION`"),
    (Ollama, "error", Overloaded, "done reason `error`"),
];

#[tokio::test]
async fn an_answer_that_failed_is_an_error_with_the_text_so_far() {
    for (protocol, finish, kind, words) in ENDINGS {
        for pieces in [&["Half", " an"][..], &[]] {
            for streamed in [false, true] {
                let answer = answered(*protocol, &said(*protocol, pieces, finish), streamed).await;
                let error = answer.end.unwrap_err();
                let case = format!("{protocol:?} {finish} {pieces:?} streamed={streamed}: {error:?}");
                assert_eq!((error.kind(), error.is_retryable()), (*kind, *kind != ContentFiltered), "{case}");
                assert!(error.message().contains(words), "{case}");
                let call = error.call().unwrap();
                let partial = Some(pieces.concat()).filter(|text| !text.is_empty());
                assert_eq!(call.partial, partial, "{case}");
                assert_eq!((call.status, call.attempts), (Some(200), 1), "{case}");
                assert!(call.usage.is_some(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_stop_is_an_error_in_every_protocol() {
    for protocol in PROTOCOLS {
        for pieces in [&[][..], &[""], &["\n"]] {
            for streamed in [false, true] {
                let answer = answered(protocol, &said(protocol, pieces, complete(protocol)), streamed).await;
                let error = answer.end.unwrap_err();
                let case = format!("{protocol:?} {pieces:?} streamed={streamed}: {error:?}");
                assert_eq!((error.kind(), error.is_retryable()), (EmptyResponse, true), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_provider_says_about_an_ending_is_told() {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 2});
    for (protocol, body, kind, words) in [
        (
            Gemini,
            json!({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "a rule of the house"}}),
            ContentFiltered,
            "block reason `OTHER`: a rule of the house",
        ),
        (
            Gemini,
            json!({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed: print(1)"}]}),
            BadResponse,
            "finish reason `MALFORMED_FUNCTION_CALL`: Malformed: print(1)",
        ),
        (
            OpenAiChat,
            json!({"usage": usage, "choices": [{"finish_reason": "error", "native_finish_reason": "MALFORMED_FUNCTION_CALL", "message": {"content": null}}]}),
            BadResponse,
            "finish reason `error`: finish reason `MALFORMED_FUNCTION_CALL`",
        ),
        (
            OpenAiChat,
            json!({"choices": [{"finish_reason": "error", "error": {"code": 429, "message": "slow down"}, "message": {"content": "Half"}}]}),
            RateLimited,
            "slow down",
        ),
        (
            Anthropic,
            json!({"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}], "stop_reason": "end_turn"}),
            EmptyResponse,
            "the model reasoned and gave no answer: stop reason `end_turn`",
        ),
        (
            Ollama,
            json!({"message": {"content": ""}, "done": true, "done_reason": "load"}),
            EmptyResponse,
            "done reason `load`",
        ),
    ] {
        let sample = Sample { whole: body.to_string(), stream: String::new() };
        let error = answered(protocol, &sample, false).await.end.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}: {error:?}");
        assert!(error.message().ends_with(words), "{body}: {error}");
    }
    // The provider's usage of a failed answer is charged, not an estimate.
    let body =
        json!({"usage": usage, "choices": [{"finish_reason": "error", "message": {"content": "Half"}}]});
    let sample = Sample { whole: body.to_string(), stream: String::new() };
    let error = answered(OpenAiChat, &sample, false).await.end.unwrap_err();
    let usage = error.call().unwrap().usage.clone().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (9, 2, false));
}

/// Returns the chunks that begin an answer with this id and text.
fn beginning(protocol: ProtocolKind, id: &str, text: &str) -> Vec<Json> {
    match protocol {
        OpenAiChat => vec![
            json!({"id": id, "choices": [{"delta": {"role": "assistant", "content": ""}}]}),
            json!({"id": id, "choices": [{"delta": {"content": text}}]}),
        ],
        OpenAiResponses => vec![
            json!({"type": "response.created", "response": {"id": id}}),
            json!({"type": "response.output_text.delta", "delta": text}),
        ],
        Anthropic => vec![
            json!({"type": "message_start", "message": {"id": id, "content": []}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        ],
        _ => vec![json!({"responseId": id, "candidates": [{"content": {"parts": [{"text": text}]}}]})],
    }
}

#[tokio::test]
async fn a_second_answer_in_a_stream_interrupts_the_first() {
    // Ollama's answers have no ids.
    for protocol in [OpenAiChat, OpenAiResponses, Anthropic, Gemini] {
        let second = said(protocol, &["Second."], complete(protocol)).stream.replace("\"r\"", "\"other\"");
        let second = match protocol {
            OpenAiChat => frames(protocol, &beginning(protocol, "other", "")) + &second,
            _ => second,
        };
        let stream = frames(protocol, &beginning(protocol, "r", "First half")) + &second;
        let answer = answered(protocol, &Sample { whole: String::new(), stream }, true).await;
        let error = answer.end.unwrap_err();
        let case = format!("{protocol:?}: {error:?}");
        assert_eq!((error.kind(), error.is_retryable()), (StreamInterrupted, true), "{case}");
        assert_eq!(
            (answer.text.as_str(), error.call().unwrap().partial.as_deref()),
            ("First half", Some("First half")),
            "{case}"
        );
    }
    // Some servers give each chunk an id, and the role.
    let chunk = |id: &str, text: &str| json!({"id": id, "choices": [{"delta": {"role": "assistant", "content": text}}]});
    let chunks = [
        chunk("1", "Hel"),
        chunk("2", "lo."),
        json!({"id": "3", "choices": [{"delta": {}, "finish_reason": "stop"}]}),
    ];
    let sample = Sample { whole: String::new(), stream: frames(OpenAiChat, &chunks) };
    assert_eq!(answered(OpenAiChat, &sample, true).await.end.unwrap().text, "Hello.");
}

#[tokio::test]
async fn ollama_may_end_with_a_reason_alone() {
    let lines = [
        json!({"message": {"content": "Yes."}, "done": false}),
        json!({"message": {"content": ""}, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 3}),
    ];
    let sample = Sample { whole: String::new(), stream: frames(Ollama, &lines) };
    let reply = answered(Ollama, &sample, true).await.end.unwrap();
    assert_eq!((reply.text.as_str(), reply.usage.input_tokens, reply.usage.output_tokens), ("Yes.", 11, 3));
}
