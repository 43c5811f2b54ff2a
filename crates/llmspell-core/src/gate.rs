//! The gate: every effect passes through it.
//!
//! An effect is one use of a capability: a model call, a request, a file access, a look at the clock. A bridge calls a
//! gated view, such as [`GatedModels`]. The view checks the permission. The gate then
//! performs these steps in order:
//!
//! 1. It checks that the run may still act: the run is not cancelled, and no limit is reached.
//! 2. It numbers the effect within its task. Task and number are the effect's [path](crate::effect::EffectPath).
//! 3. It asks the journal. If the journal has the answer, the gate returns it and the effect does not happen. A large
//!    answer is read from the journal only when the script receives it.
//! 4. If the effect is not idempotent, it waits until the record of the start is durable (write-ahead).
//! 5. It performs the effect with a [`Permit`], which only this module makes. Cancelling the run cancels the effect.
//! 6. It gives the answer the next sequence number and records it. The script receives the answer when the answer
//!    sequencer (`sequencer.rs`) releases it, and not before its record is durable.
//!
//! For `llm.chat("hi")`, the second call of a script, these cases are possible:
//!
//! | the journal has | the gate | the model is called |
//! |---|---|---|
//! | nothing about `main#2` | records the reply under `main#2` and returns it | yes |
//! | the reply of `main#2` | returns the recorded reply | no |
//! | another request under `main#2` | fails with kind `replay` and names the first difference | no |
//! | a start of `main#2` without an end | depends on the journal: a resumed run decides, a replay fails | if repeated |
//!
//! A streamed answer (`Chunks`) passes steps 1 to 5 once, and step 6 with each chunk. Chunks are recorded as they
//! arrive. A crash loses at most the chunks that no later durable record depends on.
//!
//! # What the gate does not do
//!
//! It does not retry, cache or charge model calls: the client and the gated views do. It does not know any capability.
//! If the journal fails, or a replay differs from its recording, the gate ends the run
//! ([`Context::broken`]): an unrecorded effect could not be resumed.

mod clock;
mod console;
mod extension;
mod files;
mod models;
mod net;
mod storage;

use std::pin::Pin;
use std::task::{self, Poll, ready};

use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commit::CommitPoint;
use crate::context::Context;
use crate::convert::{from_value, to_value};
use crate::effect::{Answer, Effect, EffectRequest, EffectResult, EntryId, Lookup, Permit, StoredAnswer};
use crate::error::{Error, ErrorKind, Result};
use crate::recorded_stream::{StreamEnd, StreamRecord};
use crate::sequencer::Ticket;
use crate::value::Value;

pub use self::clock::{GatedClock, GatedRandom};
pub use self::console::{GatedConsole, GatedProgress};
pub use self::extension::GatedExtension;
pub use self::files::GatedFiles;
pub(crate) use self::models::settle;
pub use self::models::{GatedModels, ReplyStream};
pub use self::net::{GatedNet, HttpStream};
pub use self::storage::GatedStorage;

impl Context {
    /// Passes an effect through the gate and waits for its answer.
    pub(crate) async fn gate<T, F>(&self, ask: EffectRequest, live: impl FnOnce(Permit) -> F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => {
                self.release(self.sequencer().wait(end.order)).await?;
                from_value(end.answer?)
            }
            (Lookup::Stored { order, answer }, _) => {
                self.release(self.sequencer().wait(order)).await?;
                from_value(self.read(answer)??)
            }
            (Lookup::NeverEnded, permit) => Err(self.never_ended(&permit).await),
            (Lookup::Live { entry, start, .. }, permit) => {
                self.durable(start).await?;
                let result = self.until_cancelled(live(permit)).await;
                if let Some(turn) = self.finish(entry, &result)? {
                    self.release(turn).await?;
                }
                result
            }
        }
    }

    /// Passes an effect that never waits, such as a look at the clock. Such an effect is always idempotent.
    pub(crate) fn gate_now<T>(&self, ask: EffectRequest, live: impl FnOnce(Permit) -> Result<T>) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => from_value(end.answer?),
            (Lookup::Stored { answer, .. }, _) => from_value(self.read(answer)??),
            (Lookup::NeverEnded, permit) => Err(self.break_off(beyond_the_end(&permit))),
            (Lookup::Live { entry, .. }, permit) => {
                let result = live(permit);
                self.finish(entry, &result)?;
                result
            }
        }
    }

    pub(crate) fn begin(&self, ask: EffectRequest) -> Result<(Lookup, Permit)> {
        self.meter().state()?;
        self.check_journal()?;
        let path = self.task().next_effect();
        let permit = Permit::new(&self.spell().run_id, path.clone(), self.meter().deadline());
        let lookup = self.journal().begin(Effect { path, ask }).map_err(|error| self.break_off(error))?;
        Ok((lookup, permit))
    }

    /// Reads a recorded answer.
    ///
    /// # Errors
    /// When it cannot be read, which ends the run.
    pub(crate) fn read(&self, answer: StoredAnswer) -> Result<Answer> {
        answer.read().map_err(|error| self.break_off(error))
    }

    async fn until_cancelled<T>(&self, live: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancellation().run_until_cancelled(live).await.unwrap_or_else(|| Err(Error::cancelled()))
    }

    /// Records the answer of an effect. Returns the wait until the script may have the answer, or `None` if nothing is
    /// recorded. An effect that the end of the run interrupted has no answer: a resumed run performs it again.
    pub(crate) fn finish<T: Serialize>(&self, entry: EntryId, result: &Result<T>) -> Result<Option<Ticket>> {
        if !self.journal().keeps() {
            return Ok(None);
        }
        let answer = match result {
            Ok(value) => Ok(to_value(value)?),
            Err(error) if error.is_final() => return Ok(None),
            Err(error) => Err(error.clone()),
        };
        let order = self.sequencer().draw();
        let point = self.record(entry, order, answer)?;
        Ok(Some(self.sequencer().wait_committed(order, point)))
    }

    fn record(&self, entry: EntryId, order: u64, answer: Result<Value>) -> Result<CommitPoint> {
        let end = EffectResult { order, said: self.said(), answer };
        self.journal().finish(entry, end).map_err(|error| self.break_off(error))
    }

    /// Waits until a record is durable.
    ///
    /// # Errors
    /// When the journal cannot be written, which ends the run.
    pub(crate) async fn durable(&self, point: CommitPoint) -> Result<()> {
        match self.sequencer().commits() {
            Some(commits) => {
                self.until_cancelled(commits.reached(point)).await.map_err(|error| match error.is_final() {
                    true => error,
                    false => self.break_off(error),
                })
            }
            None => Ok(()),
        }
    }

    /// Waits until the sequencer releases an answer.
    ///
    /// # Errors
    /// When the journal cannot be written, which ends the run.
    pub(crate) async fn release(&self, turn: Ticket) -> Result<()> {
        turn.await;
        self.check_journal()
    }

    /// Ends the run if the journal's writer has failed, because further effects would not be recorded.
    fn check_journal(&self) -> Result<()> {
        match self.sequencer().commits().and_then(|commits| commits.failure()) {
            Some(error) => Err(self.break_off(error.clone())),
            None => Ok(()),
        }
    }

    async fn never_ended(&self, permit: &Permit) -> Error {
        self.sequencer().wait_for_the_end().await;
        self.break_off(beyond_the_end(permit))
    }
}

fn beyond_the_end(permit: &Permit) -> Error {
    let message = format!("the recorded run ended before {} did", permit.path());
    Error::new(ErrorKind::Replay, message).hint("record it anew with `--record`")
}

/// A chunk of a streamed answer.
pub(crate) trait Chunk: Serialize + DeserializeOwned + Send + Unpin + 'static {
    /// Returns whether this chunk completes the answer.
    fn is_last(&self) -> bool;
}

/// A chunk, or `None` for the end of the stream.
type Item<C> = Option<Result<C>>;

/// The source of the chunks.
enum ChunkSource<C> {
    /// The outside world. Each chunk gets its sequence number when it arrives.
    Live(BoxStream<'static, Result<C>>),
    /// The journal, with the recorded sequence numbers. An item without a number is new and gets the next one.
    Recorded(BoxStream<'static, (Option<u64>, Item<C>)>),
    /// Closed: no further chunks are expected.
    Closed,
}

/// A streamed answer behind the gate. It is complete if it ends without an error. Dropping it ends the effect with the
/// chunks that have arrived.
pub(crate) struct Chunks<C: Chunk> {
    cx: Context,
    source: ChunkSource<C>,
    /// The item that has arrived and waits for its release.
    next: Option<(Ticket, Item<C>)>,
    /// The entry to record into. `None` if the answer comes from the journal, its end is recorded, or nothing is
    /// stored.
    entry: Option<EntryId>,
    ended: bool,
}

impl<C: Chunk> Chunks<C> {
    /// Passes a streamed answer through the gate. Returns its head, such as the head of an HTTP response, and the
    /// chunks.
    pub(crate) async fn open<H, F>(
        cx: &Context,
        ask: EffectRequest,
        live: impl FnOnce(Permit) -> F,
    ) -> Result<(H, Self)>
    where
        H: Serialize + DeserializeOwned,
        F: Future<Output = Result<(H, BoxStream<'static, Result<C>>)>>,
    {
        let sequencer = cx.sequencer();
        let new = |source, entry| Self { cx: cx.clone(), source, next: None, entry, ended: false };
        match cx.begin(ask)? {
            (Lookup::Recorded(end), permit) => Self::recorded(cx, end.order, end.answer, permit).await,
            // The place of the stream in the order is part of the answer.
            (Lookup::Stored { order, answer }, permit) => {
                Self::recorded(cx, order, cx.read(answer)?, permit).await
            }
            (Lookup::NeverEnded, permit) => Err(cx.never_ended(&permit).await),
            (Lookup::Live { entry, arrived: Some(arrived), .. }, _) => {
                let StreamRecord { head, opened, chunks, .. } = from_value::<StreamRecord<H, C>>(arrived)?;
                cx.release(sequencer.wait(opened)).await?;
                // The error gets its number later: effects that the script started after the last chunk may still have
                // to happen, and they precede the error.
                let end = stream::iter([(None, Some(Err(interrupted())))]);
                let source = ChunkSource::Recorded(recorded(chunks).chain(end).boxed());
                Ok((head, new(source, Some(entry))))
            }
            (Lookup::Live { entry, start, arrived: None }, permit) => {
                cx.durable(start).await?;
                match cx.until_cancelled(live(permit)).await {
                    Ok((head, chunks)) => {
                        let (keeps, opened) = (cx.journal().keeps(), sequencer.draw());
                        if keeps {
                            cx.part(entry, opened, &head)?;
                        }
                        cx.release(sequencer.wait(opened)).await?;
                        Ok((head, new(ChunkSource::Live(chunks), keeps.then_some(entry))))
                    }
                    Err(error) => {
                        if let Some(turn) = cx.finish::<()>(entry, &Err(error.clone()))? {
                            cx.release(turn).await?;
                        }
                        Err(error)
                    }
                }
            }
        }
    }

    /// Opens a recorded stream.
    async fn recorded<H: DeserializeOwned>(
        cx: &Context,
        order: u64,
        answer: Answer,
        permit: Permit,
    ) -> Result<(H, Self)> {
        let sequencer = cx.sequencer();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                cx.release(sequencer.wait(order)).await?;
                return Err(error);
            }
        };
        let StreamRecord { head, opened, chunks, end } = from_value::<StreamRecord<H, C>>(answer)?;
        cx.release(sequencer.wait(opened)).await?;
        let waiting = cx.clone();
        let end = stream::once(async move {
            match end {
                Some((order, error)) => (Some(order), error.map(Err)),
                None => (Some(0), Some(Err(waiting.never_ended(&permit).await))),
            }
        });
        let source = ChunkSource::Recorded(recorded(chunks).chain(end).boxed());
        Ok((head, Self { cx: cx.clone(), source, next: None, entry: None, ended: false }))
    }

    /// Returns the next chunk; `None` at the end and after an error.
    pub(crate) fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Option<Result<C>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (turn, _) = match &mut self.next {
            Some(next) => next,
            None => match ready!(self.arrive(task)) {
                Ok(next) => self.next.insert(next),
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            },
        };
        ready!(Pin::new(turn).poll(task));
        let item = self.next.take().and_then(|(_, item)| item);
        self.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(match self.cx.check_journal() {
            Ok(()) => item,
            Err(error) => Some(Err(error)),
        })
    }

    /// Receives the next item and records it.
    fn arrive(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(Ticket, Item<C>)>> {
        let (recorded, item) = match &mut self.source {
            ChunkSource::Live(chunks) => (None, ready!(chunks.poll_next_unpin(task))),
            ChunkSource::Recorded(items) => ready!(items.poll_next_unpin(task)).unwrap_or((Some(0), None)),
            ChunkSource::Closed => (Some(0), None),
        };
        let order = recorded.unwrap_or_else(|| self.cx.sequencer().draw());
        let point = match (&item, self.entry.filter(|_| recorded.is_none())) {
            (_, None) => Ok(CommitPoint::REACHED),
            (Some(Ok(chunk)), Some(entry)) => {
                let is_last = chunk.is_last();
                self.cx.part(entry, order, chunk).and_then(|()| match is_last {
                    true => self.end(order, None),
                    false => Ok(CommitPoint::REACHED),
                })
            }
            (Some(Err(error)), _) => self.end(order, Some((order, Some(error.clone())))),
            (None, _) => self.end(order, Some((order, None))),
        };
        Poll::Ready(point.map(|point| (self.cx.sequencer().wait_committed(order, point), item)))
    }

    /// Ends the effect without waiting for further chunks.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.ended = true;
        self.next = None;
        self.source = ChunkSource::Closed;
        match self.entry {
            Some(_) => self.end(self.cx.sequencer().draw(), None).map(drop),
            None => Ok(()),
        }
    }

    /// Records the end of the stream, at most once.
    fn end(&mut self, order: u64, end: Option<(u64, Option<Error>)>) -> Result<CommitPoint> {
        let Some(entry) = self.entry.take() else { return Ok(CommitPoint::REACHED) };
        // A stream that the end of the run interrupted has no end.
        let is_cut_off = matches!(&end, Some((_, Some(error))) if error.is_final());
        if is_cut_off || self.cx.meter().state().is_err() {
            return Ok(CommitPoint::REACHED);
        }
        self.cx.record(entry, order, Ok(to_value(&StreamEnd { end })?))
    }
}

/// Returns the recorded chunks with their sequence numbers.
fn recorded<C: Chunk>(
    chunks: Vec<(u64, C)>,
) -> impl stream::Stream<Item = (Option<u64>, Item<C>)> + Send + 'static {
    stream::iter(chunks).map(|(order, chunk)| (Some(order), Some(Ok(chunk))))
}

fn interrupted() -> Error {
    let message = "the run died while this answer arrived; what had arrived was delivered again";
    Error::new(ErrorKind::StreamInterrupted, message)
        .hint("`llmspell runs resume` asks for the whole answer again")
}

impl Context {
    fn part(&self, entry: EntryId, order: u64, part: &impl Serialize) -> Result<()> {
        self.journal().part(entry, order, to_value(part)?).map_err(|error| self.break_off(error))
    }
}

impl<C: Chunk> Drop for Chunks<C> {
    fn drop(&mut self) {
        // If the journal cannot be written, the next effect reports it.
        let _ = self.close();
    }
}
