//! What each fault of a provider comes to, for each API, whole and streamed. A test is named by the rows it checks:
//!
//! | row | fault | | row | fault |
//! |---|---|---|---|---|
//! | R1 | 429 with a wait | | R13 | an answer that is none |
//! | R2 | a wait that is absurd | | R14 | empty and unknown parts |
//! | R3 | 429, 5xx, 408, 409 | | R15 | bytes cut anywhere, and invalid ones |
//! | R4 | overloaded, in a stream too | | R16 | calls of tools in pieces |
//! | R5 | the request is refused | | R17 | calls of tools that there are not: those who run tools |
//! | R6 | no credit | | R18 | stopped for another reason |
//! | R7 | no connection | | R19 | a redirect |
//! | R8 | sent and not answered | | R20 | cancelled |
//! | R9 | slow | | R21 | down: `fallback.rs` |
//! | R10 | a stream cut off | | R22 | clocks: `fallback.rs`, and tokio's clock everywhere |
//! | R11 | a stream that ends without its end | | R23 | counts that cannot be |
//! | R12 | a damaged chunk | | R24 | many at once: `pace.rs` |

mod answers;
mod calls;
mod rows;

use llmspell_llm::ShapeKind;

use crate::fault_server::{FaultServer, Script, response};
use crate::support::{self, Answer, Caller, client, sample, stream_script};

/// A server that plays these scripts, and a client of it.
async fn set_up(shape: ShapeKind, scripts: Vec<Script>) -> (FaultServer, Caller) {
    let server = FaultServer::start(support::scripts(shape, scripts)).await;
    let client = client(shape, &server.url, |builder| builder);
    (server, client)
}

/// How often a model was asked: a provider may be asked for its models as well, and Ollama for a model's size.
fn attempts(server: &FaultServer) -> usize {
    server
        .requests()
        .iter()
        .filter(|request| !request.starts_with("POST /api/show") && !request.starts_with("GET "))
        .count()
}

/// The first chunks of a stream, up to where it has said `grüß 你好 🦀` and nothing of an end.
pub(crate) fn beginning(shape: ShapeKind) -> String {
    let stream = sample(shape).stream;
    let at = stream.find('🦀').unwrap();
    let end = if shape == ShapeKind::Ollama { "\n" } else { "\n\n" };
    let after = stream[at..].find(end).unwrap() + end.len();
    stream[..at + after].to_owned()
}

/// A whole good answer, either way.
fn good(shape: ShapeKind, streamed: bool) -> Script {
    let sample = sample(shape);
    if streamed { stream_script(shape, &sample.stream) } else { response(200, "", &sample.whole) }
}

/// An error as it was, in one line.
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
