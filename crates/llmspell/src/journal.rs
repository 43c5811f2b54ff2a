//! What runs did: the journal that records a run into a [store](crate::store), and recordings, which a person can read.

pub(crate) mod blobs;
mod compare;
pub(crate) mod recording;
mod run_journal;
mod writer;

use std::collections::BTreeMap;

use llmspell_core::{Map, Permissions};
use serde::{Deserialize, Serialize};

pub use compare::{Change, compare};
pub use recording::Recording;
pub use run_journal::InDoubt;
pub(crate) use run_journal::RunJournal;
pub use writer::OnUnavailable;
pub(crate) use writer::{Queue, Writer};

/// What a run was given: what it takes to play it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The run's id.
    pub run_id: String,
    /// The spell's name.
    pub spell: String,
    /// Its version, from the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the spell was, by [`Spell::digest`](crate::Spell::digest).
    pub digest: String,
    /// The SHA-256 of each module that it looked for, by the path in the spell's folder; `None` where there was no file.
    /// Only runs in a [store](crate::Cast::in_store) have them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, Option<String>>,
    /// The parameters it was given.
    pub params: Map,
    /// What it was granted.
    pub permissions: Permissions,
    /// The model for requests that named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The models to fall back on for requests that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
}
