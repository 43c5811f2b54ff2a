//! Sessions: an open VM on its worker thread.
//!
//! [`WorkerSession`] is a session on the worker. [`OpenSession`] is a handle to one that stays open, which evaluates
//! sources and calls functions from any thread.

use std::sync::Arc;

use futures_util::TryFutureExt;
use futures_util::future::LocalBoxFuture;
use llmspell_core::{
    Bridge, BridgeSet, Context, Error, LogLevel, Map, Outcome, Result, Session, Source, Value,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::run::{Prepared, data, outcome_now};
use crate::sink::Collector;
use crate::vm_pool::VmKey;
use crate::worker::WorkerCx;

/// A session on its worker thread, with initialized bridges.
pub(crate) struct WorkerSession {
    /// Taken when the session ends.
    session: Option<Box<dyn Session>>,
    /// Taken when the bridges are cleaned up.
    bridges: Vec<Arc<Bridge>>,
    cx: Context,
    worker_cx: WorkerCx,
    /// The key under which other runs may reuse the VM.
    shared: Option<VmKey>,
    _room: Option<OwnedSemaphorePermit>,
}

impl WorkerSession {
    /// Opens a session. Waits while the maximum number of sessions is open.
    pub(crate) async fn new(prepared: Prepared, cx: Context, worker_cx: WorkerCx) -> Result<Self> {
        let runtime = &prepared.runtime.0;
        let room = match &runtime.room {
            Some(room) => {
                let permit = Arc::clone(room).acquire_owned().map_err(|_| gone());
                Some(worker_cx.slot.drive(&cx, permit).await?)
            }
            None => None,
        };
        let bridges = prepared.bridges;
        let shared = prepared.shared.map(|source| VmKey {
            engine: Arc::clone(&prepared.engine),
            source,
            bridges: bridges.clone(),
        });
        let session = worker_cx.slot.watched(&cx, || {
            BridgeSet::initialise(&bridges, &cx)?;
            let warmed = shared.as_ref().and_then(|kind| worker_cx.vm_pool.take(kind, &cx));
            let session = match warmed {
                Some(session) => session,
                None => {
                    let session = prepared.engine.open(&bridges, cx.clone())?;
                    for function in &runtime.functions {
                        session.register(function.clone())?;
                    }
                    session
                }
            };
            session.set("params", prepared.params)?;
            Ok::<_, Error>(session)
        })?;
        Ok(Self { session: Some(session), bridges, cx, worker_cx, shared, _room: room })
    }

    /// Returns the VM to the pool, if its run allows that. Otherwise returns `self`, which the caller drops.
    pub(crate) fn retire(mut self) -> Option<Self> {
        let Some(kind) = self.shared.take() else { return Some(self) };
        if let Some(session) = self.session.take() {
            self.worker_cx.slot.watched(&self.cx, || self.worker_cx.vm_pool.keep(kind, session));
        }
        None
    }

    pub(crate) async fn eval(&self, source: &Source) -> Result<Value> {
        self.drive(self.session()?.eval(source)).await
    }

    async fn drive(&self, future: LocalBoxFuture<'_, Result<Value>>) -> Result<Value> {
        self.worker_cx.slot.drive(&self.cx, future).await
    }

    /// Cleans up the bridges, once.
    pub(crate) fn clean_up(&mut self) {
        for error in BridgeSet::clean_up(&std::mem::take(&mut self.bridges), &self.cx) {
            // The run has ended, so its log is the only place for the error. A log that is full stays as it is.
            let _ = self.cx.log(LogLevel::Error, format!("cleaning up failed: {error}"), Map::new());
        }
    }

    fn session(&self) -> Result<&dyn Session> {
        self.session.as_deref().ok_or_else(|| Error::internal("the session has ended"))
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        let session = self.session.take();
        self.worker_cx.slot.watched(&self.cx, || drop(session));
        self.clean_up();
    }
}

type SessionCommand = Box<dyn for<'a> FnOnce(&'a WorkerSession) -> LocalBoxFuture<'a, ()> + Send>;

/// An open session with a VM on its worker thread. Its limits count from its opening. Dropping it ends the session.
#[derive(Debug)]
pub struct OpenSession {
    commands: mpsc::UnboundedSender<SessionCommand>,
    cx: Context,
    said: Arc<Collector>,
}

impl OpenSession {
    pub(crate) async fn open(prepared: Prepared, cx: Context, said: Arc<Collector>) -> Result<Self> {
        let (commands, mut received) = mpsc::unbounded_channel::<SessionCommand>();
        let (sender, opened) = oneshot::channel();
        let inside = cx.clone();
        prepared.runtime.clone().0.workers.post(move |worker_cx, underway| {
            Box::pin(async move {
                let _underway = underway;
                match WorkerSession::new(prepared, inside, worker_cx).await {
                    Ok(opened) => {
                        let _ = sender.send(Ok(()));
                        while let Some(command) = received.recv().await {
                            command(&opened).await;
                        }
                    }
                    Err(error) => drop(sender.send(Err(error))),
                }
            })
        })?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { commands, cx, said })
    }

    /// Evaluates a source and returns its value.
    ///
    /// # Errors
    /// The error that the script raised, or the limit that it reached.
    pub async fn eval(&self, source: Source) -> Result<Value> {
        self.ask(move |opened| Box::pin(async move { opened.eval(&source).await.and_then(data) })).await
    }

    /// Sets a global variable.
    ///
    /// # Errors
    /// When the name belongs to a bridge, or the value cannot be converted to the language.
    pub async fn set(&self, name: &str, value: impl Into<Value>) -> Result<()> {
        let (name, value) = (name.to_owned(), value.into());
        self.ask(move |opened| Box::pin(async move { opened.session()?.set(&name, value) })).await
    }

    /// Returns the value of a global variable; nil if it does not exist.
    ///
    /// # Errors
    /// When the value is not data.
    pub async fn get(&self, name: &str) -> Result<Value> {
        let name = name.to_owned();
        self.ask(move |opened| Box::pin(async move { opened.session()?.get(&name).and_then(data) })).await
    }

    /// Calls a global function.
    ///
    /// # Errors
    /// When the function does not exist, or the error that it raised.
    pub async fn call(&self, name: &str, arguments: Vec<Value>) -> Result<Value> {
        let name = name.to_owned();
        self.ask(move |opened| {
            Box::pin(
                async move { opened.drive(opened.session()?.call(&name, arguments)).await.and_then(data) },
            )
        })
        .await
    }

    /// Ends the session and returns its outcome with this value, the output, the logs and the usage.
    #[must_use]
    pub fn finish(self, value: Value) -> Outcome {
        outcome_now(&self.cx, &self.said, Ok(value))
    }

    /// Cancels the session. It cannot be used afterwards.
    pub fn cancel(&self) {
        self.cx.cancel();
    }

    async fn ask<T: Send + 'static>(
        &self,
        command: impl for<'a> FnOnce(&'a WorkerSession) -> LocalBoxFuture<'a, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = oneshot::channel();
        let command: SessionCommand = Box::new(move |opened| {
            Box::pin(async move {
                // Sending fails if nobody waits for the answer.
                let _ = sender.send(command(opened).await);
            })
        });
        self.commands.send(command).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.cx.cancel();
    }
}

fn gone() -> Error {
    Error::internal("the session's worker is gone")
}
