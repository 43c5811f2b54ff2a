//! Equality of JSON values as JSON Schema defines it: `1` equals `1.0`, and the order of fields does not matter.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use serde_json::Value as Json;

use super::number::{Exact, exact};

pub(super) fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => exact(a) == exact(b),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other)))
        }
        (a, b) => a == b,
    }
}

/// A set of JSON values, which makes `enum` and `uniqueItems` linear. Its hash has a random key, so that nobody can
/// craft colliding values.
pub(super) struct JsonSet<V> {
    hasher: RandomState,
    buckets: HashMap<u64, Vec<V>>,
}

impl<V: Borrow<Json>> JsonSet<V> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), buckets: HashMap::new() }
    }

    pub(super) fn contains(&self, value: &Json) -> bool {
        let bucket = self.buckets.get(&self.hash(value));
        bucket.is_some_and(|bucket| bucket.iter().any(|other| equal(other.borrow(), value)))
    }

    /// Adds a value. Returns whether it is new.
    pub(super) fn insert(&mut self, value: V) -> bool {
        let bucket = self.buckets.entry(self.hash(value.borrow())).or_default();
        let is_new = !bucket.iter().any(|other| equal(other.borrow(), value.borrow()));
        if is_new {
            bucket.push(value);
        }
        is_new
    }

    fn hash(&self, value: &Json) -> u64 {
        let mut state = self.hasher.build_hasher();
        match value {
            Json::Null => 0.hash(&mut state),
            Json::Bool(truth) => (1, truth).hash(&mut state),
            Json::Number(number) => match exact(number) {
                Exact::Int(int) => (2, int).hash(&mut state),
                Exact::Float(float) => (3, float.to_bits()).hash(&mut state),
            },
            Json::String(text) => (4, text).hash(&mut state),
            Json::Array(items) => {
                (5, items.len()).hash(&mut state);
                items.iter().for_each(|item| self.hash(item).hash(&mut state));
            }
            Json::Object(fields) => {
                // Addition is commutative, so the order of fields does not change the hash.
                let fields =
                    fields.iter().map(|(name, value)| self.hasher.hash_one((name, self.hash(value))));
                (6, fields.fold(0, u64::wrapping_add)).hash(&mut state);
            }
        }
        state.finish()
    }
}
