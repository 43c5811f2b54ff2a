//! Holds a running script to its limits: the interrupt, and memory.

use std::cell::Cell;
use std::rc::Rc;

use llmspell_core::{Meter, Result};
use mlua::{Lua, VmState};

use super::errors::to_lua_error;
use super::host::Host;

/// Smaller allocations of the host are not asked about one by one.
const SMALL: usize = 64 * 1024;

/// Luau calls this at every call and every turn of a loop. When the meter asks for it, the coroutine at work yields,
/// without values, in the middle of what it does; not inside metamethods, comparators and the like, where the answer has
/// no effect. Once the meter has tripped it never lets go again: the coroutine yields for good, which unwinds nothing,
/// and where it cannot, each further step of it fails.
pub(super) fn arm(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
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

#[cold]
fn answer(lua: &Lua, host: &Host) -> mlua::Result<VmState> {
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

/// Collects garbage before it counts against the limit: Luau itself never does when memory runs short.
pub(super) struct Memory {
    limit: usize,
    /// The bytes in use at which to collect next.
    threshold: Cell<usize>,
    /// Bytes that the host held for the script when it was last asked.
    held: Cell<usize>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        // The VM reads 0 as "no limit".
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self { limit, threshold: Cell::new(Self::first_threshold(limit)), held: Cell::new(0) }
    }

    fn first_threshold(limit: usize) -> usize {
        limit / 100 * 85
    }

    /// What the VM uses and the host holds for the script.
    fn used(&self, lua: &Lua) -> usize {
        lua.used_memory().saturating_add(self.held.get())
    }

    /// Whether most of the limit is in use.
    fn is_short(&self, lua: &Lua) -> bool {
        self.used(lua) >= self.threshold.get()
    }

    /// Collects, which may also free what the host holds.
    #[cold]
    fn relieve(&self, lua: &Lua, meter: &Meter) -> Result<()> {
        // A collection that fails leaves the VM as it was; the question below still gets its answer.
        let _ = self.collect(lua, meter);
        meter.allow_memory(0)
    }

    /// Tells the meter what the VM uses, before the host does something for the script.
    pub(super) fn note(&self, lua: &Lua, meter: &Meter) -> Result<()> {
        self.held.set(usize::try_from(meter.held_memory()).unwrap_or(usize::MAX));
        if self.is_short(lua) {
            return self.relieve(lua, meter);
        }
        meter.note_vm_memory(lua.used_memory() as u64);
        Ok(())
    }

    /// Collects everything, and backs off so that a script with much live data is not collected at every turn.
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

    /// Says whether this many bytes more may be taken, inside the VM or outside for it, and makes room for them.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub(super) fn allow(&self, lua: &Lua, meter: &Meter, bytes: usize) -> Result<()> {
        if bytes < SMALL {
            return Ok(());
        }
        meter.note_vm_memory(lua.used_memory() as u64);
        if self.used(lua).saturating_add(bytes) > Self::first_threshold(self.limit) {
            // A collection that fails leaves the VM as it was; the question below still gets its answer.
            let _ = self.collect(lua, meter);
        }
        meter.allow_memory(bytes as u64)
    }

    /// Does something whose allocations were [allowed](Self::allow) already. Without its limit the VM needs no
    /// protected call around each of them, which would cost more than they do.
    pub(super) fn unchecked<T>(&self, lua: &Lua, work: impl FnOnce() -> T) -> mlua::Result<T> {
        struct Checked<'a>(&'a Lua, usize);
        impl Drop for Checked<'_> {
            fn drop(&mut self) {
                // It worked a moment ago, and fails only where there is no allocator to limit.
                let _ = self.0.set_memory_limit(self.1);
            }
        }
        let _checked = Checked(lua, lua.set_memory_limit(0)?);
        Ok(work())
    }
}
