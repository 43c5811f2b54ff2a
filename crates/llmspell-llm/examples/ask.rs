//! Asks a model a question, whole and as a stream: `ask <provider> <base-url> <model> <question>`.

#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use futures_util::StreamExt;
use llmspell_core::capability::Models;
use llmspell_core::chat::{ChatRequest, Delta};
use llmspell_core::effect::Permit;
use llmspell_llm::{Client, ProviderConfig, ProviderRow};

#[tokio::main]
async fn main() -> llmspell_core::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, base_url, model, question] = arguments.as_slice() else {
        println!("usage: ask <provider> <base-url> <model> <question>");
        return Ok(());
    };
    let row = ProviderRow::find(provider).expect("the provider is one of the list");
    let config = ProviderConfig::from_row(row).base_url(base_url)?.key("any-key-at-all");
    let client = Client::builder().provider(config).build()?;
    let request = ChatRequest {
        provider: Some(provider.clone()),
        model: Some(model.clone()),
        max_tokens: Some(40),
        ..ChatRequest::prompt(question)
    };
    println!("{:#?}", client.chat(Permit::for_test(), request.clone()).await);
    let mut pieces = client.stream(Permit::for_test(), request).await?;
    while let Some(piece) = pieces.next().await {
        match piece? {
            Delta::Text { text } => print!("{text}|"),
            Delta::Reasoning { text } => print!("({text})"),
            Delta::End { reply } => println!("\n{:?} {:?}", reply.finish_reason, reply.usage),
        }
    }
    println!("{:?}", client.list(Permit::for_test(), None).await?);
    Ok(())
}
