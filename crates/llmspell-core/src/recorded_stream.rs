//! The record of a streamed answer.
//!
//! A journal receives each part when it arrives: first the head, then the chunks, and finally a [`StreamEnd`]. When an
//! entry is read, its parts and its end are combined into one value, the [`StreamRecord`]. A run that crashed in
//! between leaves parts without an end.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::value::{Map, Value};

/// The recorded answer of an effect whose answer arrived in parts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamRecord<H, P> {
    /// The data before the chunks, such as the head of an HTTP response.
    pub(crate) head: H,
    /// The sequence number of the head in the order of answers. Each chunk has a number too.
    pub(crate) opened: u64,
    #[serde(rename = "pieces")]
    pub(crate) chunks: Vec<(u64, P)>,
    /// The end with its sequence number, and its error if it failed. Absent if the script did not wait for the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<(u64, Option<Error>)>,
}

/// The value with which the effect of a stream finishes: everything that its parts do not contain.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamEnd {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<(u64, Option<Error>)>,
}

/// The recorded parts of one answer, with their sequence numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordedStream(Vec<(u64, Value)>);

impl RecordedStream {
    /// Adds the next part.
    pub fn push(&mut self, order: u64, part: Value) {
        self.0.push((order, part));
    }

    /// Returns the sequence number of the last part; 0 without parts.
    #[must_use]
    pub fn last_order(&self) -> u64 {
        self.0.last().map_or(0, |(order, _)| *order)
    }

    /// Combines the parts with the recorded end of the stream. An answer without parts is not changed.
    ///
    /// # Errors
    /// The error with which the effect failed.
    pub fn into_answer(self, answer: Result<Value>) -> Result<Value> {
        answer.map(|answer| {
            let end = answer.get("end").cloned();
            self.into_record(end).unwrap_or(answer)
        })
    }

    /// Returns the parts that arrived before a crash as a record without an end. `None` if no chunk had arrived:
    /// repeating the request then loses nothing.
    #[must_use]
    pub fn arrived(self) -> Option<Value> {
        if self.0.len() < 2 { None } else { self.into_record(None) }
    }

    fn into_record(self, end: Option<Value>) -> Option<Value> {
        let mut parts = self.0.into_iter();
        let (opened, head) = parts.next()?;
        let number = |order: u64| Value::Int(i64::try_from(order).unwrap_or(i64::MAX));
        let chunks = parts.map(|(order, chunk)| Value::List(vec![number(order), chunk])).collect();
        let mut record = Map::new();
        record.insert("head".into(), head);
        record.insert("opened".into(), number(opened));
        record.insert("pieces".into(), Value::List(chunks));
        record.extend(end.map(|end| ("end".to_owned(), end)));
        Some(Value::Map(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{from_value, to_value};
    use crate::effect::{Effect, EffectRequest, EffectResult, JournalEntry};

    #[test]
    fn parts_and_end_are_the_record_that_a_replay_reads() {
        let mut parts = RecordedStream::default();
        for (order, part) in [(1, Value::Nil), (2, "one".into()), (4, "two".into())] {
            parts.push(order, part);
        }
        let record: StreamRecord<Option<u8>, String> = from_value(parts.clone().arrived().unwrap()).unwrap();
        assert_eq!((record.opened, record.chunks), (1, vec![(2, "one".to_owned()), (4, "two".to_owned())]));
        assert!(record.end.is_none());
        let ask = EffectRequest::new("models", "stream", &()).unwrap();
        let effect = Effect { path: "main#1".parse().unwrap(), ask };
        let end = to_value(&StreamEnd { end: Some((5, Some(Error::runtime("cut")))) });
        let entry = JournalEntry { effect, end: Some(EffectResult { order: 5, said: 0, answer: end }) };
        let entry = parts.into_entry(entry);
        assert_eq!(entry.error().unwrap().message(), "cut");
        assert!(entry.end.unwrap().answer.unwrap().get("pieces").is_some());

        let mut head = RecordedStream::default();
        head.push(1, Value::Nil);
        assert!(head.arrived().is_none() && RecordedStream::default().arrived().is_none());
    }
}
