//! Enforces the limits of a running script: the interrupt and the memory limit.
//!
//! QuickJS calls the interrupt every ten thousand steps, in loops, calls and regular expressions. The interrupt can
//! only end a script; QuickJS cannot pause one and resume it later. A script that should give way to its neighbours
//! therefore does so between jobs only.
//!
//! # Memory
//!
//! The memory that the VM uses can be read only while no script runs, so it is checked between jobs. While a script
//! runs, the VM's own limit applies, but a script can catch its error. Three measures make the limit hold:
//!
//! - The VM collects garbage by itself only when the limit is reached. A **canary**, an object that nothing refers to,
//!   is freed by that collection, and its destructor trips the meter.
//! - The session collects earlier: between jobs, and now and then when the script calls the host. It disarms the canary
//!   while it does and plants a new one.
//! - The VM's hard limit is one eighth and 4 MiB above the memory limit. It leaves room for the steps until the
//!   interrupt ends the script. A single allocation beyond that fails, and the prelude trips the meter when the error
//!   is made.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use llmspell_core::{Limit, Result};
use rquickjs::{Ctx, Function, Runtime};

use super::vm_state::JsVmState;

/// The smallest allocation of the host that is checked against the limit by itself, in bytes.
const SMALL: usize = 64 * 1024;

/// The native stack that a script may use, in bytes. Worker threads have 8 MiB.
const STACK: usize = 1024 * 1024;

/// The bytes in use below which the session does not collect.
const FEW: u64 = 8 * 1024 * 1024;

/// The bytes beyond nine eighths of the limit at which allocations fail.
const MARGIN: usize = 4 * 1024 * 1024;

/// A collection may be due at every `CALLS`-th host call.
const CALLS: u32 = 64;

/// Sets the interrupt and the limits of stack and memory. Once the meter has tripped, every interrupt fails with an
/// error that no script can catch.
pub(super) fn arm(runtime: &Runtime, host: &JsVmState) {
    let cx = host.cx.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || {
        let meter = cx.meter();
        meter.is_asked() && meter.must_check() && meter.check().is_err()
    })));
    runtime.set_max_stack_size(STACK);
    // The canary trips the meter at the limit itself. The rest is room for the steps until the next interrupt.
    let limit = host.memory.limit;
    runtime.set_memory_limit(limit.saturating_add(limit / 8).saturating_add(MARGIN));
    host.memory.set_threshold(runtime, host);
}

/// Trips the meter when the VM frees it, unless the session collects or is being dropped.
struct Canary(Rc<JsVmState>);

impl Drop for Canary {
    fn drop(&mut self) {
        if !self.0.memory.collecting.get() && !self.0.is_over() {
            self.0.cx.meter().trip(Limit::Memory);
        }
    }
}

/// The memory limit of a session, and when memory was last read or collected.
pub(super) struct JsMemoryLimit {
    limit: usize,
    /// Whether the session collects right now, and not the VM by itself.
    collecting: Cell<bool>,
    /// The bytes in use at which the session collects next.
    next: Cell<u64>,
    /// When memory was last read or collected, and how long that took.
    last: RefCell<(Instant, Duration)>,
    /// The number of host calls so far.
    calls: Cell<u32>,
}

impl JsMemoryLimit {
    pub(super) fn new(limit: u64) -> Self {
        // The VM reads 0 as "no limit".
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self {
            limit,
            collecting: Cell::new(false),
            next: Cell::new(FEW.min(limit as u64 / 4)),
            last: RefCell::new((Instant::now(), Duration::ZERO)),
            calls: Cell::new(0),
        }
    }

    /// Has the VM collect by itself when it uses all of the limit that the host does not hold.
    fn set_threshold(&self, runtime: &Runtime, host: &JsVmState) {
        let held = usize::try_from(host.cx.meter().held_memory()).unwrap_or(usize::MAX);
        runtime.set_gc_threshold(self.limit.saturating_sub(held));
    }

    /// Checks memory while no script runs: reports the VM's memory to the meter, and collects if it has grown.
    ///
    /// Reading the memory walks the whole heap, so it is done only when it [is due](Self::is_due).
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub(super) fn look(
        &self,
        runtime: &Runtime,
        context: &rquickjs::Context,
        host: &Rc<JsVmState>,
    ) -> Result<()> {
        if !self.is_due() {
            return Ok(());
        }
        let begun = Instant::now();
        let used = || u64::try_from(runtime.memory_usage().malloc_size).unwrap_or(u64::MAX);
        let mut bytes = used();
        if bytes >= self.next.get() {
            context.with(|ctx| self.collect(host, &ctx));
            bytes = used();
            self.next.set((bytes + bytes / 2).max(FEW));
        }
        host.cx.meter().note_vm_memory(bytes);
        self.set_threshold(runtime, host);
        self.note(begun);
        host.cx.meter().allow_memory(0)
    }

    /// Collects garbage at every 64th host call if it [is due](Self::is_due). The VM's memory cannot be read while a
    /// script runs, so only time decides.
    pub(super) fn collect_now_and_then(&self, host: &Rc<JsVmState>, ctx: &Ctx<'_>) {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get().is_multiple_of(CALLS) && self.is_due() {
            let begun = Instant::now();
            self.collect(host, ctx);
            self.note(begun);
        }
    }

    /// Returns whether memory may be read or collected again: after 5 ms, and after twice the time that it took last.
    fn is_due(&self) -> bool {
        let (last, took) = *self.last.borrow();
        last.elapsed() >= (took * 2).max(Duration::from_millis(5))
    }

    fn note(&self, begun: Instant) {
        *self.last.borrow_mut() = (Instant::now(), begun.elapsed());
    }

    fn collect(&self, host: &Rc<JsVmState>, ctx: &Ctx<'_>) {
        self.collecting.set(true);
        ctx.run_gc();
        self.collecting.set(false);
        self.put_canary(host, ctx);
    }

    /// Plants a canary in the VM. If that fails, memory has run out and the run ends anyway.
    pub(super) fn put_canary(&self, host: &Rc<JsVmState>, ctx: &Ctx<'_>) {
        let canary = Canary(Rc::clone(host));
        let put = || {
            let function = Function::new(ctx.clone(), move || {
                let _held = &canary;
            })?;
            // The function refers to itself, so reference counting does not free it; only a collection does.
            function.set("self", function.clone())
        };
        if put().is_err() {
            ctx.catch();
        }
    }

    /// Checks that the script may use `bytes` more, in the VM or in the host. Ignores fewer than 64 KiB.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub(super) fn allow(&self, host: &JsVmState, bytes: usize) -> Result<()> {
        if bytes < SMALL { Ok(()) } else { host.cx.meter().allow_memory(bytes as u64) }
    }
}
