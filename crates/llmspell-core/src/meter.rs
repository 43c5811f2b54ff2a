//! The meter, which enforces the limits of a run.
//!
//! [`Limits`] are the settings of a run. A [`Meter`] counts what the run uses and decides when the run must stop.
//!
//! Three threads or roles share a meter:
//!
//! - The **script's thread** brackets each stretch of work with [`Meter::work`] and charges the processor time of the
//!   stretch to the run when it ends. Waiting is free, and runs that share a thread do not pay for each other.
//! - The **engine's interrupt** is called often by the VM. It reads [`Meter::is_asked`], one relaxed atomic load, and
//!   nothing else while the value is false.
//! - The **watchdog** thread calls [`Meter::watch`] every few milliseconds. When a time limit may have been reached,
//!   it requests a check; the script's thread then reads its own processor clock in [`Meter::check`] and decides.
//!   When a stretch lasts longer than 10 ms, the watchdog requests a yield, so that other runs on the thread get
//!   their turn.
//!
//! Invariants: a meter that has tripped stays tripped, and the first reason stays the reason. A charge that does not
//! fit is not added. Model calls, tokens and cost are counted by the spend ledger in `budget.rs`, which the meter
//! owns.
//!
//! ```
//! use llmspell_core::{Limits, Meter};
//! let meter = Meter::new(Limits { output: 10, ..Limits::default() });
//! assert!(meter.charge_output(10).is_ok());
//! assert_eq!(meter.charge_output(1).unwrap_err().kind().as_str(), "limit.output");
//! assert!(meter.state().is_err());
//! ```

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::budget::SpendLedger;
use crate::chat::Usage;
use crate::cpu::thread_cpu;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LIMITS, Limit, Limits};

/// How long a script may work before it is asked to yield to the other runs on its thread.
const SLICE: Duration = Duration::from_millis(10);

/// Bits of `Meter::asked`: requests to the script's thread.
const CHECK: u8 = 1;
const YIELD: u8 = 2;

const NOT_TRIPPED: u8 = u8::MAX;
const CANCELLED: u8 = u8::MAX - 1;

/// Counts what a run uses and decides when the run must stop.
///
/// The script's thread brackets each stretch of work with [`work`](Meter::work). The engine's interrupt reads
/// [`is_asked`](Meter::is_asked), one relaxed load. The watchdog, a host function or a cancellation can set a
/// request. The interrupt then calls [`check`](Meter::check) if [`must_check`](Meter::must_check) is set, and ends
/// the stretch of work early if [`must_yield`](Meter::must_yield) is set. Once tripped, a meter stays tripped.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    started: Instant,
    /// Pending requests to the script's thread: `CHECK`, `YIELD`.
    asked: AtomicU8,
    /// Nanoseconds between `started` and the moment at which the pending check was requested.
    asked_at: AtomicU64,
    tripped: AtomicU8,
    /// Nanoseconds of processor time of the finished stretches of work.
    cpu: AtomicU64,
    /// Nanoseconds between `started` and the beginning of the current stretch, plus one; 0 when there is none.
    working_since: AtomicU64,
    /// The thread's processor clock at the beginning of the current stretch, in nanoseconds.
    cpu_at_start: AtomicU64,
    /// Bytes that the VM used when the engine last reported it.
    vm_memory: AtomicU64,
    /// Bytes that the host holds for the spell.
    held_memory: AtomicU64,
    output: AtomicU64,
    tasks: AtomicU64,
    ledger: Arc<SpendLedger>,
    /// The detailed error of the budget limit that ended the run.
    spent: OnceLock<Error>,
}

impl Meter {
    /// Creates a meter and starts its wall clock.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let ledger = SpendLedger::new(&limits, None);
        Self::with(limits, ledger)
    }

    /// Creates the meter of a child run. Its model calls are charged to the parent as well.
    #[must_use]
    pub fn child(&self, limits: Limits) -> Self {
        let ledger = SpendLedger::new(&limits, Some(&self.ledger));
        Self::with(limits, ledger)
    }

    fn with(limits: Limits, ledger: SpendLedger) -> Self {
        Self {
            limits,
            started: Instant::now(),
            asked: AtomicU8::new(0),
            asked_at: AtomicU64::new(0),
            tripped: AtomicU8::new(NOT_TRIPPED),
            cpu: AtomicU64::new(0),
            working_since: AtomicU64::new(0),
            cpu_at_start: AtomicU64::new(0),
            vm_memory: AtomicU64::new(0),
            held_memory: AtomicU64::new(0),
            output: AtomicU64::new(0),
            tasks: AtomicU64::new(0),
            ledger: Arc::new(ledger),
            spent: OnceLock::new(),
        }
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns when the run began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns when the wall limit is reached; `None` when that instant cannot be represented.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.limits.wall)
    }

    /// Returns the processor time of the finished stretches of work.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// Returns the usage of the run's model calls so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.ledger.used()
    }

    /// Returns the number of answered model calls whose price is unknown.
    #[must_use]
    pub fn unpriced_calls(&self) -> u64 {
        self.ledger.unpriced()
    }

    pub(crate) fn ledger(&self) -> &Arc<SpendLedger> {
        &self.ledger
    }

    /// Returns the number of model calls.
    #[must_use]
    pub fn model_calls(&self) -> u64 {
        self.ledger.calls()
    }

    /// Begins a stretch of work on the current thread. It ends when the returned guard is dropped.
    #[must_use]
    pub fn work(&self) -> CpuTimer<'_> {
        let since = nanoseconds(self.started.elapsed());
        self.go_on();
        self.cpu_at_start.store(nanoseconds(thread_cpu()), Ordering::Relaxed);
        self.working_since.store(since + 1, Ordering::Relaxed);
        CpuTimer(self)
    }

    /// Returns whether a request to the script's thread is pending. One relaxed load.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the engine's interrupt has to call [`check`](Self::check). One relaxed load.
    #[must_use]
    pub fn must_check(&self) -> bool {
        self.asked.load(Ordering::Relaxed) & CHECK != 0
    }

    /// Returns whether the script should yield to the other runs on its thread as soon as possible. The request lasts
    /// until the next stretch of work or until [`go_on`](Self::go_on). One relaxed load.
    #[must_use]
    pub fn must_yield(&self) -> bool {
        self.asked.load(Ordering::Relaxed) & YIELD != 0
    }

    /// Requests that the script's thread end its stretch of work, and begin another after the other runs had their
    /// turn.
    pub fn ask_to_yield(&self) {
        self.asked.fetch_or(YIELD, Ordering::Relaxed);
    }

    /// Withdraws the request of [`ask_to_yield`](Self::ask_to_yield).
    pub fn go_on(&self) {
        self.asked.fetch_and(!YIELD, Ordering::Relaxed);
    }

    /// Checks whether the script may go on. Must be called on the thread that does the work.
    ///
    /// # Errors
    /// Returns the limit that was reached, or the cancellation. Later calls return the same error.
    pub fn check(&self) -> Result<()> {
        // The bit is cleared before the check, so that a request that arrives meanwhile is not lost.
        self.asked.fetch_and(!CHECK, Ordering::AcqRel);
        let looked = self.look();
        if looked.is_err() {
            self.asked.fetch_or(CHECK, Ordering::Relaxed);
        }
        looked
    }

    fn look(&self) -> Result<()> {
        self.state()?;
        let spent = self.cpu().saturating_add(self.stretch());
        if spent >= self.limits.cpu {
            return Err(self.trip(Limit::Cpu));
        }
        if self.started.elapsed() >= self.limits.wall {
            return Err(self.trip(Limit::Wall));
        }
        Ok(())
    }

    /// Returns an error if a limit or a cancellation has ended the run.
    ///
    /// # Errors
    /// Returns that limit or cancellation.
    pub fn state(&self) -> Result<()> {
        match self.tripped.load(Ordering::Acquire) {
            NOT_TRIPPED => Ok(()),
            CANCELLED => Err(Error::cancelled()),
            index => {
                let limit = LIMITS[usize::from(index)].limit;
                let spent = self.spent.get().filter(|error| error.kind() == ErrorKind::Limit(limit));
                Err(spent.cloned().unwrap_or_else(|| self.reached(limit)))
            }
        }
    }

    fn reached(&self, limit: Limit) -> Error {
        Error::limit(limit, self.limits.describe(limit).unwrap_or_default())
    }

    /// Requests a check when a time limit may have been reached, and a yield when the current stretch is long. Called
    /// by the watchdog every few milliseconds. Returns whether the script is working right now.
    pub fn watch(&self) -> bool {
        let since = self.working_since.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let now = self.started.elapsed();
        // Elapsed time is an upper bound of the processor time, which only the script's thread can read.
        let at_work = now.saturating_sub(Duration::from_nanos(since - 1));
        if self.cpu().saturating_add(at_work) >= self.limits.cpu || now >= self.limits.wall {
            self.ask();
        }
        if at_work >= SLICE {
            self.ask_to_yield();
        }
        true
    }

    /// Requests a check and records when it was requested.
    fn ask(&self) {
        if !self.must_check() {
            self.asked_at.store(nanoseconds(self.started.elapsed()), Ordering::Relaxed);
        }
        self.asked.fetch_or(CHECK, Ordering::Release);
    }

    /// Returns the reason to stop when the script's thread is working and has ignored a requested check for
    /// `patience`. The thread is then in a native function that cannot be interrupted, and the command ends its own
    /// process.
    #[must_use]
    pub fn overdue(&self, patience: Duration) -> Option<Error> {
        if self.working_since.load(Ordering::Relaxed) == 0 || !self.must_check() {
            return None;
        }
        let now = self.started.elapsed();
        if now.saturating_sub(Duration::from_nanos(self.asked_at.load(Ordering::Relaxed))) < patience {
            return None;
        }
        let limit = if now >= self.limits.wall { Limit::Wall } else { Limit::Cpu };
        Some(self.state().err().unwrap_or_else(|| self.reached(limit)))
    }

    /// Ends the run because of a limit and returns the error. The first reason that ended a run stays the reason.
    pub fn trip(&self, limit: Limit) -> Error {
        self.stop(limit as u8)
    }

    /// Ends the run like [`trip`](Self::trip), with a more detailed error.
    pub(crate) fn trip_by(&self, limit: Limit, error: Error) -> Error {
        let _ = self.spent.set(error);
        self.trip(limit)
    }

    /// Cancels the run.
    pub fn cancel(&self) {
        self.stop(CANCELLED);
    }

    fn stop(&self, reason: u8) -> Error {
        let _ = self.tripped.compare_exchange(NOT_TRIPPED, reason, Ordering::AcqRel, Ordering::Acquire);
        self.ask();
        self.state().err().unwrap_or_else(Error::cancelled)
    }

    /// Charges bytes to the `output` limit before they are printed or logged.
    ///
    /// # Errors
    /// When the bytes exceed what is left of the limit.
    pub fn charge_output(&self, bytes: u64) -> Result<()> {
        self.charge(&self.output, bytes, self.limits.output, Limit::Output)
    }

    /// Records how many bytes the VM uses. Engines call this before each call of a host function.
    pub fn note_vm_memory(&self, bytes: u64) {
        self.vm_memory.store(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes the host holds for the spell.
    #[must_use]
    pub fn held_memory(&self) -> u64 {
        self.held_memory.load(Ordering::Relaxed)
    }

    /// Checks whether the host may allocate `bytes` for the script, in addition to the memory of the VM and the host.
    ///
    /// # Errors
    /// Returns an error when the sum exceeds the `memory` limit.
    pub fn allow_memory(&self, bytes: u64) -> Result<()> {
        self.state()?;
        let used = self.vm_memory.load(Ordering::Relaxed).saturating_add(self.held_memory());
        if used.saturating_add(bytes) > self.limits.memory { Err(self.trip(Limit::Memory)) } else { Ok(()) }
    }

    pub(crate) fn hold_memory(&self, bytes: u64) -> Result<()> {
        self.allow_memory(bytes)?;
        self.held_memory.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn release_memory(&self, bytes: u64) {
        self.held_memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts one more live task. The caller must call [`end_task`](Self::end_task) when the task ends.
    ///
    /// # Errors
    /// Returns an error when the `tasks` limit is reached.
    pub fn start_task(&self) -> Result<()> {
        self.charge(&self.tasks, 1, u64::from(self.limits.tasks), Limit::Tasks)
    }

    /// Counts one live task less.
    pub fn end_task(&self) {
        let _ = self.tasks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |alive| alive.checked_sub(1));
    }

    /// Returns the processor time of the current stretch of work. Must be called on the working thread.
    fn stretch(&self) -> Duration {
        if self.working_since.load(Ordering::Relaxed) == 0 {
            return Duration::ZERO;
        }
        thread_cpu().saturating_sub(Duration::from_nanos(self.cpu_at_start.load(Ordering::Relaxed)))
    }

    fn charge(&self, counter: &AtomicU64, amount: u64, limit: u64, name: Limit) -> Result<()> {
        self.state()?;
        counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|total| *total <= limit)
            })
            .map(drop)
            .map_err(|_| self.trip(name))
    }
}

/// A stretch of work on the script's thread. Charges the processor time that it took when it is dropped.
#[derive(Debug)]
pub struct CpuTimer<'a>(&'a Meter);

impl Drop for CpuTimer<'_> {
    fn drop(&mut self) {
        self.0.cpu.fetch_add(nanoseconds(self.0.stretch()), Ordering::Relaxed);
        self.0.working_since.store(0, Ordering::Relaxed);
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(limits: Limits) -> Meter {
        Meter::new(limits)
    }

    #[test]
    fn a_charge_that_does_not_fit_ends_the_run_and_every_later_question_says_so() {
        let meter = meter(Limits { output: 10, ..Limits::default() });
        meter.charge_output(10).unwrap();
        let error = meter.charge_output(1).unwrap_err();
        assert_eq!(error.kind().as_str(), "limit.output");
        assert_eq!(error.message(), "the spell reached its output limit of 10 bytes");
        assert_eq!(meter.charge_output(0).unwrap_err().kind(), error.kind());
        assert!(meter.must_check());
    }

    #[test]
    fn the_first_reason_stays_the_reason() {
        let meter = meter(Limits::default());
        meter.trip(Limit::Memory);
        meter.cancel();
        assert_eq!(meter.state().unwrap_err().kind(), ErrorKind::Limit(Limit::Memory));
    }

    #[test]
    fn waiting_is_free_and_work_is_charged() {
        let meter = meter(Limits { cpu: Duration::from_millis(5), ..Limits::default() });
        assert!(!meter.watch());
        let work = meter.work();
        while meter.check().is_ok() {
            std::hint::black_box(());
        }
        drop(work);
        assert!(meter.cpu() >= Duration::from_millis(5));
        assert_eq!(meter.state().unwrap_err().message(), "the spell reached its cpu limit of 5ms");
    }

    #[test]
    fn the_watchdog_asks_for_a_check_only_when_time_may_be_up() {
        let meter = meter(Limits { cpu: Duration::ZERO, ..Limits::default() });
        let _work = meter.work();
        assert!(!meter.must_check());
        assert!(meter.watch());
        assert!(meter.must_check());
    }

    #[test]
    fn a_request_to_yield_is_over_with_the_next_stretch_of_work_and_a_request_to_check_is_not() {
        let meter = meter(Limits::default());
        meter.ask_to_yield();
        assert!(meter.is_asked() && meter.must_yield() && !meter.must_check());
        meter.cancel();
        let _work = meter.work();
        assert!(meter.is_asked() && !meter.must_yield() && meter.must_check());
        assert!(meter.check().is_err() && meter.must_check());
    }
}
