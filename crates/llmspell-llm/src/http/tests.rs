//! Tests calls to OpenAI's own host name, which tests from outside cannot use.

use std::net::SocketAddr;
use std::sync::Mutex;

use llmspell_core::capability::Models;
use llmspell_core::chat::{Message, Part, Role, ToolSpec};
use llmspell_core::effect::Permit;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::rate_limits::RateLimits;
use crate::{Client, ProviderRow};

type Asked = Arc<Mutex<Vec<(String, Json)>>>;

/// Starts a server that answers like OpenAI. Returns its address and the list of received paths and bodies.
async fn openai() -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Asked::default());
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            answer(socket, &kept).await;
        }
    });
    (address, asked)
}

async fn answer(socket: TcpStream, asked: &Asked) {
    let mut socket = BufReader::new(socket);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        let line = line.trim().to_ascii_lowercase();
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap().to_owned();
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.unwrap();
    let body: Json = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push((path.clone(), body.clone()));
    let (status, kind, text) = match path.as_str() {
        "/v1/responses" => {
            let response = json!({"id": "r", "model": "gpt-6-mini-2026-11-03", "status": "completed",
                "usage": {"input_tokens": 11, "output_tokens": 5}, "output": [
                    {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "sealed"},
                    {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{\"a\": 1}"}]});
            if body["stream"] == true {
                let mut text = String::new();
                for (at, item) in response["output"].as_array().unwrap().iter().enumerate() {
                    let done = json!({"type": "response.output_item.done", "output_index": at, "item": item});
                    text += &format!("data: {done}\n\n");
                }
                let end = json!({"type": "response.completed", "response": response});
                (200, "text/event-stream", format!("{text}data: {end}\n\n"))
            } else {
                (200, "application/json", response.to_string())
            }
        }
        "/v1/embeddings" => {
            (200, "application/json", json!({"data": [{"index": 0, "embedding": [1.0]}]}).to_string())
        }
        _ => (400, "application/json", json!({"error": {"message": "use /v1/responses"}}).to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status} S\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    socket.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
}

fn client(address: SocketAddr) -> Client {
    let config = ProviderConfig::from_row(ProviderRow::find("openai").unwrap())
        .base_url(&format!("http://api.openai.com:{}/v1", address.port()))
        .unwrap();
    let transport = Arc::new(Transport::resolving("api.openai.com", address));
    let provider = HttpProvider::new(config, transport, Limiter::alone(RateLimits::default()));
    Client::builder().custom("openai", Arc::new(provider)).build().unwrap()
}

#[tokio::test]
async fn an_openai_model_that_reasons_calls_tools_through_responses() {
    let tool =
        ToolSpec { name: "add".into(), description: "adds".into(), parameters: json!({"type": "object"}) };
    let request = |messages| ChatRequest {
        messages,
        provider: Some("openai".into()),
        model: Some("gpt-6-mini".into()),
        temperature: Some(0.0),
        tools: vec![tool.clone()],
        ..ChatRequest::default()
    };
    for streamed in [false, true] {
        let (address, asked) = openai().await;
        let client = client(address);
        let mut messages = vec![Message::user("add one")];
        for _ in 0..2 {
            let reply = if streamed {
                let pieces = client.stream(Permit::for_test(), request(messages.clone())).await.unwrap();
                let end = pieces.collect::<Vec<_>>().await.pop().unwrap().unwrap();
                let Delta::End { reply } = end else { panic!("{end:?}") };
                *reply
            } else {
                client.chat(Permit::for_test(), request(messages.clone())).await.unwrap()
            };
            assert_eq!((reply.provider.as_str(), reply.attempts), ("openai", 1));
            assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (11, 5));
            assert_eq!(reply.tool_calls[0].arguments, json!({"a": 1}));
            assert_eq!(reply.warnings.len(), 1, "{:?}", reply.warnings);
            messages.push(reply.to_message());
            let result = Part::ToolResult { id: "c1".into(), content: "2".into(), is_error: false };
            messages.push(Message {
                role: Role::Tool,
                content: llmspell_core::chat::Content::Parts(vec![result]),
            });
        }
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|(path, _)| path == "/v1/responses"), "{asked:?}");
        assert!(asked[0].1.get("temperature").is_none(), "{asked:?}");
        assert_eq!(asked[0].1["include"], json!(["reasoning.encrypted_content"]));
        assert_eq!(asked[1].1["input"][1]["encrypted_content"], "sealed", "{asked:?}");
    }
}

#[tokio::test]
async fn other_calls_of_openai_go_where_they_went() {
    let (address, asked) = openai().await;
    let client = client(address);
    let chat = ChatRequest {
        provider: Some("openai".into()),
        model: Some("gpt-4o".into()),
        ..ChatRequest::prompt("hi")
    };
    assert_eq!(client.chat(Permit::for_test(), chat).await.unwrap_err().kind(), ErrorKind::BadRequest);
    let embed = EmbedRequest {
        texts: vec!["hi".into()],
        provider: Some("openai".into()),
        model: Some("text-embedding-3-small".into()),
        ..EmbedRequest::default()
    };
    assert_eq!(client.embed(Permit::for_test(), embed).await.unwrap().vectors, [[1.0]]);
    let paths: Vec<String> = asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, ["/v1/chat/completions", "/v1/embeddings"]);
}
