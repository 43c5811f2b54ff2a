//! Embeds llmspell: a spell calls a host function, the host reads a variable back and prints the outcome as JSON.
//!
//! `cargo run -p llmspell --example embed`

use llmspell::{Method, Runtime, Source};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let double = Method::sync("double", |_cx, mut arguments| {
        let number: f64 = arguments.take("number")?;
        arguments.end()?;
        Ok(number * 2.0)
    });
    let runtime = Runtime::builder().function(double).build()?;

    let live = runtime.open("luau").await?;
    live.set("half", 21).await?;
    let value = live
        .eval(Source::new("embed.luau", "answer = double(half) print(answer) return answer > 40"))
        .await?;
    let answer = live.get("answer").await?;
    assert_eq!(answer, 42.into());

    #[expect(clippy::print_stdout, reason = "an example talks to its reader")]
    {
        println!("{}", serde_json::to_string_pretty(&live.finish(value))?);
    }
    Ok(())
}
