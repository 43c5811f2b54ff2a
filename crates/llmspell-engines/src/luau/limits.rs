//! Holds a running script to its limits: the interrupt, and memory.

use std::cell::Cell;
use std::rc::Rc;

use llmspell_core::{Meter, Result};
use mlua::{Lua, VmState};

use super::errors::to_lua_error;
use super::host::Host;

/// Smaller allocations of the host are not asked about one by one.
const SMALL: usize = 64 * 1024;

/// Luau calls this at every call and every turn of a loop. Once the meter has tripped it never lets go again. When the
/// meter asks for it, the coroutine at work yields, without values, in the middle of what it does; not inside
/// metamethods, comparators and the like, where the answer has no effect.
pub(super) fn arm(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    lua.set_memory_limit(host.memory.limit)?;
    let host = Rc::clone(host);
    lua.set_interrupt(move |lua| {
        let state = if host.cx.meter().is_asked() { answer(lua, &host)? } else { VmState::Continue };
        host.memory.relieve(lua)?;
        Ok(state)
    });
    Ok(())
}

#[cold]
fn answer(lua: &Lua, host: &Host) -> mlua::Result<VmState> {
    let meter = host.cx.meter();
    if meter.must_check() {
        meter.check().map_err(|error| to_lua_error(host.end(lua, error)))?;
    }
    Ok(if meter.must_yield() { VmState::Yield } else { VmState::Continue })
}

/// Collects garbage before it counts against the limit: Luau itself never does when memory runs short.
pub(super) struct Memory {
    limit: usize,
    /// The bytes in use at which to collect next.
    threshold: Cell<usize>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        // The VM reads 0 as "no limit".
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self { limit, threshold: Cell::new(Self::first_threshold(limit)) }
    }

    fn first_threshold(limit: usize) -> usize {
        limit / 100 * 85
    }

    /// Collects when most of the limit is in use.
    fn relieve(&self, lua: &Lua) -> mlua::Result<()> {
        if lua.used_memory() < self.threshold.get() { Ok(()) } else { self.collect(lua) }
    }

    /// Collects everything, and backs off so that a script with much live data is not collected at every turn.
    #[cold]
    fn collect(&self, lua: &Lua) -> mlua::Result<()> {
        const STEP: usize = 256 * 1024;
        lua.gc_collect()?;
        let used = lua.used_memory();
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
        if lua.used_memory().saturating_add(bytes) > Self::first_threshold(self.limit) {
            // A collection that fails leaves the VM as it was; the question below still gets its answer.
            let _ = self.collect(lua);
        }
        meter.allow_memory(lua.used_memory().saturating_add(bytes) as u64)
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
