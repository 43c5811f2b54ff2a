//! The scheduler of a Luau session: one future that runs a script and everything the script starts.
//!
//! [`LuauRun`] drives four kinds of work on the VM's own thread. It spawns nothing, so dropping it stops all of them:
//!
//! - the script itself;
//! - tasks of promises: coroutines that `promise.luau` started and that now wait (`LuauRunState::adopted`);
//! - callbacks: script functions that the host calls, from any thread (see `callbacks.rs`);
//! - background work of the host (`Context::beside`), such as a model call whose answer goes to a callback.
//!
//! ```luau
//! local one = promise.spawn(llm.chat, "one") -- runs until its request is on the way; the rest is a task
//! local two = promise.spawn(llm.chat, "two")
//! return one:await() .. two:await()          -- the script waits, and the two tasks run
//! ```
//!
//! # Order
//!
//! Each poll repeats [`LuauRun::step`] until nothing makes progress:
//!
//! 1. Handlers of promises run, from one queue and before all tasks.
//! 2. Every woken task runs until it waits or ends. Handlers that became due run after each of them.
//! 3. Background work is polled, and new callbacks and tasks are taken in.
//! 4. If nothing was woken meanwhile, the answer sequencer of core (`Context::next_turn`) delivers one answer of the
//!    host. The script thus sees answers one at a time, in an order that a replay can repeat.
//!
//! When the interrupt stops a task in the middle of its work (`LuauRunState::stopped`), no other task and no background
//! work of the session runs until that task goes on. They would see half of what it does.
//!
//! # End
//!
//! The run ends when the script has returned and its tasks, callbacks and background work have ended. When the script
//! returns, promises that lost a race and that nobody else waits for are cancelled. If all tasks that are left wait for
//! each other, nothing can wake them. The run then ends too, with an error if the script itself is one of them. An
//! error of the script ends the run at once.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker, ready};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use llmspell_core::callback::CallbackCall;
use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua};
use tokio::sync::oneshot;

use super::promise;
use super::task::CoroutineTask;
use super::vm_state::LuauVmState;
use crate::wake::{TaskGuard, TrackingWaker};

/// Who started a task, and where its result goes.
enum Purpose {
    /// The script itself.
    Script,
    /// A function that the host called. The sender returns its result to the host.
    Callback(Option<oneshot::Sender<Result<Value>>>),
    /// The task of a promise. It settles the promise inside the VM.
    Promise,
}

struct RunningTask {
    task: CoroutineTask,
    purpose: Purpose,
    /// Counts the task against the `tasks` limit. The script itself is not counted.
    _alive: Option<TaskGuard>,
}

/// How a task ended.
enum TaskEnd {
    Script(Result<Value>),
    /// An error here ends the run, for example a limit that was reached.
    Other(Result<()>),
}

impl Future for RunningTask {
    type Output = TaskEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<TaskEnd> {
        let this = &mut *self;
        if let Purpose::Callback(Some(reply)) = &mut this.purpose
            && reply.poll_closed(cx).is_ready()
        {
            return Poll::Ready(TaskEnd::Other(Ok(())));
        }
        let left = ready!(Pin::new(&mut this.task).poll(cx));
        Poll::Ready(match &mut this.purpose {
            Purpose::Script => TaskEnd::Script(left.and_then(|left| this.task.result(left, "the result"))),
            Purpose::Callback(reply) => {
                let result = left.and_then(|left| this.task.result(left, "the result of the callback"));
                if let Some(reply) = reply.take() {
                    // Sending fails only when the caller has stopped waiting.
                    let _ = reply.send(result);
                }
                TaskEnd::Other(Ok(()))
            }
            Purpose::Promise => TaskEnd::Other(left.map(drop)),
        })
    }
}

/// A running script with its tasks, callbacks and background work.
///
/// The future resolves to the script's return value after everything the script started has ended. It resolves to an
/// error as soon as the script fails or the run is stopped.
pub(super) struct LuauRun {
    host: Rc<LuauVmState>,
    lua: Lua,
    /// The coroutine that runs due promise handlers. It goes before all tasks.
    jobs: Option<CoroutineTask>,
    tasks: FuturesUnordered<RunningTask>,
    /// Background work of the host.
    beside: FuturesUnordered<BoxFuture<'static, Result<()>>>,
    /// The script's return value, once it has returned.
    returned: Option<Value>,
    alarm: Arc<TrackingWaker>,
}

impl LuauRun {
    pub(super) fn new(
        host: &Rc<LuauVmState>,
        lua: &Lua,
        function: Function,
        arguments: Vec<Value>,
    ) -> Result<Self> {
        let script = CoroutineTask::call(
            host,
            lua,
            host.begin_scope(host.run().cx.clone()),
            function,
            None,
            arguments,
            None,
        )?;
        host.run().cx.take_turns();
        let tasks = FuturesUnordered::new();
        tasks.push(RunningTask { task: script, purpose: Purpose::Script, _alive: None });
        Ok(Self {
            host: Rc::clone(host),
            lua: lua.clone(),
            jobs: None,
            tasks,
            beside: FuturesUnordered::new(),
            returned: None,
            alarm: Arc::default(),
        })
    }

    /// Takes in the callbacks, tasks and background work that were started since the last call. Returns whether there
    /// were any tasks or background work.
    fn take_in(&mut self) -> Result<bool> {
        let before = self.tasks.len() + self.beside.len();
        while let Some((call, reply)) = self.host.run().callbacks.next() {
            match self.callback(call) {
                Ok((task, alive)) => self.tasks.push(RunningTask {
                    task,
                    purpose: Purpose::Callback(Some(reply)),
                    _alive: Some(alive),
                }),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        for (scope, thread) in self.host.run().adopted.take() {
            let task = CoroutineTask::adopt(&self.host, &self.lua, scope, thread);
            let alive = Some(TaskGuard::new(&self.host.run().cx)?);
            self.tasks.push(RunningTask { task, purpose: Purpose::Promise, _alive: alive });
        }
        self.beside.extend(self.host.run().cx.take_beside());
        Ok(self.tasks.len() + self.beside.len() > before)
    }

    fn callback(&self, mut call: CallbackCall) -> Result<(CoroutineTask, TaskGuard)> {
        let within = call.take_context();
        let CallbackCall { number, arguments, failure, as_method, .. } = call;
        let held = self
            .host
            .run()
            .callbacks
            .function(number)
            .ok_or_else(|| Error::internal("a callback was called after its release"))?;
        let alive = TaskGuard::new(&self.host.run().cx)?;
        let scope = self.host.begin_scope(within.unwrap_or(held.cx));
        let owner = held.owner.filter(|_| as_method);
        Ok((
            CoroutineTask::call(&self.host, &self.lua, scope, held.function, owner, arguments, failure)?,
            alive,
        ))
    }

    /// Runs the queued handlers of promises. Returns whether the queue was emptied at least once.
    fn run_jobs(&mut self, cx: &mut TaskContext<'_>) -> Result<bool> {
        let mut any = false;
        loop {
            let jobs = match &mut self.jobs {
                Some(jobs) => jobs,
                None if self.host.run().has_jobs.take() => {
                    self.jobs.insert(CoroutineTask::jobs(&self.host, &self.lua)?)
                }
                None => return Ok(any),
            };
            // Handlers wait only after the interrupt stopped a coroutine. That one may go on only in a later poll, so
            // pending handlers do not count as progress.
            match Pin::new(jobs).poll(cx) {
                Poll::Ready(result) => drop(result?),
                Poll::Pending => return Ok(any),
            }
            any = true;
            self.jobs = None;
        }
    }

    /// Polls handlers, tasks and background work once. Returns whether another step may make progress.
    fn step(&mut self, cx: &mut TaskContext<'_>) -> Result<bool> {
        let mut progress = self.run_jobs(cx)?;
        while let Poll::Ready(Some(end)) = self.tasks.poll_next_unpin(cx) {
            progress = true;
            match end {
                TaskEnd::Script(result) => {
                    self.returned = Some(result?);
                    promise::cancel_abandoned(&self.host)?;
                }
                TaskEnd::Other(result) => result?,
            }
            self.run_jobs(cx)?;
        }
        // Background work must not see the half-done work of a task that the interrupt stopped.
        while self.host.run().stopped.get().is_none()
            && let Poll::Ready(Some(result)) = self.beside.poll_next_unpin(cx)
        {
            progress = true;
            result?;
        }
        // The background work may have queued more handlers.
        let due = self.host.run().has_jobs.get() && self.host.run().stopped.get().is_none();
        Ok(progress | self.take_in()? | due)
    }

    /// Returns whether every task that is left waits for another task, so that no answer of the host can wake one. This
    /// holds too when no task is left.
    fn is_stuck(&self) -> bool {
        self.jobs.is_none()
            && !self.host.run().has_jobs.get()
            && self.beside.is_empty()
            && self.host.run().stopped.get().is_none()
            && self.tasks.iter().all(|running| running.task.waits_for_the_script())
    }

    /// Returns the result of a run that [is stuck](Self::is_stuck): the script's value, or an error when a rejection
    /// was not handled or the script never returned.
    fn end(&mut self) -> Result<Value> {
        if let Some(error) = promise::unhandled(&self.host)? {
            return Err(error);
        }
        self.returned.take().ok_or_else(|| {
            Error::runtime("the script waits for a promise that nothing is going to settle")
                .hint("a promise made by `promise.new` is settled by its `resolve` or `reject`")
        })
    }
}

impl Future for LuauRun {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let alarm = Arc::clone(&self.alarm);
        alarm.begin(cx.waker());
        let waker = Waker::from(Arc::clone(&alarm));
        let cx = &mut TaskContext::from_waker(&waker);
        self.host.run().callbacks.open(cx.waker());
        loop {
            alarm.reset();
            match self.step(cx) {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(true) => {}
                Ok(false) if self.is_stuck() => return Poll::Ready(self.end()),
                // A task that was woken meanwhile runs before the next answer is delivered.
                Ok(false) if alarm.rang() => return Poll::Pending,
                Ok(false) if self.host.run().stopped.get().is_some() => return Poll::Pending,
                // Some tasks gave way to a stopped one and were not polled since. They may still have work to do.
                Ok(false) if self.host.run().behind.get() > 0 => return Poll::Pending,
                Ok(false) if self.host.run().cx.next_turn() => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }
}

impl Drop for LuauRun {
    fn drop(&mut self) {
        self.jobs = None;
        self.tasks.clear();
        self.beside.clear();
        self.host.run().callbacks.close();
        self.host.run().adopted.take();
        self.host.run().has_jobs.set(false);
        drop(self.host.run().cx.take_beside());
    }
}
