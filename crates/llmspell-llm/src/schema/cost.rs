//! A limit on the work of one validation.
//!
//! Schemas and values come from scripts and models, and a validation cannot be interrupted. A schema whose alternatives
//! refer to each other can apply exponentially many subschemas to one value. Therefore each application costs steps,
//! and their number is limited.

use serde_json::Value as Json;

use super::bounds::size;

/// The number of steps that every validation may take.
const MIN_STEPS: u64 = 1_000_000;

/// The number of steps per byte of a large value. It suffices for several subschemas and a pattern at each place.
const STEPS_PER_BYTE: u64 = 2;

/// The number of bytes that are compared or hashed per step.
const BYTES_PER_STEP: u64 = 64;

/// The validation exceeds its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

/// The remaining steps of a validation. One step is about the work of applying one subschema without children.
#[derive(Debug)]
pub(super) struct StepBudget {
    left: u64,
}

impl StepBudget {
    pub(super) fn for_value(value: &Json) -> Self {
        let bytes = u64::try_from(size(value)).unwrap_or(u64::MAX);
        Self { left: MIN_STEPS.max(bytes.saturating_mul(STEPS_PER_BYTE)) }
    }

    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }

    /// Pays for reading this many bytes once.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.spend(u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_STEP)
    }
}
