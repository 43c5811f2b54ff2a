//! `test.run`: one run of a spell in a test, and its result.
//!
//! A run is always a replay. With `--update` the run is recorded first, in a copy of the spell's folder, and then the
//! new recording is replayed. So a recording that does not replay fails at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmspell_core::chat::Usage;
use llmspell_core::effect::Journal;
use llmspell_core::{Error, ErrorKind, Grant, LogEntry, Map, Outcome, Permissions, Result, Value, World};
use llmspell_llm::Client;
use schemars::JsonSchema;
use serde::Serialize;

use super::files;
use super::options::RunOptions;
use super::test_file::{Sandbox, TestFile};
use super::test_journal::TestJournal;
use super::world::{OfflineWorld, ScriptedModels, ScriptedWeb, UnmatchedRequests};
use crate::journal::{Recording, RunInfo};
use crate::run::TestWorld;
use crate::runtime::Runtime;
use crate::spell::Spell;

/// The run id of every run in a test. A random id could get into prompts and make them differ from the recording.
pub(super) const RUN_ID: &str = "test";

impl TestWorld {
    /// Creates a test world without models, network and user input.
    ///
    /// # Errors
    /// When the client of models cannot be built.
    pub(super) fn empty(runtime: &Runtime, folder: &Path) -> Result<Self> {
        let world = World {
            models: Some(Arc::new(Client::builder().build()?)),
            cache: None,
            console: Some(Arc::new(OfflineWorld)),
            net: Some(Arc::new(OfflineWorld)),
            working_dir: Some(folder.to_owned()),
            ..runtime.0.world.clone()
        };
        Ok(Self { world, storage: PathBuf::new() })
    }
}

/// The result of a run. It is the same for each replay of a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunResult {
    /// The return value of the spell.
    pub value: Value,
    /// The text that it printed.
    pub output: String,
    /// The lines that it logged.
    pub logs: Vec<LogLine>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The usage of its model calls.
    pub usage: Usage,
    /// How many model calls it made.
    pub calls: u64,
}

/// A line of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The message.
    pub message: String,
    /// Structured data of the line.
    pub fields: Map,
}

/// Why a run failed.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Failure {
    /// The kind of error, such as `network`.
    pub kind: &'static str,
    /// What happened, in a sentence.
    pub message: String,
    /// Whether a retry may succeed.
    pub retryable: bool,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The file and line where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The value that the spell raised instead of a message.
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
    /// The path in a model's answer that does not fit the schema, such as `$.items[2].name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the schema expects there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// The beginning of the answer, as the model wrote it.
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

/// Runs the spell in the current case.
///
/// # Errors
/// When the run asks for something that neither the test nor the recording answers, or for less than they do.
pub(super) async fn run(test_file: &TestFile, params: Map, options: RunOptions) -> Result<RunResult> {
    let (file, sandbox) = test_file.next_run()?;
    if let Some(sandbox) = sandbox {
        record(test_file, &file, &sandbox, params.clone(), options.clone()).await?;
    }
    // Also replay what was just recorded. This checks the recording, and makes the result the same as in later replays.
    replay(test_file, &file, params, options).await
}

async fn replay(test_file: &TestFile, file: &str, params: Map, options: RunOptions) -> Result<RunResult> {
    let setup = &test_file.setup;
    let recording = match files::read(&setup.folder.dir, file)? {
        Some(text) => {
            Some(Recording::parse(&text).map_err(|error| error.prefixed(format_args!("{file}: ")))?)
        }
        None => None,
    };
    let (info, entries) = recording.map(|Recording { info, entries }| (info, entries)).unzip();
    let permissions = match &info {
        Some(info) => info.permissions.clone().beneath(&setup.root),
        // Without a recording there are no live effects that a permission could allow.
        None => setup.spell.asked().clone(),
    };
    let journal = Arc::new(TestJournal::replay(entries, file, &options)?);
    let world = TestWorld::empty(&setup.runtime, &setup.root)?;
    let (model, fallback) = info.map(|info| (info.model, info.fallback)).unzip();
    let played = ConfiguredRun { spell: &setup.spell, world, permissions, model: model.flatten(), fallback };
    Ok(played.play(test_file, &journal, params, options).await?.into())
}

async fn record(
    test_file: &TestFile,
    file: &str,
    sandbox: &Sandbox,
    params: Map,
    options: RunOptions,
) -> Result<()> {
    let setup = &test_file.setup;
    let Some(live) = &setup.record else { return Err(Error::internal("nothing is to be recorded")) };
    let folder = &sandbox.spell;
    let spell = Spell::load(folder)?;
    let journal = Arc::new(TestJournal::record(&options)?);
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
    let live_world = &setup.runtime.0.world;
    let mut world =
        TestWorld { storage: sandbox.storage.clone(), ..TestWorld::empty(&setup.runtime, folder)? };
    world.world.net.clone_from(&live_world.net);
    if live_world.models.is_some() {
        world.world.models.clone_from(&live_world.models);
    }
    let permissions = info.permissions.clone().beneath(folder);
    // The permissions that a replay without a recording uses.
    let is_plain = permissions == *spell.asked();
    let (model, fallback) = (info.model.clone(), Some(info.fallback.clone()));
    let played = ConfiguredRun { spell: &spell, world, permissions, model, fallback };
    played.play(test_file, &journal, params, options).await?;
    let (dir, entries) = (&setup.folder.dir, journal.recorded());
    if entries.is_empty() && is_plain {
        return files::remove(dir, file);
    }
    files::write(dir, file, &Recording { info, entries }.text()?)
}

/// A run with all of its settings.
struct ConfiguredRun<'a> {
    spell: &'a Spell,
    world: TestWorld,
    permissions: Permissions,
    model: Option<String>,
    fallback: Option<Vec<String>>,
}

impl ConfiguredRun<'_> {
    /// Runs the spell, and checks that it asked for exactly the effects that there were answers for.
    async fn play(
        self,
        test_file: &TestFile,
        journal: &Arc<TestJournal>,
        params: Map,
        options: RunOptions,
    ) -> Result<Outcome> {
        let unmatched = UnmatchedRequests::default();
        let mut world = self.world;
        if let Some(answers) = &options.model {
            world.world.models = Some(Arc::new(ScriptedModels::new(answers, &unmatched)?));
        }
        if let Some(pages) = options.http {
            world.world.net = Some(Arc::new(ScriptedWeb::new(pages, &unmatched)));
        }
        let mut builder = test_file
            .setup
            .runtime
            .run(self.spell.clone())
            .params(params)
            .permissions(self.permissions)
            .journal(Arc::clone(journal) as Arc<dyn Journal>)
            .on(world, RUN_ID);
        if let Some(model) = self.model {
            builder = builder.model(model);
        }
        if let Some(models) = self.fallback {
            builder = builder.fallback(models);
        }
        let outcome = builder.start().outcome().await;
        if let Some(miss) = unmatched.take() {
            return Err(miss);
        }
        if let Some(error) = outcome.error.as_ref().filter(|error| is_of_the_test(error)) {
            return Err(error.clone());
        }
        // A run that was stopped by a limit or cancelled may have asked for less.
        if !outcome.error.as_ref().is_some_and(Error::is_final) {
            journal.check()?;
        }
        Ok(outcome)
    }
}

/// Whether the error comes from the test and not from the spell.
fn is_of_the_test(error: &Error) -> bool {
    error.is_cancelled() || matches!(error.kind(), ErrorKind::Replay | ErrorKind::Internal)
}

/// Returns the permissions with paths in `from` moved to the same paths in `to`.
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
