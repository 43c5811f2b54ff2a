//! Accounting of host memory that holds data of a spell.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::meter::Meter;

/// A memory reservation: bytes that count against the run's memory limit until this guard is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    meter: Arc<Meter>,
    bytes: u64,
}

impl MemoryReservation {
    pub(crate) fn new(meter: &Arc<Meter>, bytes: u64) -> Result<Self> {
        meter.hold_memory(bytes)?;
        Ok(Self { meter: Arc::clone(meter), bytes })
    }

    /// Reserves more bytes.
    ///
    /// # Errors
    /// Returns an error when the `memory` limit is reached.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.meter.hold_memory(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Creates another reservation for `count` copies of the same bytes.
    ///
    /// # Errors
    /// Returns an error when the `memory` limit is reached.
    pub fn copies(&self, count: u64) -> Result<Self> {
        Self::new(&self.meter, self.bytes.saturating_mul(count))
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.meter.release_memory(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Context, Limits};

    #[test]
    fn what_is_held_and_what_the_vm_uses_count_together() {
        let cx = Context::builder().limits(Limits { memory: 100, ..Limits::default() }).build();
        cx.meter().note_vm_memory(40);
        let mut held = cx.hold(15).unwrap();
        drop(held.copies(3).unwrap());
        held.grow(25).unwrap();
        cx.meter().allow_memory(20).unwrap();
        assert_eq!(cx.hold(21).unwrap_err().kind().as_str(), "limit.memory");
        drop(held);
        assert_eq!(cx.meter().held_memory(), 0);
    }
}

/// Memory that the host takes from the run's `memory` limit before it allocates. It is returned when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    meter: Arc<Meter>,
    held: Arc<Mutex<Vec<MemoryReservation>>>,
}

impl MemoryBudget {
    pub(crate) fn new(meter: &Arc<Meter>) -> Self {
        Self { meter: Arc::clone(meter), held: Arc::default() }
    }

    /// Takes this many bytes.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub fn take(&self, bytes: u64) -> Result<()> {
        let held = MemoryReservation::new(&self.meter, bytes)?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        Ok(())
    }
}
