//! A whole response, which a script holds.

use std::borrow::Cow;

use llmspell_core::capability::{HttpHead, HttpResponse};
use llmspell_core::{Map, MemoryReservation, Meter, Result, Value};

use crate::bytes::Bytes;
use crate::json::decode::decode;

/// A response, and its reservation of the run's memory.
#[derive(Debug)]
pub struct ReceivedResponse {
    response: HttpResponse,
    _held: MemoryReservation,
}

impl ReceivedResponse {
    pub(super) fn new(response: HttpResponse, held: MemoryReservation) -> Self {
        Self { response, _held: held }
    }

    pub(super) fn head(&self) -> &HttpHead {
        &self.response.head
    }

    /// Returns the header fields; the first one of each name.
    pub(super) fn fields(&self) -> Map {
        let mut fields = Map::new();
        for (name, value) in self.head().headers.iter() {
            fields.entry(name.to_owned()).or_insert_with(|| value.into());
        }
        fields
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.response.body).into_owned()
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes(self.response.body.to_vec())
    }

    pub(super) fn json(&self, meter: &Meter) -> Result<Value> {
        let text: Cow<'_, [u8]> = match self.response.body.strip_prefix(b"\xef\xbb\xbf") {
            Some(after_mark) => after_mark.into(),
            None => (&*self.response.body).into(),
        };
        decode(meter, &text)
    }
}
