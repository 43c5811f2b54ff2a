//! The baseline for start-up time: a plain program that parses its command line, starts tokio and runs one script.
//!
//! `floor FILE` runs a Luau file without a sandbox, limits or models.

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// The Luau script to run.
    file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "the floor has no gate to go through")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::fs::read_to_string(Args::parse().file)?;
    mlua::Lua::new().load(source).exec()?;
    Ok(())
}
