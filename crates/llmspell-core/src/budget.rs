//! The spend ledger of a run: reserves budget before a model call and settles the real usage after it.
//!
//! Model calls cost tokens and money, and the amount is known only when the answer has arrived. Each call therefore
//! *reserves* its maximum (`Reservation`) before it is sent. After the call, the reservation is released and the real
//! usage is *settled*. Calls at the same time therefore cannot overspend together, as far as the input estimates are
//! right.
//!
//! The ledger of a run (`SpendLedger`) may have a parent: a child run draws on its parent's ledger, and an agent's
//! budget is a ledger within that of its run. A reservation must fit in every ledger of the chain, or it is taken from
//! none of them. All ledgers of a run tree share one `RunTree`, through which waiting calls are woken.
//!
//! A call whose reservation does not fit waits while other calls are under way, because their settlement may free
//! budget. It fails when nothing can free budget any more:
//!
//! - No other call that draws on the exhausted ledger is under way.
//! - The engine reports that the script is idle and no answer is awaited (`give_up`). An open stream does not help
//!   then, because its reader waits as well.
//!
//! At a limit of the run, the run ends; at the limit of a part of the run (`SpendLedger::within`), the call fails with
//! `budget` and the run goes on.
//!
//! Example: a run may use 10,000 tokens. Call A has 1,000 input tokens and sets no `max_tokens`, so it reserves
//! 1,000 + 8,192 tokens. Call B, with 100 input tokens, does not fit and waits. A ends with 2,000 tokens used. B is now
//! the only call, so it may use all that is left: its `max_tokens` becomes 10,000 - 2,000 - 100 = 7,900.
//!
//! The maximum comes from an [`Estimate`] for the input, and from `max_tokens` or
//! [`DEFAULT_OUTPUT`] for the output. A model without a known price is refused when the cost is limited, unless
//! `allow_unpriced` is set.

mod call;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chat::Usage;
use crate::error::{Error, ErrorKind};
use crate::limits::{Limit, Limits, dollars};
use crate::price::{Estimate, Price};
use crate::sequencer::AnswerSequencer;

pub(crate) use self::call::CountedCall;

/// The `max_tokens` of a request that sets none, in a run with a limit on tokens or cost. Reserving the model's own
/// maximum would often leave no budget for a second call at the same time.
pub const DEFAULT_OUTPUT: u32 = 8_192;

/// The smallest `max_tokens` that is worth a call when little budget is left.
const LEAST_OUTPUT: u32 = 16;

/// The budget of a part of a run, within the limits of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// The maximum number of model calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_calls: Option<u32>,
    /// The maximum number of input and output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// The maximum cost in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// A spend ledger: the usage of model calls and the reservations of calls under way. Usage is charged to the parent
/// too.
#[derive(Debug)]
pub(crate) struct SpendLedger {
    limits: Limits,
    totals: Mutex<LedgerTotals>,
    tree: Arc<RunTree>,
    parent: Option<Arc<SpendLedger>>,
    /// The owner, such as an agent; `None` for the ledger of a run.
    owner: Option<String>,
}

/// State shared by the ledgers of a run and its children, for calls that wait for budget.
#[derive(Debug, Default)]
struct RunTree {
    /// Notified when another call may be counted, or will never be. Thousands of calls may wait for that, so it is not
    /// notified by calls that only end.
    call_freed: Notify,
    /// Notified when a call has ended, which may leave tokens and cost to others.
    budget_freed: Notify,
    /// The number of calls under way whose answers are being awaited.
    active: AtomicU64,
    /// The number of calls that wait for budget.
    waiting: AtomicU64,
    /// How many times the waiting calls were told that no budget will become free.
    given_up: AtomicU64,
}

/// Counts one waiting call for the lifetime of the guard.
struct WaitingCall<'a>(&'a RunTree);

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RunTree {
    fn wake_all(&self) {
        self.call_freed.notify_waiters();
        self.budget_freed.notify_waiters();
    }

    fn wait(&self) -> WaitingCall<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingCall(self)
    }

    fn set_active(&self, is: bool) {
        if is {
            self.active.fetch_add(1, Ordering::Relaxed);
        } else {
            let less = |active: u64| active.checked_sub(1);
            let _ = self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

#[derive(Debug, Default)]
struct LedgerTotals {
    calls: u64,
    /// The number of answered calls whose price is unknown.
    unpriced: u64,
    used: Usage,
    reserved: Reservation,
    /// The number of calls that have not ended and do not wait for budget.
    under_way: u64,
}

/// A reservation: the maximum that a call can use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Reservation {
    tokens: u64,
    cost: f64,
}

impl Reservation {
    fn of(input: u64, output: u32, price: Price) -> Self {
        let output = u64::from(output);
        Self { tokens: input.saturating_add(output), cost: price.of(input, output) }
    }
}

/// Why a call gets no budget.
pub(crate) enum BudgetRefusal {
    /// A limit of the run is reached, which ends the run.
    Run(Limit, Error),
    /// The budget of a part of the run is spent. The run goes on.
    Part(Error),
    /// The run was cancelled while the call waited.
    Cancelled,
}

/// A limit that a reservation would exceed.
struct Spent {
    error: Error,
    /// The limit, if it is one of the run and not of a part of it.
    ends_run: Option<Limit>,
    /// Whether a call under way may free budget when it ends.
    may_change: bool,
}

impl SpendLedger {
    pub(crate) fn new(limits: &Limits, parent: Option<&Arc<Self>>) -> Self {
        Self {
            limits: limits.clone(),
            totals: Mutex::default(),
            tree: parent.map_or_else(Arc::default, |parent| Arc::clone(&parent.tree)),
            parent: parent.cloned(),
            owner: None,
        }
    }

    /// Creates the ledger for a part of a run, within the run's ledger or within that of an enclosing part.
    pub(crate) fn within(parent: &Arc<Self>, owner: &str, budget: Budget) -> Self {
        let limits = Limits {
            model_calls: budget.model_calls.unwrap_or(u32::MAX),
            tokens: budget.tokens,
            cost: budget.cost,
            allow_unpriced: parent.limits.allow_unpriced,
            ..Limits::default()
        };
        Self { owner: Some(owner.to_owned()), ..Self::new(&limits, Some(parent)) }
    }

    /// Describes a limit that does not leave enough budget.
    fn spent(&self, limit: Limit, totals: &LedgerTotals, told: fmt::Arguments<'_>) -> Spent {
        let error = match &self.owner {
            None => Error::limit(limit, told),
            Some(owner) => {
                Error::new(ErrorKind::Budget, format!("{owner} reached its {limit} limit of {told}"))
            }
        };
        let ends_run = self.owner.is_none().then_some(limit);
        Spent { error, ends_run, may_change: totals.under_way > 0 }
    }

    pub(crate) fn used(&self) -> Usage {
        self.totals().used.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.totals().calls
    }

    pub(crate) fn unpriced(&self) -> u64 {
        self.totals().unpriced
    }

    fn totals(&self) -> MutexGuard<'_, LedgerTotals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Iterates over this ledger and its ancestors.
    fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |ledger| ledger.parent.as_deref())
    }

    /// Wakes the calls that wait for budget and makes them fail, if no budget can become free. Returns whether any
    /// call was waiting.
    ///
    /// The engine calls this when the script has nothing to do and no answer is awaited. Open streams cannot free
    /// budget then, because their readers wait as well.
    pub(crate) fn give_up(&self) -> bool {
        let RunTree { active, waiting, given_up, .. } = &*self.tree;
        let stuck = waiting.load(Ordering::Relaxed) > 0 && active.load(Ordering::Relaxed) == 0;
        if stuck {
            given_up.fetch_add(1, Ordering::Relaxed);
            self.tree.wake_all();
        }
        stuck
    }

    /// Applies `take` to all ledgers of the chain, or to none of them if `check` fails for one. Locks are taken from
    /// child to parent.
    fn all(
        &self,
        check: &impl Fn(&Self, &LedgerTotals) -> Result<(), Spent>,
        take: &impl Fn(&mut LedgerTotals),
    ) -> Result<(), Spent> {
        let mut totals = self.totals();
        check(self, &totals)?;
        if let Some(parent) = &self.parent {
            parent.all(check, take)?;
        }
        take(&mut totals);
        Ok(())
    }

    /// Counts one more model call, if there is room for it now.
    fn try_count(&self) -> Result<(), Spent> {
        let check = |ledger: &Self, totals: &LedgerTotals| {
            let most = u64::from(ledger.limits.model_calls);
            if totals.calls >= most {
                let told = format_args!("{most}: {} made, 0 left", totals.calls);
                return Err(ledger.spent(Limit::ModelCalls, totals, told));
            }
            Ok(())
        };
        self.all(&check, &|totals| {
            totals.calls += 1;
            totals.under_way += 1;
        })
    }

    /// Reserves the maximum that a call can use, if there is room for it now.
    fn try_reserve(&self, reservation: Reservation) -> Result<(), Spent> {
        let check = |ledger: &Self, totals: &LedgerTotals| {
            let tokens = totals.tokens().saturating_add(totals.reserved.tokens);
            if let Some(limit) =
                ledger.limits.tokens.filter(|limit| tokens.saturating_add(reservation.tokens) > *limit)
            {
                let (used, left) = (totals.tokens(), limit.saturating_sub(tokens));
                let next = reservation.tokens;
                let told =
                    format_args!("{limit}: {used} used, {left} left, and the next call may take {next}");
                return Err(ledger.spent(Limit::Tokens, totals, told));
            }
            let cost = totals.cost() + totals.reserved.cost;
            if let Some(limit) =
                ledger.limits.cost.filter(|limit| cost + reservation.cost > *limit + TOLERANCE)
            {
                let (used, left, next) = (totals.cost(), (limit - cost).max(0.0), reservation.cost);
                let [limit, used, left, next] = [limit, used, left, next].map(dollars);
                let told =
                    format_args!("{limit}: {used} spent, {left} left, and the next call may cost {next}");
                return Err(ledger.spent(Limit::Cost, totals, told));
            }
            Ok(())
        };
        self.all(&check, &|totals| {
            totals.reserved.tokens = totals.reserved.tokens.saturating_add(reservation.tokens);
            totals.reserved.cost += reservation.cost;
        })
    }

    /// Returns the largest `max_tokens` with which the call fits when no other call is under way.
    fn room(&self, input: u64, price: Price) -> u32 {
        let room = |ledger: &Self| {
            let totals = ledger.totals();
            let tokens =
                ledger.limits.tokens.map_or(u64::MAX, |limit| limit.saturating_sub(totals.tokens() + input));
            let dollars = ledger.limits.cost.map(|limit| limit - totals.cost() - price.of(input, 0));
            let paid = match dollars {
                Some(dollars) if price.output > 0.0 => whole(dollars / price.output * 1e6),
                Some(dollars) if dollars < -TOLERANCE => 0,
                _ => u64::MAX,
            };
            tokens.min(paid)
        };
        let room = self.line().map(room).min().unwrap_or_default();
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// Adds the usage of a call.
    pub(crate) fn settle(&self, used: &Usage) {
        self.line().for_each(|ledger| ledger.totals().settle(used));
    }

    /// Ends a call and releases its reservation. If `counts` is false, the call is not counted any more.
    fn end(&self, reservation: Reservation, waited: bool, counts: bool) {
        let mut was_last = false;
        for ledger in self.line() {
            let mut totals = ledger.totals();
            totals.reserved.tokens = totals.reserved.tokens.saturating_sub(reservation.tokens);
            totals.reserved.cost = (totals.reserved.cost - reservation.cost).max(0.0);
            totals.calls = totals.calls.saturating_sub(u64::from(!counts));
            totals.under_way = totals.under_way.saturating_sub(u64::from(!waited));
            was_last |= totals.under_way == 0;
        }
        // Without an engine, calls that wait give up when no answer is being awaited any more.
        if was_last || !counts || self.tree.active.load(Ordering::Relaxed) == 0 {
            self.tree.call_freed.notify_waiters();
        }
        self.tree.budget_freed.notify_waiters();
    }

    /// Records whether a call has its budget or waits for it. If no call is under way any more, the waiting calls are
    /// woken to try again.
    fn set_under_way(&self, is: bool) {
        let mut was_last = false;
        for ledger in self.line() {
            let mut totals = ledger.totals();
            totals.under_way = if is { totals.under_way + 1 } else { totals.under_way.saturating_sub(1) };
            was_last |= totals.under_way == 0;
        }
        if was_last {
            self.tree.wake_all();
        }
    }

    /// Returns whether tokens or cost are limited anywhere in the chain.
    pub(crate) fn is_limited(&self) -> bool {
        self.line().any(|ledger| ledger.limits.tokens.is_some() || ledger.limits.cost.is_some())
    }

    /// Returns the cost limit that forbids calls without a known price, if there is one.
    pub(crate) fn refuses_unpriced(&self) -> Option<f64> {
        self.line().filter(|ledger| !ledger.limits.allow_unpriced).find_map(|ledger| ledger.limits.cost)
    }
}

/// Sums of dollars in floating point are not exact.
const TOLERANCE: f64 = 1e-9;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn whole(number: f64) -> u64 {
    (number + TOLERANCE).max(0.0) as u64
}

impl LedgerTotals {
    fn tokens(&self) -> u64 {
        self.used.input_tokens.saturating_add(self.used.output_tokens)
    }

    fn cost(&self) -> f64 {
        self.used.cost_usd.unwrap_or(0.0)
    }

    fn settle(&mut self, used: &Usage) {
        let total = &mut self.used;
        total.add_tokens(used);
        match used.cost_usd.filter(|cost| cost.is_finite() && *cost >= 0.0) {
            Some(cost) => total.cost_usd = Some(total.cost_usd.unwrap_or(0.0) + cost),
            None if used.input_tokens > 0 || used.output_tokens > 0 => self.unpriced += 1,
            None => {}
        }
    }
}

impl SpendLedger {
    /// Counts a model call. Waits for the calls under way before it refuses, because one of them may turn out not to
    /// count.
    pub(crate) async fn count_call(
        self: &Arc<Self>,
        sequencer: &AnswerSequencer,
        cancellation: &CancellationToken,
    ) -> Result<CountedCall, BudgetRefusal> {
        self.take(sequencer, cancellation, |tree| &tree.call_freed, Self::try_count).await?;
        Ok(CountedCall::new(self))
    }

    /// Reserves the budget of a call. Returns its `max_tokens`, which is less than usual if little budget is left.
    /// Waits for the calls under way before it refuses, because they may free budget.
    pub(crate) async fn reserve_call(
        &self,
        call: &mut CountedCall,
        Estimate { input_tokens, max_output, price }: Estimate,
        max_tokens: Option<u32>,
        sequencer: &AnswerSequencer,
        cancellation: &CancellationToken,
    ) -> Result<u32, BudgetRefusal> {
        let priced = price.unwrap_or_default();
        let reservation = |output| Reservation::of(input_tokens, output, priced);
        let take = |ledger: &Self| match max_tokens {
            Some(output) => ledger.try_reserve(reservation(output)).map(|()| output),
            None => {
                let most = DEFAULT_OUTPUT.min(max_output.unwrap_or(DEFAULT_OUTPUT));
                ledger.try_reserve(reservation(most)).map(|()| most).or_else(|spent| {
                    // No other call is under way, so this one may use all that is left.
                    let less = ledger.room(input_tokens, priced).min(most);
                    if spent.may_change || less < LEAST_OUTPUT {
                        return Err(spent);
                    }
                    ledger.try_reserve(reservation(less)).map(|()| less)
                })
            }
        };
        call.wait();
        let output = self.take(sequencer, cancellation, |tree| &tree.budget_freed, take).await?;
        let cost_usd = price.map(|price| price.of(input_tokens, 0));
        call.send(reservation(output), Usage { input_tokens, cost_usd, estimated: true, ..Usage::default() });
        Ok(output)
    }

    /// Takes something from the ledger. Waits for `freed` while calls under way may free budget for it.
    async fn take<T>(
        &self,
        sequencer: &AnswerSequencer,
        cancellation: &CancellationToken,
        freed: impl Fn(&RunTree) -> &Notify,
        take: impl Fn(&Self) -> Result<T, Spent>,
    ) -> Result<T, BudgetRefusal> {
        let tree = &self.tree;
        let given_up = tree.given_up.load(Ordering::Relaxed);
        loop {
            let freed = freed(tree).notified();
            let spent = match take(self) {
                Ok(taken) => return Ok(taken),
                Err(spent) => spent,
            };
            // Without an engine nobody calls `give_up`, so the call waits only for answers that are being awaited.
            let has_hope = match sequencer.are_driven() {
                true => tree.given_up.load(Ordering::Relaxed) == given_up,
                false => tree.active.load(Ordering::Relaxed) > 0,
            };
            if !spent.may_change || !has_hope {
                return Err(match spent.ends_run {
                    Some(limit) => BudgetRefusal::Run(limit, spent.error),
                    None => BudgetRefusal::Part(spent.error),
                });
            }
            let _waiting = tree.wait();
            cancellation.run_until_cancelled(freed).await.ok_or(BudgetRefusal::Cancelled)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger(tokens: Option<u64>, cost: Option<f64>, parent: Option<&Arc<SpendLedger>>) -> Arc<SpendLedger> {
        Arc::new(SpendLedger::new(&Limits { tokens, cost, ..Limits::default() }, parent))
    }

    /// An event in the life of a ledger, in any order.
    #[derive(Debug, Clone)]
    enum Step {
        /// A call with a reservation of this many tokens, charged to the child or the parent.
        Begin {
            child: bool,
            tokens: u64,
        },
        /// The call at this index ends. `used` is its real usage, or `None` if it is dropped without an answer.
        End {
            at: usize,
            used: Option<u64>,
        },
        Rest {
            at: usize,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let begin = (any::<bool>(), 0_u64..60).prop_map(|(child, tokens)| Step::Begin { child, tokens });
        let end = (0_usize..8, prop::option::of(0_u64..60)).prop_map(|(at, used)| Step::End { at, used });
        let rest = (0_usize..8).prop_map(|at| Step::Rest { at });
        prop::collection::vec(prop_oneof![3 => begin, 2 => end, 1 => rest], 0..60)
    }

    proptest! {
        #[test]
        fn what_is_used_and_set_aside_never_exceeds_a_limit(steps in steps()) {
            let parent = ledger(Some(100), Some(0.001), None);
            let child = ledger(Some(60), None, Some(&parent));
            let price = Price { input: 0.0, output: 10.0 };
            let (mut calls, mut begun) = (Vec::<CountedCall>::new(), [0, 0]);
            for step in steps {
                match step {
                    Step::Begin { child: of_child, tokens } => {
                        let ledger = if of_child { &child } else { &parent };
                        let reservation = Reservation { tokens, cost: price.of(0, tokens) };
                        ledger.try_count().map_err(|spent| spent.error).unwrap();
                        let mut call = CountedCall::new(ledger);
                        call.wait();
                        if ledger.try_reserve(reservation).is_ok() {
                            call.send(reservation, Usage { output_tokens: tokens / 2, ..Usage::default() });
                            calls.push(call);
                            begun[usize::from(of_child)] += 1;
                        }
                    }
                    Step::End { at, used } if at < calls.len() => {
                        let mut call = calls.remove(at);
                        if let Some(used) = used {
                            let output_tokens = used.min(call.reservation.tokens);
                            let cost_usd = Some(price.of(0, output_tokens));
                            call.ledger.settle(&Usage { output_tokens, cost_usd, ..Usage::default() });
                            call.settled();
                        }
                    }
                    Step::Rest { at } if at < calls.len() => calls[at].set_idle(true),
                    _ => {}
                }
                for (ledger, limit) in [(&parent, 100), (&child, 60)] {
                    let totals = ledger.totals();
                    prop_assert!(totals.tokens() + totals.reserved.tokens <= limit);
                    prop_assert!(totals.cost() + totals.reserved.cost <= 0.001 + TOLERANCE);
                }
            }
            calls.clear();
            for (ledger, begun) in [(parent, begun[0] + begun[1]), (child, begun[1])] {
                let totals = ledger.totals();
                prop_assert_eq!((totals.reserved.tokens, totals.under_way, totals.calls), (0, 0, begun));
                prop_assert_eq!(ledger.tree.active.load(Ordering::Relaxed), 0);
            }
        }
    }

    #[test]
    fn a_call_alone_may_have_what_is_left() {
        let price = Price { input: 10.0, output: 20.0 };
        for (tokens, cost, room) in [
            (Some(1_000), None, 900),
            (None, Some(0.003), 100),
            (Some(150), Some(0.003), 50),
            (Some(50), None, 0),
            (None, Some(0.0005), 0),
            (None, None, u32::MAX),
        ] {
            assert_eq!(ledger(tokens, cost, None).room(100, price), room, "{tokens:?} {cost:?}");
        }
        let parent = ledger(Some(200), None, None);
        assert_eq!(ledger(Some(1_000), None, Some(&parent)).room(100, price), 100);
        assert_eq!(ledger(None, Some(0.0), None).room(100, Price::default()), u32::MAX, "what is free fits");
    }

    #[test]
    fn a_negative_cost_is_no_credit() {
        let ledger = ledger(None, None, None);
        ledger.settle(&Usage { input_tokens: 1, cost_usd: Some(-5.0), ..Usage::default() });
        ledger.settle(&Usage { input_tokens: u64::MAX, cost_usd: Some(f64::NAN), ..Usage::default() });
        let used = ledger.used();
        assert_eq!((used.input_tokens, used.cost_usd, ledger.unpriced()), (u64::MAX, None, 2));
    }
}
