//! Draws the budget of a model call from the ledger of its context.

use crate::budget::{BudgetRefusal, CountedCall};
use crate::capability::Models;
use crate::chat::ChatRequest;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::limits::dollars;

impl Context {
    /// Counts a model call.
    ///
    /// # Errors
    /// Returns an error when no more calls are allowed. Waits for the calls under way before, because one of them may
    /// turn out not to count.
    pub(crate) async fn count_call(&self) -> Result<CountedCall> {
        self.meter().state()?;
        let counted = self.ledger().count_call(self.sequencer(), self.cancellation()).await;
        counted.map_err(|refusal| self.refused(refusal))
    }

    /// Reserves the budget of a call. Sets `max_tokens` if the request does not.
    ///
    /// # Errors
    /// Returns an error when the budget does not suffice even after the calls under way have ended, or when the cost
    /// is limited and the model's price is unknown.
    pub(super) async fn reserve(
        &self,
        call: &mut CountedCall,
        models: &dyn Models,
        request: &mut ChatRequest,
    ) -> Result<()> {
        let ledger = self.ledger();
        if !ledger.is_limited() {
            return Ok(());
        }
        let estimate = models.estimate(request);
        if let (None, Some(limit)) = (estimate.price, ledger.refuses_unpriced()) {
            return Err(unpriced(request, limit));
        }
        let reserved = ledger
            .reserve_call(call, estimate, request.max_tokens, self.sequencer(), self.cancellation())
            .await;
        request.max_tokens = Some(reserved.map_err(|refusal| self.refused(refusal))?);
        Ok(())
    }

    fn refused(&self, refusal: BudgetRefusal) -> Error {
        match refusal {
            BudgetRefusal::Run(limit, error) => self.meter().trip_by(limit, error),
            BudgetRefusal::Part(error) => error,
            BudgetRefusal::Cancelled => self.meter().state().err().unwrap_or_else(Error::cancelled),
        }
    }
}

fn unpriced(request: &ChatRequest, limit: f64) -> Error {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let (provider, model) = (name(&request.provider), name(&request.model));
    let message = format!(
        "the price of {provider}/{model} is not known, and the run has a cost limit of {}",
        dollars(limit)
    );
    Error::config(message).hint("`--allow-unpriced` lets it run without counting its cost")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::limits::Limits;

    /// Counts how often it is woken.
    struct Wakes(AtomicU64);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn calls_that_wait_for_the_limit_of_calls_are_not_woken_by_each_call_that_ends() {
        let cx = Context::builder().limits(Limits { model_calls: 3, ..Limits::default() }).build();
        cx.take_turns();
        let wakes = Arc::new(Wakes(AtomicU64::new(0)));
        let waker = std::task::Waker::from(Arc::clone(&wakes));
        let mut task = std::task::Context::from_waker(&waker);
        let mut count = || {
            let mut call = Box::pin(cx.count_call());
            (call.as_mut().poll(&mut task), call)
        };
        let mut under_way = Vec::new();
        for _ in 0..3 {
            match count().0 {
                std::task::Poll::Ready(call) => under_way.push(call.unwrap()),
                std::task::Poll::Pending => panic!("there is room for three calls"),
            }
        }
        let waiting: Vec<_> = (0..100).map(|_| count()).collect();
        assert!(waiting.iter().all(|(poll, _)| poll.is_pending()));
        let end = |call: Option<CountedCall>| {
            let mut call = call.unwrap();
            call.settled();
            drop(call);
            wakes.0.swap(0, Ordering::Relaxed)
        };
        assert_eq!(end(under_way.pop()), 0, "its place is taken for good");
        assert_eq!(end(under_way.pop()), 0);
        assert_eq!(end(under_way.pop()), 100, "no more place will come");
    }
}
