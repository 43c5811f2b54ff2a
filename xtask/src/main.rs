//! The workspace's maintenance commands: `cargo xtask <command>`. They generate files that are checked in, and
//! measure the release build.
#![expect(clippy::print_stderr, reason = "a chore speaks to the person who runs it")]

mod catalogue;
mod figures;
mod reference;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask reference
       cargo xtask catalogue <path-to-json> <version> <date>
       cargo xtask figures [--update]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["catalogue", list, version, date] => catalogue::write(list, version, date),
        ["figures"] => figures::run(false),
        ["figures", "--update"] => figures::run(true),
        ["reference"] => reference::write(),
        _ => Err(USAGE.to_owned()),
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
