//! Calls that a spell does not wait for: their answers go to callbacks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llmspell_core::{Callback, Context, Result, Value};
use tokio::sync::Notify;

/// How long [`Pending::next`] waits at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts the calls of one run.
#[derive(Default)]
pub(crate) struct Pending {
    started: AtomicU64,
    ended: AtomicU64,
    /// How many of those that ended somebody has been told of.
    told: AtomicU64,
    changed: Notify,
}

impl Pending {
    /// Has `answer` worked out beside the script, and the script's function called with it. A failure goes to
    /// `on_error`, or behind nil to `on_done` when there is none; the run fails when the function does.
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

    /// How many calls have not ended.
    pub(crate) fn count(&self) -> u64 {
        self.started.load(Ordering::Relaxed) - self.ended.load(Ordering::Relaxed)
    }

    /// Waits a moment for a call to end, unless one has since somebody last asked; returns how many have.
    ///
    /// # Errors
    /// When the run ends meanwhile.
    pub(crate) async fn next(&self, cx: &Context) -> Result<u64> {
        let changed = self.changed.notified();
        if self.ended.load(Ordering::Relaxed) == self.told.load(Ordering::Relaxed) && self.count() > 0 {
            let clock = cx.clock();
            // None within that time is an answer too.
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
