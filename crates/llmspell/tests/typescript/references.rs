//! A TypeScript script does the same as the output of esbuild and of oxc in Node, or is refused. If these two disagree,
//! tsc decides.
//!
//! The inputs are the table in `cases.rs`, and programs of `generate.rs`. Set `TYPESCRIPT_SEED` and
//! `TYPESCRIPT_PROGRAMS` to generate others, and their number.
#![allow(clippy::print_stdout, reason = "prints the seed and the counts")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use llmspell::{ErrorKind, Runtime, Spell};
use serde::Deserialize;

use super::cases::{CASES, Expected};
use super::generate::Generator;
use super::{compilers, repository};

/// The files of a program; `main.ts` is its entry.
type Program = BTreeMap<&'static str, String>;

/// The result of a program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProgramResult {
    /// Its default export.
    Value(serde_json::Value),
    /// The name of the thrown error.
    Threw(String),
    Refused(String),
}

impl ProgramResult {
    fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// The results of a program with each compiler.
#[derive(Debug, Deserialize)]
struct References {
    esbuild: ProgramResult,
    oxc: ProgramResult,
    tsc: ProgramResult,
}

fn program(body: &str) -> Program {
    let end = match body.contains("export default") {
        true => "",
        false => "\nexport default [log, show(a), show(b)]\n",
    };
    BTreeMap::from([
        ("main.ts", format!("{};{body};{end}", include_str!("prelude.ts"))),
        ("log.ts", "export const log: string[] = []\n".to_owned()),
        ("side.ts", include_str!("side.ts").to_owned()),
        ("types.ts", include_str!("types.ts").to_owned()),
    ])
}

/// Compiles programs with each compiler, and runs them in Node.
fn by_compilers(programs: &[Program]) -> Vec<References> {
    let place = compilers();
    let script = place.join("references.mjs");
    fs::copy(repository().join("tools/typescript/references.mjs"), &script).unwrap();
    let mut node = Command::new("node")
        .args(["--no-warnings", "--experimental-vm-modules"])
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs node, 20.19 or later");
    let mut input = node.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(programs).unwrap()).unwrap();
    drop(input);
    let ran = node.wait_with_output().unwrap();
    assert!(ran.status.success());
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Runs programs as spells.
fn by_us(programs: &[Program]) -> Vec<ProgramResult> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Runtime::builder().build().unwrap();
    let run = |program: &Program| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in program {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let spell = Spell::load(folder.path()).unwrap();
        match tokio.block_on(runtime.run(spell).start().outcome()).into_result() {
            Ok(value) => ProgramResult::Value(serde_json::to_value(value).unwrap()),
            Err(error) if error.kind() == ErrorKind::Syntax => ProgramResult::Refused(error.to_string()),
            Err(error) => ProgramResult::Threw(error.message().split(':').next().unwrap().to_owned()),
        }
    };
    programs.iter().map(run).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn the_table_does_what_compilers_say() {
    let programs: Vec<Program> = CASES.iter().map(|(body, _)| program(body)).collect();
    let mut wrong = Vec::new();
    for (((body, expected), by), ours) in CASES.iter().zip(by_compilers(&programs)).zip(by_us(&programs)) {
        let agree = by.esbuild == by.oxc && by.oxc == by.tsc;
        let right = match expected {
            Expected::Same => ours == by.esbuild && ours == by.oxc,
            Expected::Refused(why) => matches!(&ours, ProgramResult::Refused(said) if said.contains(why)),
            Expected::Disputed(why) => {
                println!("as tsc alone says: {body:?} ({why})");
                !agree && ours == by.tsc
            }
        };
        if !right {
            wrong.push(format!("{body}\n    {ours:?}\n    {by:?}"));
        }
    }
    println!("{} programs by hand", CASES.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn generated_programs_do_what_compilers_say_or_are_refused() {
    let (seed, count) = (setting("TYPESCRIPT_SEED", 13), setting("TYPESCRIPT_PROGRAMS", 560));
    println!("TYPESCRIPT_SEED={seed} TYPESCRIPT_PROGRAMS={count}");
    let bodies: Vec<String> =
        (0..count).map(|number| Generator::new(seed.wrapping_add(number)).program()).collect();
    let programs: Vec<Program> = bodies.iter().map(|body| program(body)).collect();
    let (mut inputs, mut refused, mut disputed, mut wrong) = (0, 0, 0, Vec::new());
    for (number, (by, ours)) in by_compilers(&programs).into_iter().zip(by_us(&programs)).enumerate() {
        let compiled: Vec<&ProgramResult> =
            [&by.esbuild, &by.oxc].into_iter().filter(|it| !it.is_refused()).collect();
        // This is not valid TypeScript.
        if compiled.is_empty() && ours.is_refused() {
            continue;
        }
        inputs += 1;
        refused += u64::from(ours.is_refused());
        let is_disputed = matches!(compiled[..], [one, other] if one != other);
        disputed += u64::from(is_disputed && !ours.is_refused());
        let right = match is_disputed {
            true => ours == by.tsc,
            false => compiled.first() == Some(&&ours),
        };
        if !right && !ours.is_refused() {
            wrong.push(format!(
                "seed {}:\n{}\n    {ours:?}\n    {by:?}",
                seed + number as u64,
                bodies[number]
            ));
        }
    }
    println!("{inputs} inputs, {refused} refused, {disputed} as tsc alone says, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(refused * 3 < inputs, "most programs must run");
}
