//! Holds a running script to its limits: the interrupt, and memory.
//!
//! QuickJS calls the interrupt every ten thousand steps, in loops, calls and regular expressions. It cannot be asked to
//! stop a script and go on with it later, so a script that is asked to let its neighbours go first does so between
//! jobs only.
//!
//! What the VM uses can be read only while no script is at work: at each job's end. In between, the VM's own limit holds
//! the script, but its error can be caught. So the VM is told to collect garbage by itself only when the limit is reached, and
//! stopped somewhat later. A **canary**, an object that nobody holds, ends
//! with that collection and trips the meter; garbage is collected before by the session, at the end of jobs and now
//! and then when the host is called. A single allocation that is larger than all the room there is trips the meter
//! where its error is made, in the prelude.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use llmspell_core::{Limit, Result};
use rquickjs::{Ctx, Function, Runtime};

use super::host::Host;

/// Smaller allocations of the host are not asked about one by one.
const SMALL: usize = 64 * 1024;

/// The native stack that scripts may take. Worker threads have 8 MiB.
const STACK: usize = 1024 * 1024;

/// The bytes in use below which there is no need to collect.
const FEW: u64 = 8 * 1024 * 1024;

/// Bytes beyond the limit that the VM may use before it is stopped.
const MARGIN: usize = 4 * 1024 * 1024;

/// How often the host looks at the clock when it is called.
const CALLS: u32 = 64;

/// Once the meter has tripped, the interrupt fails for ever, which no script can catch.
pub(super) fn arm(runtime: &Runtime, host: &Host) {
    let cx = host.cx.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || {
        let meter = cx.meter();
        meter.is_asked() && meter.must_check() && meter.check().is_err()
    })));
    runtime.set_max_stack_size(STACK);
    // The canary ends at the limit itself; what is beyond it is for what the script does before the interrupt comes.
    let limit = host.memory.limit;
    runtime.set_memory_limit(limit.saturating_add(limit / 8).saturating_add(MARGIN));
    host.memory.set_threshold(runtime, host);
}

/// Trips the meter when it is collected, unless the session collects.
struct Canary(Rc<Host>);

impl Drop for Canary {
    fn drop(&mut self) {
        if !self.0.memory.collecting.get() && !self.0.is_over() {
            self.0.cx.meter().trip(Limit::Memory);
        }
    }
}

/// See the module.
pub(super) struct Memory {
    limit: usize,
    /// The session collects, and not the VM by itself.
    collecting: Cell<bool>,
    /// Bytes in use at which to collect next.
    next: Cell<u64>,
    /// When it was collected or looked at last, and how long that took.
    last: RefCell<(Instant, Duration)>,
    calls: Cell<u32>,
}

impl Memory {
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

    /// Has the VM collect by itself when it uses all that is left beside what the host holds.
    fn set_threshold(&self, runtime: &Runtime, host: &Host) {
        let held = usize::try_from(host.cx.meter().held_memory()).unwrap_or(usize::MAX);
        runtime.set_gc_threshold(self.limit.saturating_sub(held));
    }

    /// Looks after memory while no script is at work: tells the meter what the VM uses, and collects when that has
    /// grown. Looking walks through all there is, so it is not done all the time.
    pub(super) fn look(&self, runtime: &Runtime, context: &rquickjs::Context, host: &Rc<Host>) -> Result<()> {
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

    /// Collects when that was long ago. What the VM uses is not known while a script is at work.
    pub(super) fn collect_now_and_then(&self, host: &Rc<Host>, ctx: &Ctx<'_>) {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get().is_multiple_of(CALLS) && self.is_due() {
            let begun = Instant::now();
            self.collect(host, ctx);
            self.note(begun);
        }
    }

    /// Whether what looking takes is little beside the time since the last time.
    fn is_due(&self) -> bool {
        let (last, took) = *self.last.borrow();
        last.elapsed() >= (took * 2).max(Duration::from_millis(5))
    }

    fn note(&self, begun: Instant) {
        *self.last.borrow_mut() = (Instant::now(), begun.elapsed());
    }

    fn collect(&self, host: &Rc<Host>, ctx: &Ctx<'_>) {
        self.collecting.set(true);
        ctx.run_gc();
        self.collecting.set(false);
        self.put_canary(host, ctx);
    }

    /// Puts a canary into the VM. When there is no room for one, the run is as good as over.
    pub(super) fn put_canary(&self, host: &Rc<Host>, ctx: &Ctx<'_>) {
        let canary = Canary(Rc::clone(host));
        let put = || {
            let function = Function::new(ctx.clone(), move || {
                let _held = &canary;
            })?;
            // A circle, so that nothing but a collection ends it.
            function.set("self", function.clone())
        };
        if put().is_err() {
            ctx.catch();
        }
    }

    /// Says whether this many bytes more may be taken, inside the VM or outside for it.
    ///
    /// # Errors
    /// When the `memory` limit is reached.
    pub(super) fn allow(&self, host: &Host, bytes: usize) -> Result<()> {
        if bytes < SMALL { Ok(()) } else { host.cx.meter().allow_memory(bytes as u64) }
    }
}
