//! What a check would take, found out before it is made: it cannot be stopped, and schemas whose alternatives refer to each
//! other can have it look at one value more often than there are atoms.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::keywords::{About, REFERENCES, parts, resolve};
use super::mismatch::{Misfit, shown};

/// The most looks of a schema at a value.
const MAX_WORK: u64 = 1_000_000;

/// The most pairs of a schema and a value for which that is found out.
const MAX_PAIRS: usize = 500_000;

/// The most steps from one pair to the next: more than a schema and a value that were let in can have.
const MAX_WAY: usize = 4_096;

/// Up to so many looks, all misfits are gathered to find the first of them.
pub(super) const FEW: u64 = 50_000;

/// Whether more than one schema may look at the same value.
pub(super) fn branches(schema: &Json) -> bool {
    refers(schema) || parts(schema).any(|part| part.about == About::Same || branches(part.schema))
}

fn refers(schema: &Json) -> bool {
    REFERENCES.iter().any(|keyword| schema.get(keyword).is_some())
}

/// How many looks a check would take.
///
/// # Errors
/// When they are too many, which they can only be where the schema branches.
pub(super) fn of_check(schema: &Json, value: &Json, branches: bool) -> Result<u64, Misfit> {
    if !branches {
        return Ok(values(value));
    }
    let mut counting = Counting { root: schema, known: HashMap::new() };
    match counting.count(schema, value).filter(|work| *work <= MAX_WORK) {
        Some(work) => Ok(work),
        None => Err(Misfit::of_all("a value that takes less work to check".to_owned(), shown(value))),
    }
}

/// How many values a value is made of.
fn values(value: &Json) -> u64 {
    match value {
        Json::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Json::Object(fields) => 1 + fields.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

struct Counting<'a> {
    root: &'a Json,
    /// By the addresses of the schema and the value.
    known: HashMap<(*const Json, *const Json), u64>,
}

/// A pair on the way, and what is known of it so far.
struct Step<'a> {
    schema: &'a Json,
    value: &'a Json,
    looks: Vec<(&'a Json, &'a Json)>,
    work: u64,
}

impl<'a> Counting<'a> {
    /// `None` where there is no end to be seen. It keeps its own stack, as the thread's is for the check.
    fn count(&mut self, schema: &'a Json, value: &'a Json) -> Option<u64> {
        let mut way = vec![self.step(schema, value)];
        loop {
            let here = way.last_mut()?;
            match here.looks.pop() {
                Some((schema, value)) if is_leaf(schema) || self.known.contains_key(&pair(schema, value)) => {
                    let work = self.known.get(&pair(schema, value)).copied().unwrap_or(1);
                    here.work = here.work.saturating_add(work);
                }
                Some(_) if way.len() > MAX_WAY || self.known.len() >= MAX_PAIRS => return None,
                Some((schema, value)) => {
                    let step = self.step(schema, value);
                    way.push(step);
                }
                None => {
                    let Step { schema, value, work, .. } = way.pop()?;
                    self.known.insert(pair(schema, value), work);
                    match way.last_mut() {
                        Some(outer) => outer.work = outer.work.saturating_add(work),
                        None => return Some(work),
                    }
                }
            }
        }
    }

    /// What is looked at from here: this value by other schemas, and the values in it.
    fn step(&self, schema: &'a Json, value: &'a Json) -> Step<'a> {
        let referred =
            REFERENCES.iter().filter_map(|keyword| resolve(self.root, schema.get(keyword)?.as_str()?));
        let mut looks: Vec<_> = referred.map(|schema| (schema, value)).collect();
        for part in parts(schema) {
            let inner = |value| (part.schema, value);
            match (part.about, part.keyword, value) {
                (About::Nothing, ..) => {}
                (About::Same, ..) => looks.push((part.schema, value)),
                (About::Inner, "properties", value) => {
                    looks.extend(part.key.as_ref().and_then(|name| value.get(&**name)).map(inner));
                }
                (About::Inner, "prefixItems", value) => {
                    let index = part.key.as_ref().and_then(|key| key.parse::<usize>().ok());
                    looks.extend(index.and_then(|index| value.get(index)).map(inner));
                }
                (About::Inner, _, Json::Array(items)) => looks.extend(items.iter().map(inner)),
                (About::Inner, _, Json::Object(fields)) => looks.extend(fields.values().map(inner)),
                (About::Inner, ..) => {}
            }
        }
        Step { schema, value, looks, work: 1 }
    }
}

fn pair(schema: &Json, value: &Json) -> (*const Json, *const Json) {
    (std::ptr::from_ref(schema), std::ptr::from_ref(value))
}

fn is_leaf(schema: &Json) -> bool {
    !refers(schema) && parts(schema).next().is_none()
}
