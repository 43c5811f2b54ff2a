//! Runs a script with all that it starts: callbacks that the host calls, the tasks of promises, and what the host does
//! beside it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker, ready};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use llmspell_core::callback::Call;
use llmspell_core::{Error, Result, Value};
use mlua::{Function, Lua};
use tokio::sync::oneshot;

use super::host::Host;
use super::promise;
use super::task::Task;
use crate::wake::{Alarm, Alive};

/// What a task is for.
enum Purpose {
    /// It is the script itself.
    Script,
    /// The host called a function and waits for its result.
    Callback(Option<oneshot::Sender<Result<Value>>>),
    /// A promise, which it settles by itself.
    Promise,
}

struct Running {
    task: Task,
    purpose: Purpose,
    /// The script itself is not counted.
    _alive: Option<Alive>,
}

/// How a task ended.
enum End {
    Script(Result<Value>),
    /// It is an error when the run is over.
    Other(Result<()>),
}

impl Future for Running {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        let this = &mut *self;
        if let Purpose::Callback(Some(reply)) = &mut this.purpose
            && reply.poll_closed(cx).is_ready()
        {
            return Poll::Ready(End::Other(Ok(())));
        }
        let left = ready!(Pin::new(&mut this.task).poll(cx));
        Poll::Ready(match &mut this.purpose {
            Purpose::Script => End::Script(left.and_then(|left| this.task.result(left, "the result"))),
            Purpose::Callback(reply) => {
                let result = left.and_then(|left| this.task.result(left, "the result of the callback"));
                if let Some(reply) = reply.take() {
                    // Nobody waits for it any more when this fails.
                    let _ = reply.send(result);
                }
                End::Other(Ok(()))
            }
            Purpose::Promise => End::Other(left.map(drop)),
        })
    }
}

/// A script under way. It ends with what the script returned when all that it started has ended too, and at once with
/// what went wrong.
pub(super) struct Run {
    host: Rc<Host>,
    lua: Lua,
    /// Handlers of promises at work. They go before all tasks.
    jobs: Option<Task>,
    tasks: FuturesUnordered<Running>,
    /// What the host does for the script beside it.
    beside: FuturesUnordered<BoxFuture<'static, Result<()>>>,
    returned: Option<Value>,
    alarm: Arc<Alarm>,
}

impl Run {
    pub(super) fn new(host: &Rc<Host>, lua: &Lua, function: Function, arguments: Vec<Value>) -> Result<Self> {
        let script =
            Task::call(host, lua, host.begin_scope(host.run().cx.clone()), function, None, arguments, None)?;
        host.run().cx.take_turns();
        let tasks = FuturesUnordered::new();
        tasks.push(Running { task: script, purpose: Purpose::Script, _alive: None });
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

    /// Takes in what was started since the last look; says whether there was anything.
    fn take_in(&mut self) -> Result<bool> {
        let before = self.tasks.len() + self.beside.len();
        while let Some((call, reply)) = self.host.run().callbacks.next() {
            match self.callback(call) {
                Ok((task, alive)) => self.tasks.push(Running {
                    task,
                    purpose: Purpose::Callback(Some(reply)),
                    _alive: Some(alive),
                }),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        for (scope, thread) in self.host.run().adopted.take() {
            let task = Task::adopt(&self.host, &self.lua, scope, thread);
            let alive = Some(Alive::new(&self.host.run().cx)?);
            self.tasks.push(Running { task, purpose: Purpose::Promise, _alive: alive });
        }
        self.beside.extend(self.host.run().cx.take_beside());
        Ok(self.tasks.len() + self.beside.len() > before)
    }

    fn callback(&self, call: Call) -> Result<(Task, Alive)> {
        let Call { number, arguments, failure, within, as_method } = call;
        let held = self
            .host
            .run()
            .callbacks
            .function(number)
            .ok_or_else(|| Error::internal("a callback was called after its release"))?;
        let alive = Alive::new(&self.host.run().cx)?;
        let scope = self.host.begin_scope(within.unwrap_or(held.cx));
        let owner = held.owner.filter(|_| as_method);
        Ok((Task::call(&self.host, &self.lua, scope, held.function, owner, arguments, failure)?, alive))
    }

    /// Runs what promises have queued; says whether any of it came to an end.
    fn run_jobs(&mut self, cx: &mut TaskContext<'_>) -> Result<bool> {
        let mut any = false;
        loop {
            let jobs = match &mut self.jobs {
                Some(jobs) => jobs,
                None if self.host.run().has_jobs.take() => {
                    self.jobs.insert(Task::jobs(&self.host, &self.lua)?)
                }
                None => return Ok(any),
            };
            // Handlers that have to wait are no reason to look again: whom they wait for may get its turn only when this
            // poll has ended.
            match Pin::new(jobs).poll(cx) {
                Poll::Ready(result) => drop(result?),
                Poll::Pending => return Ok(any),
            }
            any = true;
            self.jobs = None;
        }
    }

    /// Lets each have its turn; says whether there is reason to look again.
    fn step(&mut self, cx: &mut TaskContext<'_>) -> Result<bool> {
        let mut progress = self.run_jobs(cx)?;
        while let Poll::Ready(Some(end)) = self.tasks.poll_next_unpin(cx) {
            progress = true;
            match end {
                End::Script(result) => {
                    self.returned = Some(result?);
                    promise::cancel_abandoned(&self.host)?;
                }
                End::Other(result) => result?,
            }
            self.run_jobs(cx)?;
        }
        // What the host does beside a script must not see half of what that does.
        while self.host.run().stopped.get().is_none()
            && let Poll::Ready(Some(result)) = self.beside.poll_next_unpin(cx)
        {
            progress = true;
            result?;
        }
        // What was just at work may have started more.
        let due = self.host.run().has_jobs.get() && self.host.run().stopped.get().is_none();
        Ok(progress | self.take_in()? | due)
    }

    /// Whether nothing that the host could bring would wake any of the tasks.
    fn is_stuck(&self) -> bool {
        self.jobs.is_none()
            && !self.host.run().has_jobs.get()
            && self.beside.is_empty()
            && self.host.run().stopped.get().is_none()
            && self.tasks.iter().all(|running| running.task.waits_for_the_script())
    }

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

impl Future for Run {
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
                // Whoever was woken meanwhile has his turn before another answer comes in.
                Ok(false) if alarm.rang() => return Poll::Pending,
                Ok(false) if self.host.run().stopped.get().is_some() => return Poll::Pending,
                // Who let it go first has not been polled since, and may be at work as soon as he is.
                Ok(false) if self.host.run().behind.get() > 0 => return Poll::Pending,
                Ok(false) if self.host.run().cx.next_turn() => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }
}

impl Drop for Run {
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
