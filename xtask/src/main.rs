//! Chores of the workspace: `cargo xtask <chore>`.
#![expect(clippy::print_stderr, reason = "a chore speaks to the person who runs it")]

mod catalogue;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["catalogue", list, version, date] => catalogue::write(list, version, date),
        _ => Err("usage: cargo xtask catalogue <path-to-json> <version> <date>".to_owned()),
    };
    match done {
        Ok(said) => {
            eprintln!("{said}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
