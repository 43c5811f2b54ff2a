//! Servers that answer in another form than requested, such as JSON instead of a stream. The client reads the answer and
//! does not ask again, because the user has paid for it.

use llmspell_llm::ProtocolKind::*;

use crate::fault_server::{FaultServer, Script, Step};
use crate::support::{self, PROTOCOLS, client, sample};

fn typed(content_type: &str, body: &str) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}");
    vec![Step::Send(head.into_bytes())]
}

#[tokio::test]
async fn an_answer_is_read_once_whatever_its_form() {
    for protocol in PROTOCOLS {
        let sample = sample(protocol);
        let mut answers = vec![
            ("JSON", "application/json", sample.whole.clone()),
            ("JSON as text", "text/plain", sample.whole.clone()),
            ("JSON of no type", "", sample.whole.clone()),
        ];
        if protocol == Ollama {
            answers.push(("lines", "application/x-ndjson", sample.stream.clone()));
        } else {
            answers.push(("events", "text/event-stream", sample.stream.clone()));
            answers.push(("events as text", "text/plain", sample.stream.clone()));
        }
        if protocol == Gemini {
            let chunks: Vec<&str> =
                sample.stream.split("\n\n").filter_map(|chunk| chunk.strip_prefix("data: ")).collect();
            answers.push(("a list of chunks", "application/json", format!("[{}]", chunks.join(",\n"))));
        }
        for (name, content_type, body) in answers {
            for streamed in [false, true] {
                // Nothing tells that this is not a stream.
                if streamed && content_type.is_empty() && protocol != Ollama {
                    continue;
                }
                let case = format!("{protocol:?} {name} streamed={streamed}");
                let scripts = support::scripts(protocol, vec![typed(content_type, &body)]);
                let server = FaultServer::start(scripts).await;
                let answer = client(protocol, &server.url, |builder| builder).ask(streamed).await;
                let reply = answer.end.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert_eq!((answer.text.as_str(), reply.attempts), ("grüß 你好 🦀", 1), "{case}");
                assert_eq!(reply.tool_calls.len(), 2, "{case}");
                assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (11, 5), "{case}");
            }
        }
    }
}
