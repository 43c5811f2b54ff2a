//! The rows of the table that no other test covers for each API, complete and streamed.

use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::future::join_all;
use llmspell_core::ErrorKind::*;
use llmspell_core::capability::Models as _;
use llmspell_core::effect::Permit;
use llmspell_llm::{ProtocolKind, RetryPolicy, Timeouts};
use serde_json::{Value as Json, json};

use super::{attempts, beginning, good, set_up};
use crate::fault_server::{FaultServer, Script, Step, response, stream_head};
use crate::support::{self, PROTOCOLS, ask, client, frames, sample, stream_of, stream_script};

/// Checks each API, complete and streamed, concurrently.
async fn each<F: Future<Output = ()>>(check: impl Fn(ProtocolKind, bool) -> F) {
    join_all(PROTOCOLS.iter().flat_map(|protocol| [check(*protocol, false), check(*protocol, true)])).await;
}

/// Returns when the model was called.
fn times(server: &FaultServer) -> Vec<Instant> {
    let asked = server.requests().into_iter().zip(server.times());
    asked.filter(|(request, _)| !request.starts_with("POST /api/show")).map(|(_, time)| time).collect()
}

#[tokio::test]
async fn r1_a_wait_is_kept_in_each_form_in_which_it_is_asked() {
    // A date has a resolution of one second: of three seconds, at least two remain.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let date = format!("retry-after: {date}\r\n");
    let forms = [("retry-after-ms: 150\r\n", 150), ("retry-after: 0.2\r\n", 200), (date.as_str(), 1_500)];
    join_all(forms.map(|(headers, millis)| {
        each(move |protocol, streamed| async move {
            let limited = response(429, headers, "{}");
            let (server, client) = set_up(protocol, vec![limited, good(protocol, streamed)]).await;
            let reply = client.ask(streamed).await.end.unwrap();
            let times = times(&server);
            let case = format!("{headers} {protocol:?} streamed={streamed}");
            assert_eq!((reply.attempts, times.len()), (2, 2), "{case}");
            assert!(
                times[1] - times[0] >= Duration::from_millis(millis),
                "{case}: {:?}",
                times[1] - times[0]
            );
        })
    }))
    .await;
}

#[tokio::test]
async fn r2_a_wait_that_cannot_be_is_none_and_one_too_long_is_told() {
    for (value, told) in [
        ("86400", Some(86_400.0)),
        ("1e400", Some(f64::from(u32::MAX))),
        ("18446744073709551616", Some(f64::from(u32::MAX))),
        ("-1", None),
        ("NaN", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("soon", None),
    ] {
        each(|protocol, streamed| async move {
            let headers = format!("retry-after: {value}\r\n");
            let (server, client) = set_up(protocol, vec![response(429, &headers, "{}")]).await;
            let error = client.ask(streamed).await.end.unwrap_err();
            let case = format!("{value} {protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.call().unwrap().retry_after), (RateLimited, told), "{case}");
            assert_eq!(attempts(&server), if told.is_some() { 1 } else { 3 }, "{case}");
        })
        .await;
    }
}

#[tokio::test]
async fn r3_waits_differ_and_tries_end() {
    each(|protocol, streamed| async move {
        let server = FaultServer::start(support::scripts(protocol, vec![response(503, "", "{}")])).await;
        let (base, most) = (Duration::from_millis(20), Duration::from_millis(60));
        let policy = RetryPolicy { retries: 1_000, base, most, ..RetryPolicy::default() };
        let client = client(protocol, &server.url, |builder| builder.retry(policy));
        let error = client.ask(streamed).await.end.unwrap_err();
        let times = times(&server);
        assert_eq!(
            (times.len(), error.call().unwrap().attempts),
            (10, 10),
            "{protocol:?} streamed={streamed}"
        );
        let gaps: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{gaps:?}");
    })
    .await;
}

#[tokio::test]
async fn r5_the_providers_words_reach_the_user() {
    each(|protocol, streamed| async move {
        let body = json!({"error": {"message": "the words of the house"}}).to_string();
        for status in [400, 401, 403, 404, 413, 422] {
            let (server, client) = set_up(protocol, vec![response(status, "", &body)]).await;
            let error = client.ask(streamed).await.end.unwrap_err();
            assert_eq!(error.message(), format!("p: answered {status}: the words of the house"));
            assert_eq!(attempts(&server), 1, "{status} {protocol:?} streamed={streamed}");
        }
    })
    .await;
}

#[tokio::test]
async fn r7_no_connection_is_tried_again_and_no_trust_is_not() {
    each(|protocol, streamed| async move {
        // A host label may not be this long, so no name server is asked.
        let nowhere = format!("http://{}.invalid", "x".repeat(64));
        for url in ["http://127.0.0.1:1", &nowhere] {
            let error = client(protocol, url, |builder| builder).ask(streamed).await.end.unwrap_err();
            let case = format!("{url} {protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (Network, true), "{case}");
            assert_eq!(error.call().unwrap().attempts, 3, "{case}");
        }
        for (script, secure, tries) in [(vec![Step::Reset], false, 3), (response(200, "", "{}"), true, 1)] {
            let server = FaultServer::start(support::scripts(protocol, vec![script.clone()])).await;
            let server = if secure { FaultServer::start(vec![script]).await } else { server };
            let url = if secure { server.url.replace("http:", "https:") } else { server.url.clone() };
            let error = client(protocol, &url, |builder| builder).ask(streamed).await.end.unwrap_err();
            let case = format!("secure={secure} {protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (Network, !secure), "{case}");
            assert_eq!(attempts(&server), tries, "{case}");
        }
    })
    .await;
}

#[tokio::test]
async fn r8_what_may_have_been_paid_is_repeated_only_when_that_is_allowed_and_with_its_key() {
    each(|protocol, streamed| async move {
        for (repeat_paid, tries) in [(false, 1), (true, 2)] {
            let server = FaultServer::start(support::scripts(protocol, vec![Vec::new()])).await;
            let policy = RetryPolicy { repeat_paid, base: Duration::ZERO, ..RetryPolicy::default() };
            let client = client(protocol, &server.url, |builder| builder.retry(policy));
            let error = client.ask(streamed).await.end.unwrap_err();
            let case = format!("allowed={repeat_paid} {protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), attempts(&server)), (Network, tries), "{case}");
            assert!(error.call().unwrap().usage.as_ref().unwrap().estimated, "{case}");
            let key = |request: &String| {
                request.lines().find(|line| line.starts_with("idempotency-key")).map(str::to_owned)
            };
            let keys: Vec<String> = server.requests().iter().filter_map(key).collect();
            assert!(keys.len() == tries && keys.iter().all(|key| *key == keys[0]), "{case}: {keys:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn r9_each_thing_that_is_waited_for_has_its_own_time() {
    each(|protocol, streamed| async move {
        let short = Duration::from_millis(150);
        let all = Timeouts::default();
        let head = if streamed {
            stream_head(stream_of(protocol))
        } else {
            Step::Send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{".to_vec(),
            )
        };
        let begun = vec![head, Step::Hang];
        for (script, timeouts, told) in [
            (vec![Step::Hang], Timeouts { first_byte: short, ..all }, "no answer from "),
            (begun.clone(), Timeouts { idle: short, ..all }, "nothing came for 0.15 s"),
            (begun, Timeouts { total: short, ..all }, "the call took longer than its limit of 0.15 s"),
        ] {
            let server = FaultServer::start(support::scripts(protocol, vec![script])).await;
            let client = client(protocol, &server.url, |builder| builder.timeouts(timeouts));
            let error = client.ask(streamed).await.end.unwrap_err();
            let case = format!("{protocol:?} streamed={streamed}: {error:?}");
            assert_eq!((error.kind(), error.is_retryable()), (Timeout, true), "{case}");
            assert!(error.message().contains(told), "{case}");
            assert_eq!(attempts(&server), 1, "{case}");
        }
    })
    .await;
}

#[tokio::test]
async fn r9_pings_are_signs_of_life() {
    join_all(PROTOCOLS.map(|protocol| async move {
        let ping = match protocol {
            ProtocolKind::Ollama => "\n",
            ProtocolKind::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            _ => ": ping\n\n",
        };
        let mut script = stream_script(protocol, ping);
        for _ in 0..12 {
            script.extend([Step::Pause(Duration::from_millis(100)), Step::Send(ping.as_bytes().to_vec())]);
        }
        script.push(Step::Send(sample(protocol).stream.into_bytes()));
        let server = FaultServer::start(support::scripts(protocol, vec![script])).await;
        let timeouts = Timeouts { idle: Duration::from_secs(1), ..Timeouts::default() };
        let client = client(protocol, &server.url, |builder| builder.timeouts(timeouts));
        assert_eq!(client.ask(true).await.text, "grüß 你好 🦀", "{protocol:?}");
    }))
    .await;
}

#[tokio::test]
async fn r13_a_page_in_the_place_of_a_stream_is_quoted_and_tried_once_more() {
    for protocol in PROTOCOLS {
        let page = "<html>\n".to_owned() + &"x".repeat(1_000);
        let script = vec![stream_head("text/html"), Step::Send(page.into_bytes())];
        let (server, client) = set_up(protocol, vec![script]).await;
        let error = client.ask(true).await.end.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable(), attempts(&server)),
            (BadResponse, true, 2),
            "{protocol:?}"
        );
        assert!(error.message().contains(r"`<html>\nxxx") && error.message().len() < 300, "{error}");
    }
}

#[tokio::test]
async fn r14_what_is_not_known_in_a_stream_is_left_alone() {
    for protocol in PROTOCOLS {
        let noise = match protocol {
            ProtocolKind::OpenAiChat => vec![
                json!({"choices": []}),
                json!({"choices": [{"delta": {}}], "novelty": 1}),
                json!({"choices": [{"delta": {"content": null}, "x": {}}]}),
            ],
            ProtocolKind::OpenAiResponses => {
                vec![json!({"type": "response.novelty", "x": [1]}), json!({"x": 1})]
            }
            ProtocolKind::Anthropic => vec![json!({"type": "ping"}), json!({"type": "novelty", "delta": {}})],
            ProtocolKind::Gemini => vec![json!({"x": 1}), json!({"candidates": []})],
            ProtocolKind::Ollama => vec![json!({"x": 1}), json!({"message": {}})],
        };
        let noise = frames(protocol, &noise);
        let end = if protocol == ProtocolKind::Ollama { "\n" } else { "\n\n" };
        let stream = sample(protocol).stream.replacen(end, &format!("{end}{noise}"), 2);
        let (_server, client) = set_up(protocol, vec![stream_script(protocol, &stream)]).await;
        let answer = client.ask(true).await;
        assert_eq!(answer.text, "grüß 你好 🦀", "{protocol:?}");
        let reply = answer.end.unwrap();
        assert_eq!((reply.tool_calls.len(), reply.usage.input_tokens), (2, 11), "{protocol:?}");
    }
}

#[tokio::test]
async fn r16_calls_of_tools_are_put_together_by_their_index() {
    let openai = |calls: Json| json!({"choices": [{"delta": {"tool_calls": calls}}]});
    let call = |index: u32, id: Option<&str>, arguments: &str| {
        let name = id.map(|id| format!("f{id}"));
        json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}})
    };
    let chat = vec![
        openai(json!([call(1, Some("b"), "{\"x\": \"\\u00")])),
        openai(json!([call(0, Some("a"), "{\"y\""), call(1, None, "e9\"}")])),
        openai(json!([call(0, None, ": 1}")])),
        openai(json!([call(2, Some("c"), "{\"z\": ")])),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    let start = |index: u32, id: &str| {
        json!({"type": "content_block_start", "index": index,
            "content_block": {"type": "tool_use", "id": id, "name": format!("f{id}"), "input": {}}})
    };
    let more = |index: u32, text: &str| {
        json!({"type": "content_block_delta", "index": index,
            "delta": {"type": "input_json_delta", "partial_json": text}})
    };
    let messages = vec![
        start(1, "b"),
        start(0, "a"),
        more(1, "{\"x\": \"\\u00"),
        more(0, "{\"y\""),
        more(1, "e9\"}"),
        more(0, ": 1}"),
        start(2, "c"),
        more(2, "{\"z\": "),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ];
    // The other APIs send each tool call as a whole.
    for (protocol, chunks) in [(ProtocolKind::OpenAiChat, chat), (ProtocolKind::Anthropic, messages)] {
        let (_server, client) =
            set_up(protocol, vec![stream_script(protocol, &frames(protocol, &chunks))]).await;
        let calls = client.ask(true).await.end.unwrap().tool_calls;
        let found: Vec<(&str, &str, &Json)> =
            calls.iter().map(|call| (call.id.as_str(), call.name.as_str(), &call.arguments)).collect();
        let expected =
            [("a", "fa", &json!({"y": 1})), ("b", "fb", &json!({"x": "é"})), ("c", "fc", &json!("{\"z\": "))];
        assert_eq!(found, expected, "{protocol:?}");
    }
}

#[tokio::test]
async fn r20_a_call_that_is_dropped_closes_its_socket() {
    each(|protocol, streamed| async move {
        let mut script = vec![Step::Hang];
        if streamed {
            script.splice(0..0, stream_script(protocol, &beginning(protocol)));
        }
        let mut server = FaultServer::start(support::scripts(protocol, vec![script])).await;
        let client = client(protocol, &server.url, |builder| builder);
        let begin = if streamed {
            let mut pieces = client.client().stream(Permit::for_test(), ask()).await.unwrap();
            pieces.next().await.unwrap().unwrap();
            Instant::now()
        } else {
            let call = tokio::spawn(client.client().chat(Permit::for_test(), ask()));
            while attempts(&server) == 0 {
                tokio::task::yield_now().await;
            }
            call.abort();
            Instant::now()
        };
        server.client_gone().await;
        // Ten of them run concurrently on a machine that may be busy.
        assert!(
            begin.elapsed() < Duration::from_millis(500),
            "{protocol:?} streamed={streamed}: {:?}",
            begin.elapsed()
        );
    })
    .await;
}

#[tokio::test]
async fn r23_counts_that_cannot_be_are_estimates() {
    for absurd in ["-5", "0", "9e18", "\"3\"", "null"] {
        each(|protocol, streamed| async move {
            let sample = sample(protocol);
            let wrong =
                |text: &str| text.replace(":11", &format!(":{absurd}")).replace(":5", &format!(":{absurd}"));
            let script: Script = if streamed {
                stream_script(protocol, &wrong(&sample.stream))
            } else {
                response(200, "", &wrong(&sample.whole))
            };
            let (_server, client) = set_up(protocol, vec![script]).await;
            let usage = client.ask(streamed).await.end.unwrap().usage;
            let case = format!("{absurd} {protocol:?} streamed={streamed}: {usage:?}");
            assert!(usage.estimated && usage.cost_usd.is_none_or(|cost| cost == 0.0), "{case}");
            assert!(
                (1..1_000).contains(&usage.input_tokens) && (1..1_000).contains(&usage.output_tokens),
                "{case}"
            );
        })
        .await;
    }
}
