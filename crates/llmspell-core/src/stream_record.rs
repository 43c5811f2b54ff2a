//! How an answer that arrives in parts is recorded.
//!
//! A journal gets each part as it arrives, the head first, and at the end a [`StreamEnd`]. Once an effect has ended, its
//! parts and its end are one value, the [`StreamRecord`], which is the answer of the entry. A run that died in between
//! leaves parts without an end.

use serde::{Deserialize, Serialize};

use crate::convert::from_value;
use crate::effect::{End, Entry};
use crate::error::Error;
use crate::value::{Map, Value};

/// The recorded answer of an effect whose answer arrived in parts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamRecord<H, P> {
    /// What came before the chunks, such as the head of a response.
    pub(crate) head: H,
    /// Its place in the [order](End::order) of the run, as each chunk has one.
    pub(crate) opened: u64,
    #[serde(rename = "pieces")]
    pub(crate) chunks: Vec<(u64, P)>,
    /// The end, with what went wrong, if anything did. Absent when the script did not wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<(u64, Option<Error>)>,
}

/// The answer with which a stream's effect [finishes](crate::effect::Journal::finish): what is not in its parts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamEnd {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<(u64, Option<Error>)>,
}

/// The recorded parts of one answer, with their places in the order of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts(Vec<(u64, Value)>);

impl Parts {
    /// Adds the part that arrived next.
    pub fn push(&mut self, order: u64, part: Value) {
        self.0.push((order, part));
    }

    /// The place of the last part.
    #[must_use]
    pub fn last_order(&self) -> u64 {
        self.0.last().map_or(0, |(order, _)| *order)
    }

    /// Puts the parts into the entry's answer. An entry without parts stays as it is.
    #[must_use]
    pub fn into_entry(self, mut entry: Entry) -> Entry {
        if let Some(End { answer: Ok(answer), .. }) = &mut entry.end {
            let end = answer.get("end").cloned();
            if let Some(record) = self.into_record(end) {
                *answer = record;
            }
        }
        entry
    }

    /// What had arrived of an answer that a crash cut off, as a record without an end. `None` when no chunk had: then
    /// nothing is lost by asking again.
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

impl Entry {
    /// What went wrong, if anything did: with the effect, or with its answer in the middle.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        match &self.end.as_ref()?.answer {
            Err(error) => Some(error.clone()),
            Ok(answer) if self.effect.ask.operation == "stream" => {
                from_value::<(u64, Option<Error>)>(answer.get("end")?.clone()).ok()?.1
            }
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::to_value;
    use crate::effect::{Ask, Effect};

    #[test]
    fn parts_and_end_are_the_record_that_a_replay_reads() {
        let mut parts = Parts::default();
        for (order, part) in [(1, Value::Nil), (2, "one".into()), (4, "two".into())] {
            parts.push(order, part);
        }
        let record: StreamRecord<Option<u8>, String> = from_value(parts.clone().arrived().unwrap()).unwrap();
        assert_eq!((record.opened, record.chunks), (1, vec![(2, "one".to_owned()), (4, "two".to_owned())]));
        assert!(record.end.is_none());
        let ask = Ask::new("models", "stream", &()).unwrap();
        let effect = Effect { path: "main#1".parse().unwrap(), ask };
        let end = to_value(&StreamEnd { end: Some((5, Some(Error::runtime("cut")))) });
        let entry = Entry { effect, end: Some(End { order: 5, said: 0, answer: end }) };
        let entry = parts.into_entry(entry);
        assert_eq!(entry.error().unwrap().message(), "cut");
        assert!(entry.end.unwrap().answer.unwrap().get("pieces").is_some());

        let mut head = Parts::default();
        head.push(1, Value::Nil);
        assert!(head.arrived().is_none() && Parts::default().arrived().is_none());
    }
}
