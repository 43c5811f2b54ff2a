//! Background calls whose results go to callbacks, such as `llm.chat_async`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llmspell_core::{Callback, Context, Result, Value};
use tokio::sync::Notify;

/// The maximum time that [`BackgroundCalls::next`] waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts the background calls of one run.
#[derive(Default)]
pub(crate) struct BackgroundCalls {
    started: AtomicU64,
    ended: AtomicU64,
    /// The number of ended calls that [`BackgroundCalls::next`] has reported.
    told: AtomicU64,
    changed: Notify,
}

impl BackgroundCalls {
    /// Runs `answer` in the background and passes its result to `on_done`. An error goes to `on_error`, or without
    /// one to `on_done` after a nil. The run fails if the callback raises an error.
    pub(crate) fn start(
        cx: &Context,
        answer: impl Future<Output = Result<String>> + Send + 'static,
        on_done: Callback,
        on_error: Option<Callback>,
    ) -> u64 {
        let pending = cx.state::<Self>();
        let id = pending.started.fetch_add(1, Ordering::Relaxed) + 1;
        cx.beside(async move {
            let called = match (answer.await, on_error) {
                (Ok(text), _) => on_done.call(vec![text.into()]).await,
                (Err(error), _) if error.is_final() => Err(error),
                (Err(error), Some(on_error)) => on_error.call_with_error(Vec::new(), error).await,
                (Err(error), None) => on_done.call_with_error(vec![Value::Nil], error).await,
            };
            pending.ended.fetch_add(1, Ordering::Relaxed);
            pending.changed.notify_waiters();
            called.map(drop)
        });
        id
    }

    /// Returns the number of calls that have not ended.
    pub(crate) fn count(&self) -> u64 {
        self.started.load(Ordering::Relaxed) - self.ended.load(Ordering::Relaxed)
    }

    /// Waits briefly for a call to end, unless one has ended since the last report. Returns the number of newly ended
    /// calls.
    ///
    /// # Errors
    /// Returns an error when the run ends during the wait.
    pub(crate) async fn next(&self, cx: &Context) -> Result<u64> {
        let changed = self.changed.notified();
        if self.ended.load(Ordering::Relaxed) == self.told.load(Ordering::Relaxed) && self.count() > 0 {
            let clock = cx.clock();
            // If no call ends in time, 0 is returned.
            tokio::select! {
                biased;
                () = changed => {}
                passed = clock.sleep(PATIENCE) => passed?,
            }
        }
        let ended = self.ended.load(Ordering::Relaxed);
        Ok(ended - self.told.swap(ended, Ordering::Relaxed))
    }
}
