//! What each fault of a provider comes to, for each API, whole and streamed.

mod answers;
mod calls;

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
