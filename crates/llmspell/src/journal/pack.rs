//! How values are written in a journal: as JSON, where what is large is written once.
//!
//! A text of a kilobyte or more is replaced by its hash, and so is a list in what is asked. A list is hashed as a chain,
//! each link of an item and the hash of what is before it. So the messages of a conversation, which every call sends anew and longer,
//! take one link a call.
//!
//! ```json
//! {"$text": "<hash>"}  {"$list": "<hash>"}  {"$bytes": "<base64>"}  {"$number": "NaN"}
//! ```
//! A map that looks like one of these is wrapped: `{"$map": {…}}`.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use llmspell_core::{Error, ErrorKind, Map, Result, Value};
use ring::digest::{Context, SHA256};

/// From this many bytes on, something is large.
const LARGE: usize = 1024;

/// What large parts are kept in, by their hashes.
pub(super) trait Parts {
    /// Whether this part is kept already; from now on, it is.
    fn has(&mut self, hash: &str) -> bool;

    /// Keeps a part, which is JSON.
    fn keep(&mut self, hash: String, part: String);
}

/// Whether large lists are written as chains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// What is asked: the next request may well begin with the same list.
    Chained,
    /// What is answered is never the same list and more; a stream's has thousands of items.
    Whole,
}

/// Writes a request as JSON, and its large parts into `parts`, each after those that it names.
pub(super) fn pack(value: &Value, parts: &mut impl Parts) -> Result<String> {
    let mut out = String::new();
    write(value, Lists::Chained, &mut out, parts)?;
    Ok(out)
}

/// Writes what a request came to in the same way.
pub(super) fn pack_answer(value: &Value, parts: &mut impl Parts) -> Result<String> {
    let mut out = String::new();
    write(value, Lists::Whole, &mut out, parts)?;
    Ok(out)
}

fn write(value: &Value, lists: Lists, out: &mut String, parts: &mut impl Parts) -> Result<()> {
    match value {
        Value::Str(text) => {
            if text.len() < LARGE {
                out.push_str(&json(text)?);
            } else {
                let hash = keep("text", text, parts, || json(text))?;
                let _ = write!(out, r#"{{"$text":"{hash}"}}"#);
            }
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
                write(item, lists, out, parts)?;
            }
            out.push(']');
        }
        Value::List(items) => {
            let items = items.iter().map(|item| pack(item, parts)).collect::<Result<Vec<_>>>()?;
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
                last = Some(keep("list", &link, parts, || Ok(link.clone()))?);
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
                write(value, lists, out, parts)?;
            }
            out.push_str(if wrapped { "}}" } else { "}" });
        }
        other => out.push_str(&json(other)?),
    }
    Ok(())
}

pub(super) fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("cannot be written down: {error}")))
}

/// Keeps a part of this kind, whose JSON is made only when it is new.
fn keep(
    kind: &str,
    part: &str,
    parts: &mut impl Parts,
    json: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let mut context = Context::new(&SHA256);
    context.update(kind.as_bytes());
    context.update(part.as_bytes());
    // Half of it tells apart whatever one journal can hold.
    let hash: String = context.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if !parts.has(&hash) {
        parts.keep(hash.clone(), json()?);
    }
    Ok(hash)
}

/// Reads a value back.
pub(super) fn unpack(json: &str, parts: &HashMap<String, String>) -> Result<Value> {
    read(parse(json)?, parts)
}

fn parse(json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))
}

pub(super) fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Replay, format!("the journal is damaged: {why}"))
}

pub(super) fn read(value: Value, parts: &HashMap<String, String>) -> Result<Value> {
    Ok(match value {
        Value::List(items) => {
            Value::List(items.into_iter().map(|item| read(item, parts)).collect::<Result<_>>()?)
        }
        Value::Map(entries) => match mark(&entries) {
            Some(("$text", hash)) => parse(part(hash, parts)?)?,
            Some(("$bytes", text)) => {
                Value::Bytes(BASE64.decode(text).map_err(|error| damaged(&error.to_string()))?)
            }
            Some(("$number", text)) => {
                Value::Num(text.parse().map_err(|_| damaged(&format!("`{text}` is no number")))?)
            }
            Some(("$list", hash)) => Value::List(list(hash, parts)?),
            _ => match entries.get("$map") {
                Some(Value::Map(inner)) if entries.len() == 1 => {
                    Value::Map(read_entries(inner.clone(), parts)?)
                }
                _ => Value::Map(read_entries(entries, parts)?),
            },
        },
        other => other,
    })
}

fn read_entries(entries: Map, parts: &HashMap<String, String>) -> Result<Map> {
    entries.into_iter().map(|(name, value)| Ok((name, read(value, parts)?))).collect()
}

/// The only entry of a map, when its value is text.
fn mark(entries: &Map) -> Option<(&str, &str)> {
    match entries.first() {
        Some((name, Value::Str(text))) if entries.len() == 1 => Some((name, text)),
        _ => None,
    }
}

fn part<'a>(hash: &str, parts: &'a HashMap<String, String>) -> Result<&'a str> {
    parts.get(hash).map(String::as_str).ok_or_else(|| damaged(&format!("part {hash} is missing")))
}

fn list(hash: &str, parts: &HashMap<String, String>) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut next = Some(hash.to_owned());
    while let Some(hash) = next {
        // A hash cannot be that of a link which names it, but a file can say anything.
        if items.len() > parts.len() {
            return Err(damaged("a list goes in circles"));
        }
        let Value::Map(mut link) = parse(part(&hash, parts)?)? else {
            return Err(damaged("a link of a list is none"));
        };
        items.push(read(link.swap_remove("item").unwrap_or_default(), parts)?);
        next = link.get("after").and_then(Value::as_str).map(str::to_owned);
    }
    items.reverse();
    Ok(items)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Parts for HashMap<String, String> {
        fn has(&mut self, hash: &str) -> bool {
            self.contains_key(hash)
        }

        fn keep(&mut self, hash: String, part: String) {
            self.insert(hash, part);
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,20}", "\\$(text|list|map)", "[a-c]{1030,1040}"];
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Value::from),
            text.clone().prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
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
            let mut parts = HashMap::new();
            let asked = pack(&value, &mut parts).unwrap();
            prop_assert!(asked.len() < 200_000);
            prop_assert_eq!(&unpack(&asked, &parts).unwrap(), &value);
            let answered = pack_answer(&value, &mut parts).unwrap();
            prop_assert_eq!(unpack(&answered, &parts).unwrap(), value);
        }
    }

    #[test]
    fn a_list_that_grows_takes_one_more_part_each_time() {
        let mut sizes = Vec::new();
        for turns in [50_usize, 100, 200] {
            let mut parts = HashMap::new();
            for turn in 1..=turns {
                let messages = (0..turn).map(|at| Value::from(format!("message {at} {}", "x".repeat(300))));
                pack(&Value::List(messages.collect()), &mut parts).unwrap();
            }
            sizes.push(parts.len());
        }
        // The first three lists are small enough to stand as they are.
        assert_eq!(sizes, [50, 100, 200]);
    }

    #[test]
    fn a_damaged_journal_is_an_error_and_no_endless_loop() {
        let round = HashMap::from([("a".to_owned(), r#"{"after":"a","item":1}"#.to_owned())]);
        for (json, parts) in [(r#"{"$list":"a"}"#, &round), (r#"{"$text":"b"}"#, &round), ("{", &round)] {
            assert_eq!(unpack(json, parts).unwrap_err().kind(), ErrorKind::Replay, "{json}");
        }
    }
}
