//! The stored form of values: JSON, with large parts stored once as blobs, by the hash of their content.
//!
//! Texts and bytes of at least 1 KB become blobs, and so do large lists in requests. A list is stored as a chain: each
//! link holds one item and the hash of the previous link. A conversation sends all its messages with every call; with
//! chains, each call adds only its new messages to the store.
//!
//! ```json
//! {"$text": "<hash>"}  {"$blob": "<hash>"}  {"$list": "<hash>"}  {"$bytes": "<base64>"}  {"$number": "NaN"}
//! ```
//! A map that looks like one of these is wrapped: `{"$map": {…}}`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use llmspell_core::{Error, ErrorKind, Map, Result, Value};
use ring::digest::{Context, SHA256};

/// The size from which a part counts as large, in bytes.
const LARGE: usize = 1024;

/// A large part of a value, in its stored form.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blob<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A link of a chained list, as JSON.
    Link(&'a str),
}

impl Blob<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Link(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Returns half of a SHA-256, which is enough to be unique within a store. The kind is part of the hash, so a text
    /// that looks like a link has another hash than the link.
    fn hash(&self) -> String {
        let kind: &[u8] = match self {
            Self::Text(_) => b"text",
            Self::Bytes(_) => b"bytes",
            Self::Link(_) => b"list",
        };
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(self.bytes());
        context.finish().as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Receives blobs by their hashes.
pub(crate) trait BlobSink {
    /// Whether bytes are stored as blobs. If not, they are part of the JSON, as Base64.
    const TAKES_BYTES: bool;

    /// Stores a blob, unless it is known. A blob that names other blobs is passed after them.
    ///
    /// # Errors
    /// When the blob cannot be stored.
    fn keep(&mut self, hash: &str, blob: Blob<'_>) -> Result<()>;
}

/// Returns stored blobs by their hashes.
pub(crate) trait BlobSource {
    /// Returns a blob; `None` if there is none with this hash.
    ///
    /// # Errors
    /// When the blobs cannot be read.
    fn find(&self, hash: &str) -> Result<Option<Cow<'_, [u8]>>>;
}

/// Blobs by hash, in their stored form.
pub(crate) type Blobs = HashMap<String, Vec<u8>>;

impl BlobSource for Blobs {
    fn find(&self, hash: &str) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(self.get(hash).map(|blob| Cow::Borrowed(blob.as_slice())))
    }
}

/// A sink without storage, for the [digest](RequestDigest) of a request.
struct NoBlobs;

impl BlobSink for NoBlobs {
    const TAKES_BYTES: bool = true;

    fn keep(&mut self, _: &str, _: Blob<'_>) -> Result<()> {
        Ok(())
    }
}

/// The SHA-256 of a request's stored form. Equal requests have the same digest if their fields have the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// Returns the digest of a request.
    pub(crate) fn of(request: &Value) -> Result<Self> {
        Ok(Self::of_stored(&pack(request, &mut NoBlobs)?))
    }

    /// Returns the digest of a request in its stored form. The hashes in it stand for its large parts.
    pub(crate) fn of_stored(request: &str) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&SHA256, request.as_bytes()).as_ref());
        Self(digest)
    }
}

/// Whether large lists are stored as chains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// In requests: the next request often begins with the same list.
    Chained,
    /// In answers: no later answer extends the same list, and a stream's list has thousands of items.
    Whole,
}

/// Serializes a request as JSON, and its large parts as blobs.
pub(crate) fn pack<S: BlobSink>(value: &Value, blobs: &mut S) -> Result<String> {
    let mut out = String::new();
    write(value, Lists::Chained, &mut out, blobs)?;
    Ok(out)
}

/// Serializes an answer as JSON, and its large texts as blobs.
pub(crate) fn pack_answer<S: BlobSink>(value: &Value, blobs: &mut S) -> Result<String> {
    let mut out = String::new();
    write(value, Lists::Whole, &mut out, blobs)?;
    Ok(out)
}

fn write<S: BlobSink>(value: &Value, lists: Lists, out: &mut String, blobs: &mut S) -> Result<()> {
    match value {
        Value::Str(text) => {
            if text.len() < LARGE {
                out.push_str(&json(text)?);
            } else {
                let hash = keep(Blob::Text(text), blobs)?;
                let _ = write!(out, r#"{{"$text":"{hash}"}}"#);
            }
        }
        Value::Bytes(bytes) if S::TAKES_BYTES && bytes.len() >= LARGE => {
            let hash = keep(Blob::Bytes(bytes), blobs)?;
            let _ = write!(out, r#"{{"$blob":"{hash}"}}"#);
        }
        Value::Bytes(bytes) => {
            let _ = write!(out, r#"{{"$bytes":"{}"}}"#, BASE64.encode(bytes));
        }
        Value::Num(number) if !number.is_finite() => {
            let _ = write!(out, r#"{{"$number":"{number}"}}"#);
        }
        Value::List(items) if lists == Lists::Whole => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, lists, out, blobs)?;
            }
            out.push(']');
        }
        Value::List(items) => {
            let items = items.iter().map(|item| pack(item, blobs)).collect::<Result<Vec<_>>>()?;
            if items.iter().map(|item| item.len() + 1).sum::<usize>() < LARGE {
                let _ = write!(out, "[{}]", items.join(","));
                return Ok(());
            }
            let mut last: Option<String> = None;
            for item in items {
                let link = match last {
                    Some(before) => format!(r#"{{"after":"{before}","item":{item}}}"#),
                    None => format!(r#"{{"item":{item}}}"#),
                };
                last = Some(keep(Blob::Link(&link), blobs)?);
            }
            let _ = write!(out, r#"{{"$list":"{}"}}"#, last.unwrap_or_default());
        }
        Value::Map(entries) => {
            let wrapped = entries.len() == 1 && entries.keys().all(|name| name.starts_with('$'));
            out.push_str(if wrapped { r#"{"$map":{"# } else { "{" });
            for (at, (name, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", json(name)?);
                write(value, lists, out, blobs)?;
            }
            out.push_str(if wrapped { "}}" } else { "}" });
        }
        other => out.push_str(&json(other)?),
    }
    Ok(())
}

pub(crate) fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("cannot be written as JSON: {error}")))
}

fn keep<S: BlobSink>(blob: Blob<'_>, blobs: &mut S) -> Result<String> {
    let hash = blob.hash();
    blobs.keep(&hash, blob)?;
    Ok(hash)
}

/// Reads a value from its stored form.
pub(crate) fn unpack<S: BlobSource>(json: &str, blobs: &S) -> Result<Value> {
    read(parse(json)?, blobs)
}

fn parse(json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))
}

pub(crate) fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Replay, format!("the journal is damaged: {why}"))
}

pub(crate) fn read<S: BlobSource>(value: Value, blobs: &S) -> Result<Value> {
    Ok(match value {
        Value::List(items) => {
            Value::List(items.into_iter().map(|item| read(item, blobs)).collect::<Result<_>>()?)
        }
        Value::Map(entries) => match mark(&entries) {
            Some(("$text", hash)) => Value::from(text(hash, blobs)?),
            Some(("$blob", hash)) => Value::Bytes(blob(hash, blobs)?.into_owned()),
            Some(("$bytes", text)) => {
                Value::Bytes(BASE64.decode(text).map_err(|error| damaged(&error.to_string()))?)
            }
            Some(("$number", text)) => {
                Value::Num(text.parse().map_err(|_| damaged(&format!("`{text}` is no number")))?)
            }
            Some(("$list", hash)) => Value::List(list(hash, blobs)?),
            _ => match entries.get("$map") {
                Some(Value::Map(inner)) if entries.len() == 1 => {
                    Value::Map(read_entries(inner.clone(), blobs)?)
                }
                _ => Value::Map(read_entries(entries, blobs)?),
            },
        },
        other => other,
    })
}

fn read_entries<S: BlobSource>(entries: Map, blobs: &S) -> Result<Map> {
    entries.into_iter().map(|(name, value)| Ok((name, read(value, blobs)?))).collect()
}

/// Returns the only entry of a map, if its value is text.
fn mark(entries: &Map) -> Option<(&str, &str)> {
    match entries.first() {
        Some((name, Value::Str(text))) if entries.len() == 1 => Some((name, text)),
        _ => None,
    }
}

fn blob<'a, S: BlobSource>(hash: &str, blobs: &'a S) -> Result<Cow<'a, [u8]>> {
    blobs.find(hash)?.ok_or_else(|| damaged(&format!("blob {hash} is missing")))
}

fn text<S: BlobSource>(hash: &str, blobs: &S) -> Result<String> {
    String::from_utf8(blob(hash, blobs)?.into_owned())
        .map_err(|_| damaged(&format!("blob {hash} is not UTF-8")))
}

fn list<S: BlobSource>(hash: &str, blobs: &S) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some(hash.to_owned());
    while let Some(hash) = next {
        let Value::Map(mut link) = parse(&text(&hash, blobs)?)? else {
            return Err(damaged("a link of a list is none"));
        };
        items.push(read(link.swap_remove("item").unwrap_or_default(), blobs)?);
        next = link.get("after").and_then(Value::as_str).map(str::to_owned);
        // A link cannot contain its own hash, but a damaged file may claim so.
        if !seen.insert(hash) {
            return Err(damaged("a list goes in circles"));
        }
    }
    items.reverse();
    Ok(items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl BlobSink for Blobs {
        const TAKES_BYTES: bool = true;

        fn keep(&mut self, hash: &str, blob: Blob<'_>) -> Result<()> {
            self.entry(hash.to_owned()).or_insert_with(|| blob.bytes().to_vec());
            Ok(())
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,20}", "\\$(text|list|map|blob)", "[a-c]{1030,1040}"];
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Value::from),
            text.clone().prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
            prop::collection::vec(any::<u8>(), 1020..1030).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                prop::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|entries| Value::Map(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_the_same(value in values()) {
            let mut blobs = Blobs::new();
            let asked = pack(&value, &mut blobs).unwrap();
            prop_assert!(asked.len() < 200_000);
            prop_assert_eq!(&unpack(&asked, &blobs).unwrap(), &value);
            let answered = pack_answer(&value, &mut blobs).unwrap();
            prop_assert_eq!(unpack(&answered, &blobs).unwrap(), value);
        }
    }

    #[test]
    fn a_request_has_the_digest_of_its_stored_form() {
        let mut blobs = Blobs::new();
        let request = |last: &str| Value::List(vec!["x".repeat(2_000).into(), last.into()]);
        let stored = pack(&request("a"), &mut blobs).unwrap();
        assert_eq!(RequestDigest::of(&request("a")).unwrap(), RequestDigest::of_stored(&stored));
        assert_ne!(RequestDigest::of(&request("b")).unwrap(), RequestDigest::of_stored(&stored));
    }

    #[test]
    fn a_list_that_grows_takes_one_more_part_each_time() {
        let mut sizes = Vec::new();
        for turns in [50_usize, 100, 200] {
            let mut blobs = Blobs::new();
            for turn in 1..=turns {
                let messages = (0..turn).map(|at| Value::from(format!("message {at} {}", "x".repeat(300))));
                pack(&Value::List(messages.collect()), &mut blobs).unwrap();
            }
            sizes.push(blobs.len());
        }
        // The first three lists are too small to be chained.
        assert_eq!(sizes, [50, 100, 200]);
    }

    #[test]
    fn a_damaged_journal_is_an_error_and_no_endless_loop() {
        let round = Blobs::from([("a".to_owned(), br#"{"after":"a","item":1}"#.to_vec())]);
        for (json, blobs) in [(r#"{"$list":"a"}"#, &round), (r#"{"$text":"b"}"#, &round), ("{", &round)] {
            assert_eq!(unpack(json, blobs).unwrap_err().kind(), ErrorKind::Replay, "{json}");
        }
    }
}
