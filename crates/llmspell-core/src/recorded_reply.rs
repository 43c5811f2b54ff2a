//! The recorded form of a model's answer.

use serde::{Deserialize, Serialize};

use crate::chat::{Delta, Reply};
use crate::convert::from_value;
use crate::effect::JournalEntry;
use crate::recorded_stream::StreamRecord;

impl JournalEntry {
    /// Returns the complete reply of a model, if the effect is a model call that succeeded.
    #[must_use]
    pub fn reply(&self) -> Option<Reply> {
        let answer = self.end.as_ref()?.answer.as_ref().ok()?;
        match (&*self.effect.ask.capability, &*self.effect.ask.operation) {
            ("models", "chat") => from_value(answer.clone()).ok(),
            ("models", "stream") => {
                let record: StreamRecord<NoHead, DeltaRecord> = from_value(answer.clone()).ok()?;
                record.chunks.into_iter().rev().find_map(|(_, delta)| match delta {
                    DeltaRecord(Delta::End { reply }) => Some(*reply),
                    _ => None,
                })
            }
            _ => None,
        }
    }
}

/// The head of a streamed reply, which is empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NoHead {}

/// A chunk as the journal stores it. Most of thousands of chunks are plain text, and are stored as strings.
#[derive(Debug, Clone)]
pub(crate) struct DeltaRecord(pub(crate) Delta);

impl Serialize for DeltaRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Delta::Text { text } => serializer.serialize_str(text),
            delta => delta.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DeltaRecord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum DeltaForm {
            Text(String),
            Delta(Delta),
        }
        DeltaForm::deserialize(deserializer).map(|written| match written {
            DeltaForm::Text(text) => Self(Delta::Text { text }),
            DeltaForm::Delta(delta) => Self(delta),
        })
    }
}
