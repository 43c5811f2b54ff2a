//! What keeps a schema from costing more than it says.

use std::collections::HashMap;

use llmspell_core::{Error, Result};
use serde_json::Value as Json;

use super::keywords::{About, REFERENCES, parts, resolve};
use super::mismatch::{Misfit, Path, shown};

/// The most values, names and texts that a schema is made of, in bytes as JSON would have them.
const MAX_SIZE: usize = 256 * 1024;

/// How deep the schemas of a schema, and the values that are checked, may be.
const MAX_DEPTH: usize = 64;

/// How many schemas may lead from one to the next without going into the value: each is a frame on the stack at each
/// level of the value.
const MAX_CHAIN: usize = 32;

/// Refuses what nobody would write, before anything goes through it.
pub(super) fn check_size(schema: &Json) -> Result<()> {
    // A schema nests twice as deep as the value that it describes: `properties`, and a schema in it.
    if depth(schema, 2 * MAX_DEPTH) > 2 * MAX_DEPTH {
        return Err(Error::argument(format!("the schema is deeper than {MAX_DEPTH} levels")));
    }
    if size(schema) > MAX_SIZE {
        return Err(Error::argument(format!("the schema is larger than {} KiB", MAX_SIZE / 1024)));
    }
    Ok(())
}

/// Refuses a value that is deeper than any schema.
pub(super) fn check_depth(value: &Json) -> Result<(), Misfit> {
    if depth(value, MAX_DEPTH) <= MAX_DEPTH {
        return Ok(());
    }
    let expected = format!("a value of at most {MAX_DEPTH} levels");
    Err(Misfit::of_all(expected, shown(value)))
}

/// The levels of a value, as far as they are asked for.
fn depth(value: &Json, most: usize) -> usize {
    let deepest = |inner: &mut dyn Iterator<Item = &Json>| match most.checked_sub(1) {
        Some(most) => inner.map(|value| depth(value, most)).max().unwrap_or(0),
        None => 0,
    };
    match value {
        Json::Array(items) => 1 + deepest(&mut items.iter()),
        Json::Object(fields) => 1 + deepest(&mut fields.values()),
        _ => 0,
    }
}

/// About the bytes of a value as JSON.
pub(crate) fn size(value: &Json) -> usize {
    match value {
        Json::String(text) => 2 + text.len(),
        Json::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Json::Object(fields) => {
            2 + fields.iter().map(|(name, value)| 4 + name.len() + size(value)).sum::<usize>()
        }
        _ => 4,
    }
}

/// Refuses references out of the schema, and those that lead back without going into the value.
pub(super) fn check_structure(root: &Json) -> Result<()> {
    let mut path = Path::root();
    check_references(root, &mut path)?;
    let mut chains = Chains { root, lengths: HashMap::new() };
    chains.check_all(root)
}

fn check_references(schema: &Json, path: &mut Path) -> Result<()> {
    for keyword in REFERENCES {
        let Some(reference) = schema.get(keyword) else { continue };
        if !reference.as_str().is_some_and(|reference| reference.starts_with('#')) {
            return Err(path.within(keyword, |path| {
                let expected = "a reference within the schema (`#/…`; nothing is fetched)";
                Error::argument(format!(
                    "the schema at {path}: expected {expected}, got {}",
                    shown(reference)
                ))
            }));
        }
    }
    parts(schema).try_for_each(|part| {
        path.within(part.keyword, |path| match part.key {
            Some(key) => path.within(&*key, |path| check_references(part.schema, path)),
            None => check_references(part.schema, path),
        })
    })
}

/// How far each schema leads without going into the value.
struct Chains<'a> {
    root: &'a Json,
    /// By the schema's address; none while it is under way.
    lengths: HashMap<*const Json, Option<usize>>,
}

impl<'a> Chains<'a> {
    fn check_all(&mut self, schema: &'a Json) -> Result<()> {
        if self.length(schema)? > MAX_CHAIN {
            let message =
                format!("the schema: more than {MAX_CHAIN} schemas in a row say something of the same value");
            return Err(Error::argument(message));
        }
        parts(schema).try_for_each(|part| self.check_all(part.schema))
    }

    fn length(&mut self, schema: &'a Json) -> Result<usize> {
        let here = std::ptr::from_ref(schema);
        match self.lengths.get(&here) {
            Some(Some(length)) => return Ok(*length),
            Some(None) => return Err(Error::argument("the schema: a `$ref` leads back to itself")),
            None => {}
        }
        self.lengths.insert(here, None);
        let root = self.root;
        let referred = REFERENCES.iter().filter_map(|keyword| resolve(root, schema.get(keyword)?.as_str()?));
        let same = parts(schema).filter(|part| part.about == About::Same).map(|part| part.schema);
        let mut longest = 0;
        for next in referred.chain(same) {
            longest = longest.max(self.length(next)?);
            if longest > MAX_CHAIN {
                break;
            }
        }
        self.lengths.insert(here, Some(1 + longest));
        Ok(1 + longest)
    }
}
