//! The baseline for many concurrent model calls: a plain program with reqwest and tokio, without llmspell.
//!
//! `fanout BASE_URL COUNT` sends `COUNT` chat requests at once to a server with OpenAI's protocol, and checks each
//! answer.

use std::error::Error;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = format!("{}/chat/completions", arguments.next().ok_or("BASE_URL is missing")?);
    let count: usize = arguments.next().ok_or("COUNT is missing")?.parse()?;
    let client = client()?;
    let mut calls = JoinSet::new();
    for number in 1..=count {
        calls.spawn(ask(client.clone(), url.clone(), format!("question {number}")));
    }
    while let Some(answered) = calls.join_next().await {
        answered??;
    }
    Ok(())
}

async fn ask(client: Client, url: String, question: String) -> Result<(), String> {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": question}]}).to_string();
    let request = client.post(url).bearer_auth("key").header("content-type", "application/json").body(body);
    let sent = request.send().await.and_then(reqwest::Response::error_for_status);
    let text = sent.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())?;
    let reply: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let answer = &reply["choices"][0]["message"]["content"];
    if answer == &format!("<{question}>") { Ok(()) } else { Err(format!("{question}: {answer}")) }
}

#[expect(clippy::disallowed_methods, reason = "the floor has a client of its own")]
fn client() -> Result<Client, Box<dyn Error>> {
    let provider = rustls::crypto::ring::default_provider().into();
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}
