//! One run of a spell in a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmspell_core::chat::Usage;
use llmspell_core::effect::Journal;
use llmspell_core::{Error, ErrorKind, Grant, LogEntry, Map, Outcome, Permissions, Result, Value};
use llmspell_llm::Client;
use schemars::JsonSchema;
use serde::Serialize;

use super::course::{Course, World};
use super::files;
use super::options::RunOptions;
use super::staged::Staged;
use super::world::{Misses, Nobody, ScriptedModels, ScriptedWeb};
use crate::journal::{Recording, RunInfo};
use crate::run::Stage;
use crate::spell::Spell;

/// The id of every run in a test: ids that differ would make prompts that differ.
pub(super) const RUN_ID: &str = "test";

impl Stage {
    /// One without models and without a network, on which nobody types.
    ///
    /// # Errors
    /// When there is not even room for that.
    pub(super) fn empty(folder: &Path) -> Result<Self> {
        Ok(Self {
            models: Arc::new(Client::builder().build()?),
            console: Arc::new(Nobody),
            net: Arc::new(Nobody),
            folder: folder.to_owned(),
            storage: PathBuf::new(),
        })
    }
}

/// What a run came to. Nothing in it differs from run to run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunResult {
    /// What the spell returned.
    pub value: Value,
    /// What it printed.
    pub output: String,
    /// What it logged.
    pub logs: Vec<LogLine>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What its model calls used.
    pub usage: Usage,
    /// How many model calls it made.
    pub calls: u64,
}

/// A line of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What happened.
    pub message: String,
    /// Data beside the message.
    pub fields: Map,
}

/// Why a run failed.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Failure {
    /// What sort of error it is, such as `network`.
    pub kind: &'static str,
    /// What happened, in a sentence.
    pub message: String,
    /// Whether the same may work later.
    pub retryable: bool,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The file and line where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The value that the spell raised in the place of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The provider that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How often the call was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The text that had arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// The place in a model's answer that does not fit its schema, such as `$.items[2].name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What would fit there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// The beginning of the answer as the model wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let (call, output) = (error.call(), error.output());
        Self {
            kind: error.kind().as_str(),
            message: error.message().to_owned(),
            retryable: error.is_retryable(),
            hint: (!error.hints().is_empty()).then(|| error.hints().join("\n")),
            place: error.place().map(ToString::to_string),
            value: error.value().cloned(),
            provider: call.and_then(|call| call.provider.clone()),
            status: call.and_then(|call| call.status),
            attempts: call.map(|call| call.attempts).filter(|attempts| *attempts > 0),
            partial: call.and_then(|call| call.partial.clone()),
            path: output.map(|output| output.path.clone()),
            expected: output.map(|output| output.expected.clone()),
            got: output.map(|output| output.got.clone()),
            raw: output.map(|output| output.raw.clone()),
        }
    }
}

impl From<Outcome> for RunResult {
    fn from(outcome: Outcome) -> Self {
        let log =
            |LogEntry { level, message, fields, .. }| LogLine { level: level.as_str(), message, fields };
        Self {
            value: outcome.value,
            output: outcome.output,
            logs: outcome.logs.into_iter().map(log).collect(),
            error: outcome.error.as_ref().map(Failure::from),
            usage: outcome.usage,
            calls: outcome.model_calls,
        }
    }
}

/// Runs the spell of a course.
///
/// # Errors
/// When the run asks for what neither the test nor the recording answers, or for less than they do.
pub(super) async fn run(course: &Course, params: Map, options: RunOptions) -> Result<RunResult> {
    let (file, world) = course.next_run()?;
    if let Some(world) = world {
        record(course, &file, &world, params.clone(), options.clone()).await?;
    }
    // What was just recorded as well: it is checked that it plays again, and what comes of that is what will come of it.
    replay(course, &file, params, options).await
}

async fn replay(course: &Course, file: &str, params: Map, options: RunOptions) -> Result<RunResult> {
    let setup = &course.setup;
    let recording = match files::read(&setup.folder.dir, file)? {
        Some(text) => {
            Some(Recording::parse(&text).map_err(|error| error.prefixed(format_args!("{file}: ")))?)
        }
        None => None,
    };
    let (info, entries) = recording.map(|Recording { info, entries }| (info, entries)).unzip();
    let permissions = match &info {
        Some(info) => info.permissions.clone().beneath(&setup.root),
        // Nothing real happens.
        None => setup.spell.asked().clone(),
    };
    let journal = Arc::new(Staged::replay(entries, file, &options)?);
    let stage = Stage::empty(&setup.root)?;
    let (model, fallback) = info.map(|info| (info.model, info.fallback)).unzip();
    let played = Played { spell: &setup.spell, stage, permissions, model: model.flatten(), fallback };
    Ok(played.play(course, &journal, params, options).await?.into())
}

async fn record(course: &Course, file: &str, world: &World, params: Map, options: RunOptions) -> Result<()> {
    let setup = &course.setup;
    let Some(live) = &setup.record else { return Err(Error::internal("nothing is to be recorded")) };
    let folder = &world.spell;
    let spell = Spell::load(folder)?;
    let journal = Arc::new(Staged::record(&options)?);
    let info = RunInfo {
        run_id: RUN_ID.to_owned(),
        spell: spell.name().to_owned(),
        version: spell.manifest().version.clone(),
        digest: String::new(),
        modules: BTreeMap::new(),
        params: params.clone(),
        permissions: moved(live.permissions.clone(), &setup.root, Path::new("")),
        model: live.model.clone().or_else(|| spell.manifest().model.clone()),
        fallback: live.fallback.clone().unwrap_or_else(|| spell.manifest().fallback.clone()),
    };
    let (storage, net) = (world.storage.clone(), Arc::clone(&setup.runtime.0.net));
    let mut stage = Stage { storage, net, ..Stage::empty(folder)? };
    if let Some(models) = &setup.runtime.0.models {
        stage.models = Arc::clone(models);
    }
    let permissions = info.permissions.clone().beneath(folder);
    // As a run without a recording has.
    let is_plain = permissions == *spell.asked();
    let (model, fallback) = (info.model.clone(), Some(info.fallback.clone()));
    let played = Played { spell: &spell, stage, permissions, model, fallback };
    played.play(course, &journal, params, options).await?;
    let (dir, entries) = (&setup.folder.dir, journal.recorded());
    if entries.is_empty() && is_plain {
        return files::remove(dir, file);
    }
    files::write(dir, file, &Recording { info, entries }.text()?)
}

/// A run with all that it gets.
struct Played<'a> {
    spell: &'a Spell,
    stage: Stage,
    permissions: Permissions,
    model: Option<String>,
    fallback: Option<Vec<String>>,
}

impl Played<'_> {
    /// Runs it, and looks whether it asked for what there was, no more and no less.
    async fn play(
        self,
        course: &Course,
        journal: &Arc<Staged>,
        params: Map,
        options: RunOptions,
    ) -> Result<Outcome> {
        let misses = Misses::default();
        let mut stage = self.stage;
        if let Some(answers) = &options.model {
            stage.models = Arc::new(ScriptedModels::new(answers, &misses)?);
        }
        if let Some(pages) = options.http {
            stage.net = Arc::new(ScriptedWeb::new(pages, &misses));
        }
        let mut cast = course
            .setup
            .runtime
            .cast(self.spell.clone())
            .params(params)
            .permissions(self.permissions)
            .journal(Arc::clone(journal) as Arc<dyn Journal>)
            .on(stage, RUN_ID);
        if let Some(model) = self.model {
            cast = cast.model(model);
        }
        if let Some(models) = self.fallback {
            cast = cast.fallback(models);
        }
        let outcome = cast.start().outcome().await;
        if let Some(miss) = misses.take() {
            return Err(miss);
        }
        if let Some(error) = outcome.error.as_ref().filter(|error| is_of_the_test(error)) {
            return Err(error.clone());
        }
        // What a limit cut off may well have asked for less.
        if !outcome.error.as_ref().is_some_and(Error::is_final) {
            journal.check()?;
        }
        Ok(outcome)
    }
}

/// Whether an error is nothing that the spell could have come to by itself.
fn is_of_the_test(error: &Error) -> bool {
    error.is_cancelled() || matches!(error.kind(), ErrorKind::Replay | ErrorKind::Internal)
}

/// The same permissions, where what is beneath one folder is beneath the other.
fn moved(mut permissions: Permissions, from: &Path, to: &Path) -> Permissions {
    for grant in [&mut permissions.read, &mut permissions.write] {
        if let Grant::Only(paths) = grant {
            for path in paths {
                if let Ok(rest) = path.strip_prefix(from) {
                    *path = match rest.as_os_str().is_empty() && to.as_os_str().is_empty() {
                        true => PathBuf::from("."),
                        false => to.join(rest),
                    };
                }
            }
        }
    }
    permissions
}
