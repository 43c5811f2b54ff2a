//! The floor under a start: parse a command line, start a runtime, run one script, end.
//!
//! `floor FILE` runs a Luau file with nothing around it: no sandbox, no limits, no models.

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// The script.
    file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "the floor has no gate to go through")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::fs::read_to_string(Args::parse().file)?;
    mlua::Lua::new().load(source).exec()?;
    Ok(())
}
