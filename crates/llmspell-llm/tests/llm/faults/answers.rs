//! Answers and streams that are truncated, damaged, empty or wrong.

use llmspell_core::ErrorKind::*;
use llmspell_core::chat::FinishReason;
use llmspell_llm::ProtocolKind;
use serde_json::{Value as Json, json};

use super::{attempts, beginning, good, set_up, told};
use crate::fault_server::{Step, chunked, chunked_head, response, stream_head};
use crate::support::{
    PROTOCOLS, Sample, answered, ask, complete, frames, said, sample, stream_of, stream_script,
};

#[tokio::test]
async fn r10_r11_a_stream_that_ends_too_soon_is_an_error_with_the_text_so_far() {
    for protocol in PROTOCOLS {
        let so_far = beginning(protocol);
        let cut = vec![chunked_head(stream_of(protocol)), chunked(so_far.as_bytes())];
        let half =
            format!("{so_far}{}", if protocol == ProtocolKind::Ollama { "{\"mess" } else { "data: {\"cho" });
        for (name, script) in [
            ("end of the connection", stream_script(protocol, &so_far)),
            ("no end of the coding", cut.clone()),
            ("reset", [cut, vec![Step::Wait, Step::Reset]].concat()),
            ("half a chunk", stream_script(protocol, &half)),
            ("no end of the last chunk", stream_script(protocol, so_far.trim_end())),
        ] {
            let (server, client) = set_up(protocol, vec![script]).await;
            server.go_on();
            let answer = client.ask_stream(ask()).await;
            let error = answer.end.unwrap_err();
            let case = format!("{protocol:?} {name}: {error:?}");
            assert_eq!(error.kind(), StreamInterrupted, "{case}");
            let call = error.call().unwrap();
            // A reset may overtake data that was sent before it.
            if name != "reset" {
                assert_eq!(answer.text, "grüß 你好 🦀", "{case}");
                assert_eq!(call.partial.as_deref(), Some("grüß 你好 🦀"), "{case}");
                assert!(call.usage.as_ref().unwrap().estimated, "{case}");
            }
            assert_eq!(attempts(&server), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn r11_the_ends_of_a_stream_that_count() {
    use ProtocolKind::*;
    let text = json!({"choices": [{"delta": {"content": "hi"}}]});
    let finish = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let openai = |chunks: &[&Json], done: bool| {
        let chunks: Vec<Json> = chunks.iter().map(|chunk| (*chunk).clone()).collect();
        frames(OpenAiChat, &chunks) + if done { "data: [DONE]\n\n" } else { "" }
    };
    let start =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}});
    let delta =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}});
    let gemini = |finish: Json| {
        frames(
            Gemini,
            &[json!({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": finish}]})],
        )
    };
    for (name, protocol, stream, expected) in [
        ("finish and [DONE]", OpenAiChat, openai(&[&text, &finish], true), "ok Stop"),
        ("finish without [DONE]", OpenAiChat, openai(&[&text, &finish], false), "ok Stop"),
        (
            "[DONE] that nothing ended",
            OpenAiChat,
            openai(&[&text, &finish], false) + "data: [DONE]",
            "ok Stop",
        ),
        (
            "[DONE] and nothing else",
            OpenAiChat,
            openai(&[], true),
            "empty_response retryable=true status=Some(200) attempts=1 p: the model's answer is empty",
        ),
        (
            "an empty text",
            OpenAiChat,
            openai(&[&json!({"choices": [{"delta": {"content": ""}}]}), &finish], true),
            "empty_response retryable=true status=Some(200) attempts=1 p: the model's answer is empty: finish reason `stop`",
        ),
        (
            "stop reason without message_stop",
            Anthropic,
            frames(Anthropic, &[start.clone(), delta.clone()]),
            "stream_interrupted retryable=true status=Some(200) attempts=1 p: the stream ended before the model had finished",
        ),
        (
            "message_stop",
            Anthropic,
            frames(Anthropic, &[start, delta, json!({"type": "message_stop"})]),
            "ok Stop",
        ),
        ("a finish reason", Gemini, gemini(json!("MAX_TOKENS")), "ok Length"),
        (
            "no finish reason",
            Gemini,
            gemini(Json::Null),
            "stream_interrupted retryable=true status=Some(200) attempts=1 p: the stream ended before the model had finished",
        ),
    ] {
        let (_server, client) = set_up(protocol, vec![stream_script(protocol, &stream)]).await;
        assert_eq!(told(&client.ask_stream(ask()).await), expected, "{name}");
    }
}

#[tokio::test]
async fn r4_an_error_inside_a_stream_is_told_by_its_kind() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "full"}});
    for protocol in PROTOCOLS {
        // Before the first text, the call is retried; after it, the call is not.
        let first = stream_script(protocol, &frames(protocol, std::slice::from_ref(&overloaded)));
        let (_server, client) = set_up(protocol, vec![first, good(protocol, true)]).await;
        assert_eq!(client.ask_stream(ask()).await.end.unwrap().attempts, 2, "{protocol:?}");

        let late = beginning(protocol) + &frames(protocol, std::slice::from_ref(&overloaded));
        let (server, client) = set_up(protocol, vec![stream_script(protocol, &late)]).await;
        let error = client.ask_stream(ask()).await.end.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Overloaded, "p: broke off: full"), "{protocol:?}");
        assert_eq!(error.call().unwrap().partial.as_deref(), Some("grüß 你好 🦀"), "{protocol:?}");
        assert_eq!(attempts(&server), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn r12_a_chunk_that_is_damaged_is_named() {
    for protocol in PROTOCOLS {
        let damaged = if protocol == ProtocolKind::Ollama { "{oops\n" } else { "data: {oops\n\n" };
        let number = frames_in(protocol, &beginning(protocol)) + 1;
        let (server, client) =
            set_up(protocol, vec![stream_script(protocol, &(beginning(protocol) + damaged))]).await;
        let error = client.ask_stream(ask()).await.end.unwrap_err();
        assert_eq!(error.kind(), BadStream, "{protocol:?}");
        assert_eq!(
            error.message(),
            format!("p: chunk {number} of the stream is no JSON object: `{{oops`"),
            "{protocol:?}"
        );
        assert_eq!(attempts(&server), 1);
    }
}

fn frames_in(protocol: ProtocolKind, stream: &str) -> usize {
    stream.matches(if protocol == ProtocolKind::Ollama { "\n" } else { "\n\n" }).count()
}

#[tokio::test]
async fn r13_a_whole_answer_that_is_none_is_quoted_and_tried_once_more() {
    let typed = |kind: &str, length: usize, body: &str| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        vec![Step::Send(head.into_bytes())]
    };
    for (name, script, message) in [
        (
            "html",
            typed("text/html", 13, "<html>\n</html"),
            r"p: JSON was asked for, `text/html` came: `<html>\n</html`",
        ),
        (
            "truncated JSON",
            response(200, "", "{\"choices\": ["),
            "p: the answer is no JSON (EOF while parsing a list at line 1 column 13): `{\"choices\": [`",
        ),
        (
            "nothing",
            response(200, "", ""),
            "p: the answer is no JSON (EOF while parsing a value at line 1 column 0): nothing",
        ),
        ("a short body", typed("application/json", 100, "{}"), "p: the answer was cut off ("),
    ] {
        for protocol in PROTOCOLS {
            let (server, client) = set_up(protocol, vec![script.clone()]).await;
            let error = client.ask(false).await.end.unwrap_err();
            assert_eq!(error.kind(), BadResponse, "{name} {protocol:?}");
            assert!(error.message().starts_with(message), "{name} {protocol:?}: {error}");
            assert_eq!(attempts(&server), 2, "{name} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn r13_a_stream_of_no_bytes_is_no_answer_and_tried_once_more() {
    for protocol in PROTOCOLS {
        let (server, client) = set_up(protocol, vec![stream_script(protocol, "")]).await;
        assert_eq!(
            told(&client.ask(true).await),
            "bad_response retryable=true status=Some(200) attempts=2 p: the stream is empty: nothing"
        );
        assert_eq!(attempts(&server), 2, "{protocol:?}");
        let (_server, client) =
            set_up(protocol, vec![stream_script(protocol, ""), good(protocol, true)]).await;
        assert_eq!(client.ask(true).await.end.unwrap().attempts, 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn r14_r18_an_answer_that_holds_nothing_is_an_error() {
    use ProtocolKind::*;
    for (protocol, body, expected) in [
        (OpenAiChat, json!({"choices": []}), Err(EmptyResponse)),
        (OpenAiChat, json!({}), Err(EmptyResponse)),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}),
            Err(EmptyResponse),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": null}, "finish_reason": "length"}]}),
            Ok(FinishReason::Length),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
            Err(ContentFiltered),
        ),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]}),
            Ok(FinishReason::Refusal),
        ),
        (OpenAiResponses, json!({"status": "completed", "output": []}), Err(EmptyResponse)),
        (
            OpenAiResponses,
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [{"type": "reasoning"}]}),
            Ok(FinishReason::Length),
        ),
        (
            OpenAiResponses,
            json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": []}),
            Err(ContentFiltered),
        ),
        (
            OpenAiResponses,
            json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}),
            Err(RateLimited),
        ),
        (Anthropic, json!({"content": []}), Err(EmptyResponse)),
        (Anthropic, json!({"content": [], "stop_reason": "refusal"}), Ok(FinishReason::Refusal)),
        (Gemini, json!({}), Err(EmptyResponse)),
        (Gemini, json!({"candidates": [{"finishReason": "STOP"}]}), Err(EmptyResponse)),
        (Gemini, json!({"promptFeedback": {"blockReason": "SAFETY"}}), Err(ContentFiltered)),
        (Ollama, json!({"done": true}), Err(EmptyResponse)),
    ] {
        let (_server, client) = set_up(protocol, vec![response(200, "", &body.to_string())]).await;
        let found =
            client.ask(false).await.end.map(|reply| reply.finish_reason).map_err(|error| error.kind());
        assert_eq!(found, expected, "{protocol:?} {body}");
    }
}

#[tokio::test]
async fn r14_r18_an_answer_of_no_words_is_the_same_whole_and_streamed() {
    use ProtocolKind::*;
    let done = |reason: &str| json!({"type": "message_delta", "delta": {"stop_reason": reason}});
    let ended = json!({"type": "message_stop"});
    let incomplete = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    for (protocol, chunks, expected) in [
        (OpenAiChat, vec![json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})], Err(EmptyResponse)),
        (
            OpenAiChat,
            vec![json!({"choices": [{"delta": {"content": null}, "finish_reason": "length"}]})],
            Ok(FinishReason::Length),
        ),
        (
            OpenAiChat,
            vec![json!({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]})],
            Err(EmptyResponse),
        ),
        (
            OpenAiResponses,
            vec![json!({"type": "response.incomplete", "response": incomplete})],
            Ok(FinishReason::Length),
        ),
        (Anthropic, vec![done("end_turn"), ended.clone()], Err(EmptyResponse)),
        (Anthropic, vec![done("refusal"), ended], Ok(FinishReason::Refusal)),
        (Gemini, vec![json!({"candidates": [{"finishReason": "STOP"}]})], Err(EmptyResponse)),
        (Gemini, vec![json!({"candidates": [{"finishReason": "SAFETY"}]})], Err(ContentFiltered)),
        (Ollama, vec![json!({"done": true, "done_reason": "length"})], Ok(FinishReason::Length)),
    ] {
        let stream = frames(protocol, &chunks);
        let (_server, client) = set_up(protocol, vec![stream_script(protocol, &stream)]).await;
        let found = client.ask(true).await.end.map(|reply| reply.finish_reason).map_err(|error| error.kind());
        assert_eq!(found, expected, "{protocol:?} {stream}");
    }
}

#[tokio::test]
async fn r23_usage_that_cannot_be_is_estimated_and_never_credits() {
    for usage in [
        json!(null),
        json!({}),
        json!({"prompt_tokens": 0, "completion_tokens": 0}),
        json!({"prompt_tokens": -5, "completion_tokens": -5}),
        json!({"prompt_tokens": 9e18, "completion_tokens": u64::MAX}),
    ] {
        let body = json!({"choices": [{"message": {"content": "12345678"}, "finish_reason": "stop"}], "usage": usage});
        let (_server, client) =
            set_up(ProtocolKind::OpenAiChat, vec![response(200, "", &body.to_string())]).await;
        let found = client.ask(false).await.end.unwrap().usage;
        assert_eq!((found.input_tokens, found.output_tokens, found.estimated), (7, 2, true), "{usage}");
        assert_eq!(found.cost_usd, None, "no known price is no price");
    }
}

#[tokio::test]
async fn what_anthropic_counts_at_the_beginning_is_not_the_whole() {
    let stream: String =
        sample(ProtocolKind::Anthropic).stream.replace(r#""output_tokens":5"#, r#""other":5"#);
    let (_server, client) =
        set_up(ProtocolKind::Anthropic, vec![stream_script(ProtocolKind::Anthropic, &stream)]).await;
    let usage = client.ask(true).await.end.unwrap().usage;
    assert_eq!((usage.input_tokens, usage.estimated), (11, true));
    assert!(usage.output_tokens > 5, "{usage:?}");
}

#[tokio::test]
async fn r15_a_character_that_was_split_into_halves_is_joined() {
    for protocol in PROTOCOLS {
        let finish = complete(protocol);
        // The server escapes each half. The stand-ins are plain text until then.
        let halves = |text: &str| text.replace("{1}", "\\ud83d").replace("{2}", "\\ude80");
        for (pieces, text) in [
            (&["hi {1}", "{2} done"][..], "hi 🚀 done"),
            (&["hi {1}", " done"], "hi \u{fffd} done"),
            (&["hi ", "{2} done"], "hi \u{fffd} done"),
            (&["hi {1}"], "hi \u{fffd}"),
        ] {
            let Sample { whole, stream } = said(protocol, pieces, finish);
            let sample = Sample { whole: halves(&whole), stream: halves(&stream) };
            for streamed in [false, true] {
                let answer = answered(protocol, &sample, streamed).await;
                let case = format!("{protocol:?} {pieces:?} streamed={streamed}");
                assert_eq!(answer.text, text, "{case}");
                assert_eq!(answer.end.unwrap().text, text, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn r15_invalid_bytes_become_a_mark_and_not_a_failure() {
    let mut stream =
        b"data: {\"choices\": [{\"delta\": {\"content\": \"a\xffb\"}, \"finish_reason\": \"stop\"}]}\n\n"
            .to_vec();
    stream.splice(0..0, *b"\xef\xbb\xbf");
    let script = vec![stream_head("text/event-stream"), Step::Send(stream)];
    let mut whole =
        b"\xef\xbb\xbf{\"choices\": [{\"message\": {\"content\": \"a\xffb\"}, \"finish_reason\": \"stop\"}]}"
            .to_vec();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        whole.len()
    );
    whole.splice(0..0, head.into_bytes());
    for (streamed, script) in [(true, script), (false, vec![Step::Send(whole)])] {
        let (_server, client) = set_up(ProtocolKind::OpenAiChat, vec![script]).await;
        let answer = client.ask(streamed).await;
        assert_eq!((answer.text.as_str(), told(&answer).as_str()), ("a\u{fffd}b", "ok Stop"));
    }
}

#[tokio::test]
async fn r16_a_tool_calls_index_is_a_name_and_not_a_size() {
    let call = json!({"choices": [{"delta": {"tool_calls": [
        {"index": u64::MAX, "id": "c", "function": {"name": "f", "arguments": "{\"a"}}]}, "finish_reason": "tool_calls"}]});
    let stream = frames(ProtocolKind::OpenAiChat, &[call]);
    let (_server, client) =
        set_up(ProtocolKind::OpenAiChat, vec![stream_script(ProtocolKind::OpenAiChat, &stream)]).await;
    let reply = client.ask_stream(ask()).await.end.unwrap();
    assert_eq!((reply.tool_calls.len(), &reply.tool_calls[0].arguments), (1, &json!("{\"a")));
}
