//! The journals of runs.
//!
//! [`RunJournal`] records a run into a [store](crate::store), and answers from it when the run is resumed. A
//! [`Recording`] is a run in a text file, which can be replayed. The parts of this module:
//!
//! | file | contents |
//! |---|---|
//! | `run_journal.rs` | the journal of one run: decides for each effect whether it is answered or performed |
//! | `writer.rs` | the thread that appends records to stores in batches |
//! | `blobs.rs` | the stored form of values: large parts are stored once, by hash |
//! | `recording.rs` | the file format of recordings |
//! | `compare.rs` | the differences between two runs |

pub(crate) mod blobs;
mod compare;
pub(crate) mod recording;
mod run_journal;
mod writer;

use std::collections::BTreeMap;

use llmspell_core::{Map, Permissions};
use serde::{Deserialize, Serialize};

pub use blobs::RequestDigest;
pub use compare::{RunDifference, compare};
pub use recording::Recording;
pub use run_journal::InDoubt;
pub(crate) use run_journal::{RunJournal, value_size};
pub use writer::OnUnavailable;
pub(crate) use writer::{JournalWriter, Queue};

/// The inputs of a run: everything that is needed to replay it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The run's id.
    pub run_id: String,
    /// The spell's name.
    pub spell: String,
    /// The spell's version, from the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of the spell, from [`Spell::digest`](crate::Spell::digest).
    pub digest: String,
    /// The SHA-256 of each module that the run looked for, by path in the spell's folder; `None` if there was no such
    /// file. Only runs in a [store](crate::RunBuilder::in_store) record modules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, Option<String>>,
    /// The parameters.
    pub params: Map,
    /// The permissions.
    pub permissions: Permissions,
    /// The model for requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The fallback models for requests that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
}
