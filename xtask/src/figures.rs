//! Figures of the release build that do not depend on the machine's load: instructions, size, crates, relocations.
//!
//! ```text
//! cargo xtask figures            # compares with xtask/figures.json; fails if a figure is more than 3 % higher
//! cargo xtask figures --update   # writes the figures to xtask/figures.json
//! ```
//!
//! Instructions are those of the whole process, counted by valgrind's callgrind. The lowest of several runs counts,
//! because the interleaving of threads adds some. Counts of another compiler, valgrind or architecture are not
//! comparable: then the command prints both and judges neither.

#![expect(clippy::disallowed_methods, reason = "a chore runs programs and writes the source tree")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures.json");

/// How much higher than its baseline a figure may be, in percent.
const TOLERANCE: u64 = 3;

/// How often each case runs.
const RUNS: usize = 5;

/// The scripts that the cases run, by file name.
const SCRIPTS: &[(&str, &str)] = &[
    ("one.luau", "print('hi')\n"),
    ("one.ts", "console.log('hi' as string)\n"),
    ("calls.luau", "for i = 1, 200 do assert(llm.chat('question ' .. i)) end\n"),
    ("stream.luau", "llm.stream_chat(('word '):rep(1000), function() end)\n"),
];

/// The measured commands: the name of the figure and the arguments. They run in the folder of the scripts.
const CASES: &[(&str, &[&str])] = &[
    ("instructions: --version", &["--version"]),
    ("instructions: one-line Luau spell", &["run", "-q", "one.luau"]),
    ("instructions: one-line TypeScript spell", &["run", "-q", "one.ts"]),
    ("instructions: 200 model calls in sequence, journaled", &["run", "-q", "calls.luau"]),
    ("instructions: replay of 200 model calls", &["run", "-q", "--replay=calls.jsonl", "calls.luau"]),
    ("instructions: 1,000 streamed chunks, journaled", &["run", "-q", "stream.luau"]),
];

type Figures = BTreeMap<String, u64>;

/// Measures the release build, and compares the figures with the baseline or replaces the baseline. Returns a table.
pub(crate) fn run(update: bool) -> Result<String, String> {
    output(Command::new("cargo").args(["build", "--release", "--locked", "--package", "llmspell-cli"]))?;
    let toolchain = toolchain()?;
    let figures = measure(&release_binary()?)?;
    if update {
        let text = serde_json::to_string_pretty(&json!({"toolchain": toolchain, "figures": figures}));
        let text = text.map_err(|error| error.to_string())? + "\n";
        fs::write(BASELINE, text).map_err(|error| format!("{BASELINE}: {error}"))?;
    }
    let (known_toolchain, baseline) = read_baseline()?;
    let (table, too_high) = compare(&figures, &baseline);
    if known_toolchain != toolchain {
        return Ok(format!(
            "{table}not compared: the baseline was measured with {known_toolchain}, these figures with {toolchain}"
        ));
    }
    if too_high.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "{table}more than {TOLERANCE} % above the baseline: {}\nIf that is worth it, run `cargo xtask figures --update` \
         and give the reason in the commit.",
        too_high.join(", ")
    ))
}

fn measure(binary: &Path) -> Result<Figures, String> {
    let mut figures = Figures::new();
    let size = fs::metadata(binary).map_err(|error| format!("{}: {error}", binary.display()))?.len();
    figures.insert("binary, bytes".to_owned(), size);
    figures.insert("crates in the command".to_owned(), crates()?);
    figures.insert("relocations".to_owned(), relocations(binary)?);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (name, text) in SCRIPTS {
        fs::write(folder.path().join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    output(in_folder(binary, folder.path()).args(["run", "-q", "--record=calls.jsonl", "calls.luau"]))?;
    for (name, arguments) in CASES {
        let mut lowest = u64::MAX;
        for _ in 0..RUNS {
            lowest = lowest.min(instructions(binary, folder.path(), arguments)?);
        }
        figures.insert((*name).to_owned(), lowest);
    }
    Ok(figures)
}

/// Runs a command under callgrind and returns how many instructions it executed.
fn instructions(binary: &Path, folder: &Path, arguments: &[&str]) -> Result<u64, String> {
    let mut command = in_folder(Path::new("valgrind"), folder);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).args(arguments);
    let stderr = String::from_utf8_lossy(&output(&mut command)?.stderr).into_owned();
    stderr
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind printed no count for {arguments:?}:\n{stderr}"))
}

/// Returns a command that runs in a folder, with an empty home there and the mock model.
fn in_folder(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("HOME", folder).env("MOCK_LLM", "1");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Counts the crates that the command is built from, itself included.
fn crates() -> Result<u64, String> {
    let arguments = ["tree", "--locked", "--package=llmspell-cli", "--edges=normal", "--prefix=none"];
    let text = text(Command::new("cargo").args(arguments))?;
    let names: BTreeSet<_> =
        text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    Ok(names.len() as u64)
}

/// Counts the relocations that the loader applies at each start.
fn relocations(binary: &Path) -> Result<u64, String> {
    let text = text(Command::new("readelf").args(["--relocs", "--wide"]).arg(binary))?;
    Ok(text.lines().filter(|line| line.contains(" R_")).count() as u64)
}

fn release_binary() -> Result<PathBuf, String> {
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version=1"];
    let metadata: Json =
        serde_json::from_str(&text(Command::new("cargo").args(arguments))?).map_err(|e| e.to_string())?;
    let target = metadata["target_directory"].as_str().ok_or("cargo metadata names no target folder")?;
    Ok(Path::new(target).join("release/llmspell"))
}

/// Returns the compiler, valgrind and architecture, which the figures depend on.
fn toolchain() -> Result<String, String> {
    let rustc = text(Command::new("rustc").arg("--version"))?;
    let valgrind = text(Command::new("valgrind").arg("--version"))?;
    Ok(format!("{}, {}, {}", rustc.trim(), valgrind.trim(), std::env::consts::ARCH))
}

fn read_baseline() -> Result<(String, Figures), String> {
    let text = fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}"))?;
    let baseline: Json = serde_json::from_str(&text).map_err(|error| format!("{BASELINE}: {error}"))?;
    let figures = baseline["figures"].as_object().ok_or_else(|| format!("{BASELINE} has no `figures`"))?;
    let figures = figures.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect();
    Ok((baseline["toolchain"].as_str().unwrap_or_default().to_owned(), figures))
}

/// Returns a table of the figures, and the names of those that are too high or that the baseline lacks.
fn compare(figures: &Figures, baseline: &Figures) -> (String, Vec<String>) {
    let mut table = format!("{:<55} {:>14} {:>14}  change\n", "", "baseline", "now");
    let mut too_high = Vec::new();
    for (name, now) in figures {
        let Some(before) = baseline.get(name) else {
            let _ = writeln!(table, "{name:<55} {:>14} {now:>14}", "-");
            too_high.push(name.clone());
            continue;
        };
        let change = (*now as f64 / *before as f64 - 1.0) * 100.0;
        let _ = writeln!(table, "{name:<55} {before:>14} {now:>14}  {change:+.1} %");
        if u128::from(*now) * 100 > u128::from(*before) * u128::from(100 + TOLERANCE) {
            too_high.push(name.clone());
        }
    }
    (table, too_high)
}

/// Runs a command and returns its standard output.
fn text(command: &mut Command) -> Result<String, String> {
    String::from_utf8(output(command)?.stdout).map_err(|error| error.to_string())
}

/// Runs a command in the root of the workspace, unless it has a folder already. A failure is an error with its stderr.
fn output(command: &mut Command) -> Result<Output, String> {
    if command.get_current_dir().is_none() {
        command.current_dir(ROOT);
    }
    let shown = format!("{command:?}");
    let done = command.output().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if done.status.success() {
        return Ok(done);
    }
    Err(format!("{shown} failed ({}):\n{}", done.status, String::from_utf8_lossy(&done.stderr)))
}

#[cfg(test)]
mod tests {
    use super::{Figures, compare};

    #[test]
    fn figures_are_judged_with_a_tolerance_and_missing_baselines_count() {
        let figures = |rows: &[(&str, u64)]| -> Figures {
            rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        let baseline = figures(&[("low", 100), ("same", 100), ("tolerated", 100), ("high", 100)]);
        let now = figures(&[("low", 1), ("same", 100), ("tolerated", 103), ("high", 104), ("new", 1)]);
        assert_eq!(compare(&now, &baseline).1, ["high", "new"]);
    }
}
