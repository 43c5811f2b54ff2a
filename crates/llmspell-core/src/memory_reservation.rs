//! Accounting of host memory that holds data of a spell.

use crate::context::Context;
use crate::error::Result;

/// A memory reservation: bytes that count against the run's memory limit until this guard is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    cx: Context,
    bytes: u64,
}

impl MemoryReservation {
    pub(crate) fn new(cx: Context, bytes: u64) -> Result<Self> {
        cx.meter().hold_memory(bytes)?;
        Ok(Self { cx, bytes })
    }

    /// Reserves more bytes.
    ///
    /// # Errors
    /// Returns an error when the `memory` limit is reached.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.cx.meter().hold_memory(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Creates another reservation for `count` copies of the same bytes.
    ///
    /// # Errors
    /// Returns an error when the `memory` limit is reached.
    pub fn copies(&self, count: u64) -> Result<Self> {
        Self::new(self.cx.clone(), self.bytes.saturating_mul(count))
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.cx.meter().release_memory(self.bytes);
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
