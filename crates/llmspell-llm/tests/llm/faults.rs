//! The result of each provider fault, for each API, complete and streamed. The name of a test lists the rows it covers:
//!
//! | row | fault | | row | fault |
//! |---|---|---|---|---|
//! | R1 | 429 with a wait | | R13 | an answer in a wrong format |
//! | R2 | an absurdly long wait | | R14 | empty and unknown parts |
//! | R3 | 429, 5xx, 408, 409 | | R15 | bytes split anywhere, and invalid ones |
//! | R4 | overloaded, also within a stream | | R16 | tool calls in chunks |
//! | R5 | the request is refused | | R17 | calls of unknown tools: tested with agents |
//! | R6 | no credit | | R18 | another finish reason |
//! | R7 | no connection | | R19 | a redirect |
//! | R8 | sent, but not answered | | R20 | cancellation |
//! | R9 | slow | | R21 | down: `fallback.rs` |
//! | R10 | a truncated stream | | R22 | clocks: `fallback.rs`, and tokio's clock everywhere |
//! | R11 | a stream without its final event | | R23 | impossible token counts |
//! | R12 | a damaged chunk | | R24 | many concurrent calls: `rate_limits.rs` |

mod answers;
mod calls;
mod rows;

use llmspell_llm::ProtocolKind;

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{self, Answer, Caller, client, sample, stream_script};

/// Starts a server that plays these scripts, and a client of it.
async fn set_up(protocol: ProtocolKind, scripts: Vec<Script>) -> (FaultServer, Caller) {
    let server = FaultServer::start(support::scripts(protocol, scripts)).await;
    let client = client(protocol, &server.url, |builder| builder);
    (server, client)
}

/// Returns how often a model was called. A provider may also be asked for its models, and Ollama for a model's size.
fn attempts(server: &FaultServer) -> usize {
    server
        .requests()
        .iter()
        .filter(|request| !request.starts_with("POST /api/show") && !request.starts_with("GET "))
        .count()
}

/// Returns the first chunks of a stream, up to the text `grüß 你好 🦀`, without any end.
pub(crate) fn beginning(protocol: ProtocolKind) -> String {
    let stream = sample(protocol).stream;
    let at = stream.find('🦀').unwrap();
    let end = if protocol == ProtocolKind::Ollama { "\n" } else { "\n\n" };
    let after = stream[at..].find(end).unwrap() + end.len();
    stream[..at + after].to_owned()
}

/// Returns a complete valid answer, either way.
fn good(protocol: ProtocolKind, streamed: bool) -> Script {
    let sample = sample(protocol);
    if streamed { stream_script(protocol, &sample.stream) } else { response(200, "", &sample.whole) }
}

/// Formats an error in one line.
fn told(answer: &Answer) -> String {
    match &answer.end {
        Ok(reply) => format!("ok {:?}", reply.finish_reason),
        Err(error) => {
            let call = error.call().unwrap();
            format!(
                "{} retryable={} status={:?} attempts={} {}",
                error.kind(),
                error.is_retryable(),
                call.status,
                call.attempts,
                error.message()
            )
        }
    }
}
