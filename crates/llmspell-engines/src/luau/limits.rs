//! Enforces the limits of a running script: the interrupt and the memory limit.
//!
//! The interrupt reads one atomic of the run's meter. When the watchdog has set it, the script's thread checks time and
//! cancellation itself, or lets the script give way to its neighbours. `ARCHITECTURE.md` describes the watchdog.
//!
//! The memory limit covers the VM and what the host holds for the script. mlua refuses allocations past the limit, but
//! Luau does not collect garbage before it fails. [`LuauMemoryLimit`] therefore collects early, at 85 % of the limit.

use std::cell::Cell;
use std::rc::Rc;

use llmspell_core::{Meter, Result};
use mlua::{Lua, VmState};

use super::errors::to_lua_error;
use super::vm_state::LuauVmState;

/// The smallest allocation of the host that is checked against the limit by itself, in bytes.
const SMALL: usize = 64 * 1024;

/// Sets the memory limit and the interrupt.
///
/// Luau calls the interrupt at every function call and every loop iteration. If the meter asks for it, the running
/// coroutine yields without values in the middle of its work. Inside metamethods, comparators and the like it cannot
/// yield, and the request has no effect. Once the meter has tripped, the coroutine yields for good, which unwinds
/// nothing. Where it cannot yield, every further interrupt raises the error.
pub(super) fn arm(lua: &Lua, host: &Rc<LuauVmState>) -> mlua::Result<()> {
    lua.set_memory_limit(host.run().memory.limit)?;
    let host = Rc::clone(host);
    lua.set_interrupt(move |lua| {
        let run = host.run();
        let state = if run.cx.meter().is_asked() { answer(lua, &host)? } else { VmState::Continue };
        if run.memory.is_short(lua) {
            run.memory.relieve(lua, run.cx.meter()).map_err(|error| to_lua_error(host.end(lua, error)))?;
        }
        Ok(state)
    });
    Ok(())
}

/// Checks the meter, and returns whether the coroutine continues or yields.
#[cold]
fn answer(lua: &Lua, host: &LuauVmState) -> mlua::Result<VmState> {
    let run = host.run();
    let meter = run.cx.meter();
    if meter.must_check()
        && let Err(error) = meter.check()
    {
        let yielded = host.has_ended();
        let error = host.end(lua, error);
        return if yielded { Err(to_lua_error(error)) } else { Ok(VmState::Yield) };
    }
    Ok(if meter.must_yield() { VmState::Yield } else { VmState::Continue })
}

/// The memory limit of a run. Collects garbage when memory runs short, which Luau does not do by itself.
pub(super) struct LuauMemoryLimit {
    limit: usize,
    /// The bytes in use at which the next collection is due.
    threshold: Cell<usize>,
    /// The bytes that the host held for the script when the meter was last read.
    held: Cell<usize>,
}

impl LuauMemoryLimit {
    pub(super) fn new(limit: u64) -> Self {
        // The VM reads 0 as "no limit".
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self { limit, threshold: Cell::new(Self::first_threshold(limit)), held: Cell::new(0) }
    }

    fn first_threshold(limit: usize) -> usize {
        limit / 100 * 85
    }

    /// Returns the bytes that the VM uses and the host holds for the script.
    fn used(&self, lua: &Lua) -> usize {
        lua.used_memory().saturating_add(self.held.get())
    }

    /// Returns whether a collection is due.
    fn is_short(&self, lua: &Lua) -> bool {
        self.used(lua) >= self.threshold.get()
    }

    /// Collects garbage and then checks the limit. Collecting userdata also frees memory that the host holds.
    #[cold]
    fn relieve(&self, lua: &Lua, meter: &Meter) -> Result<()> {
        // A failed collection changes nothing, and the check below still counts.
        let _ = self.collect(lua, meter);
        meter.allow_memory(0)
    }

    /// Reports the VM's memory to the meter before a host call. Collects garbage when memory is short.
    pub(super) fn note(&self, lua: &Lua, meter: &Meter) -> Result<()> {
        self.held.set(usize::try_from(meter.held_memory()).unwrap_or(usize::MAX));
        if self.is_short(lua) {
            return self.relieve(lua, meter);
        }
        meter.note_vm_memory(lua.used_memory() as u64);
        Ok(())
    }

    /// Runs a full collection. The next one is due when half of the remaining memory is used, so that a script with
    /// much live data is not collected at every interrupt.
    fn collect(&self, lua: &Lua, meter: &Meter) -> mlua::Result<()> {
        const STEP: usize = 256 * 1024;
        let collected = lua.gc_collect();
        self.held.set(usize::try_from(meter.held_memory()).unwrap_or(usize::MAX));
        meter.note_vm_memory(lua.used_memory() as u64);
        collected?;
        let used = self.used(lua);
        let later = used + (self.limit.saturating_sub(used) / 2).max(STEP);
        self.threshold.set(later.max(Self::first_threshold(self.limit)));
        Ok(())
    }

    /// Checks that the script may use `bytes` more, in the VM or in the host. Collects garbage first if they would not
    /// fit. Ignores fewer than 64 KiB.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub(super) fn allow(&self, lua: &Lua, meter: &Meter, bytes: usize) -> Result<()> {
        if bytes < SMALL {
            return Ok(());
        }
        meter.note_vm_memory(lua.used_memory() as u64);
        if self.used(lua).saturating_add(bytes) > Self::first_threshold(self.limit) {
            // A failed collection changes nothing, and the check below still counts.
            let _ = self.collect(lua, meter);
        }
        meter.allow_memory(bytes as u64)
    }

    /// Runs `work` without the VM's own limit. Its allocations must have been [allowed](Self::allow) before.
    ///
    /// While a limit is set, mlua wraps each allocation in a protected call, which costs more than the allocation.
    pub(super) fn unchecked<T>(&self, lua: &Lua, work: impl FnOnce() -> T) -> mlua::Result<T> {
        struct RestoreVmLimit<'a>(&'a Lua, usize);
        impl Drop for RestoreVmLimit<'_> {
            fn drop(&mut self) {
                // This fails only without mlua's allocator, and then the call below has already failed.
                let _ = self.0.set_memory_limit(self.1);
            }
        }
        let _checked = RestoreVmLimit(lua, lua.set_memory_limit(0)?);
        Ok(work())
    }
}
