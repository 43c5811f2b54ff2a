//! `llmspell check` looks for mistakes in spells without running them.

use std::path::{Path, PathBuf};

use clap::Args;
use llmspell::{Diagnostic, Engine, EngineDescriptor, Error, Result, Runtime, Source, Spell};

use crate::exit::{self, Exit};
use crate::language::EntryArgs;
use crate::report::{Reporter, say};
use crate::stdout::{Format, print_json};

/// How many levels of folders in a spell's folder are searched.
const DEPTH: usize = 16;

/// Looks for mistakes in spells without running them
///
/// Reads the manifest, the entry script and every module in a spell's folder.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The spells: folders or script files
    #[arg(required = true)]
    spells: Vec<PathBuf>,
    #[command(flatten)]
    entry: EntryArgs,
    /// The format: diagnostics as text on stderr, or as JSON on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl CheckArgs {
    pub(crate) fn execute(self, report: &Reporter) -> Result<Exit> {
        let runtime = Runtime::builder().build()?;
        let mut found = Vec::new();
        let mut worst = Exit::Done;
        for path in &self.spells {
            // A spell that cannot be read must not hide the mistakes in the others.
            match check(&runtime, &self.entry, path, report) {
                Ok((_, diagnostics)) if !diagnostics.is_empty() => {
                    worst = worst.max(Exit::Failed);
                    found.extend(diagnostics);
                }
                Ok((note, _)) if self.output == Format::Text => {
                    report.note(&note).iter().for_each(|note| say(note));
                }
                Ok(_) => {}
                Err(error) => worst = worst.max(report.fail(&error)),
            }
        }
        if self.output == Format::Json {
            return Ok(print_json(&found)?.max(worst));
        }
        for diagnostic in found {
            report.fail(&Error::from(diagnostic));
        }
        Ok(worst)
    }
}

/// Checks one spell. Returns a note for a spell without mistakes, and the diagnostics.
fn check(
    runtime: &Runtime,
    entry: &EntryArgs,
    path: &Path,
    report: &Reporter,
) -> Result<(String, Vec<Diagnostic>)> {
    let spell = entry.load(path)?;
    for warning in &spell.manifest().warnings {
        report.warn(&format!("{}: {warning}", path.join("spell.yaml").display()));
    }
    let engine = runtime.engine_for(&spell)?;
    let sources = sources(path, &spell, &*engine)?;
    let files = match sources.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let found = sources.iter().flat_map(|source| engine.check(source)).collect();
    Ok((format!("{}: ok, {files}", spell.name()), found))
}

/// Returns the scripts of a spell, with the names by which the user knows them: a lone script, or all scripts of its
/// engine in the folder.
fn sources(path: &Path, spell: &Spell, engine: &dyn Engine) -> Result<Vec<Source>> {
    if !path.is_dir() {
        return Ok(vec![Source::new(path.display().to_string(), spell.source().text.clone())]);
    }
    let entry = path.join(&spell.source().name);
    let mut files = Vec::new();
    gather(path, &engine.descriptor(), DEPTH, &mut files)?;
    files.retain(|file| *file != entry);
    files.sort();
    let modules = files.iter().map(|file| open(file));
    std::iter::once(Ok(Source::new(entry.display().to_string(), spell.source().text.clone())))
        .chain(modules)
        .collect()
}

/// Adds the files of an engine inside a folder and its subfolders. Links and hidden files are left out.
#[expect(clippy::disallowed_methods, reason = "the command reads the folder it was asked to check")]
fn gather(dir: &Path, engine: &EngineDescriptor, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| exit::io(&format!("cannot read {}", dir.display()), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let ours = path.extension().and_then(|it| it.to_str()).is_some_and(|it| engine.has_extension(it));
        if kind.is_file() && ours {
            files.push(path);
        } else if kind.is_dir() && depth > 0 {
            gather(&path, engine, depth - 1, files)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the command reads the folder it was asked to check")]
fn open(path: &Path) -> Result<Source> {
    let file = std::fs::File::open(path)
        .map_err(|error| exit::io(&format!("cannot read {}", path.display()), error))?;
    Source::from_reader(path.display().to_string(), file)
}
