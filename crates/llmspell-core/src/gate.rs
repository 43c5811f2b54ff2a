//! The gate: every effect passes here.
//!
//! An effect is one touch of the world: a model call, a request, a file, the clock. The capability's own gated view has
//! checked its permission. Then, in this order:
//!
//! 1. The run may still act: it is not cancelled and no limit is reached.
//! 2. The effect gets its number, which with its task is its [path](crate::effect::EffectPath).
//! 3. The journal is asked. If it has an answer, that is the answer, and the world is left alone.
//! 4. If the effect is not idempotent, its start is made durable before it happens (write-ahead).
//! 5. It happens, by a [`Permit`] that only this module makes.
//! 6. Its answer draws its place in the order of all answers and is recorded. It reaches the script when it is its
//!    [turn](crate::turn) and its record is durable.
//!
//! An answer that arrives in parts ([`Chunks`]) passes steps 1 to 5 once and step 6 with each part. Parts are recorded
//! as they arrive, and a crash loses at most those that no later record depends on.

use std::pin::Pin;
use std::task::{self, Poll, ready};

use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commit::CommitPoint;
use crate::context::Context;
use crate::convert::{from_value, to_value};
use crate::effect::{Ask, Effect, End, EntryId, Lookup, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::stream_record::{StreamEnd, StreamRecord};
use crate::turn::Turn;

impl Context {
    /// The gate for an effect that waits for its answer.
    pub(crate) async fn gate<T, F>(&self, ask: Ask, live: impl FnOnce(Permit) -> F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => {
                self.release(self.turns().wait(end.order)).await?;
                from_value(end.answer?)
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

    /// The gate for an effect that does not wait, such as a look at the clock. It is always repeatable.
    pub(crate) fn gate_now<T>(&self, ask: Ask, live: impl FnOnce(Permit) -> Result<T>) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => from_value(end.answer?),
            (Lookup::NeverEnded, permit) => Err(self.break_off(beyond_the_end(&permit))),
            (Lookup::Live { entry, .. }, permit) => {
                let result = live(permit);
                self.finish(entry, &result)?;
                result
            }
        }
    }

    pub(crate) fn begin(&self, ask: Ask) -> Result<(Lookup, Permit)> {
        self.meter().state()?;
        self.check_journal()?;
        let path = self.task().next_effect();
        let permit = Permit::new(&self.spell().run_id, path.clone(), self.meter().deadline());
        let lookup = self.journal().begin(Effect { path, ask }).map_err(|error| self.break_off(error))?;
        Ok((lookup, permit))
    }

    async fn until_cancelled<T>(&self, live: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancellation().run_until_cancelled(live).await.unwrap_or_else(|| Err(Error::cancelled()))
    }

    /// Records the answer of an effect, and returns the wait until the script may have it. What the end of the run cut
    /// off has no answer: a run that is resumed does it again.
    pub(crate) fn finish<T: Serialize>(&self, entry: EntryId, result: &Result<T>) -> Result<Option<Turn>> {
        if !self.journal().keeps() {
            return Ok(None);
        }
        let answer = match result {
            Ok(value) => Ok(to_value(value)?),
            Err(error) if error.is_final() => return Ok(None),
            Err(error) => Err(error.clone()),
        };
        let order = self.turns().draw();
        let point = self.record(entry, order, answer)?;
        Ok(Some(self.turns().wait_committed(order, point)))
    }

    fn record(&self, entry: EntryId, order: u64, answer: Result<crate::Value>) -> Result<CommitPoint> {
        let end = End { order, said: self.said(), answer };
        self.journal().finish(entry, end).map_err(|error| self.break_off(error))
    }

    /// Waits until a record is durable.
    ///
    /// # Errors
    /// When the journal cannot be written, which ends the run.
    pub(crate) async fn durable(&self, point: CommitPoint) -> Result<()> {
        match self.turns().commits() {
            Some(commits) => {
                self.until_cancelled(commits.reached(point)).await.map_err(|error| match error.is_final() {
                    true => error,
                    false => self.break_off(error),
                })
            }
            None => Ok(()),
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When the journal cannot be written, which ends the run.
    pub(crate) async fn release(&self, turn: Turn) -> Result<()> {
        turn.await;
        self.check_journal()
    }

    /// Ends the run when its journal's writer has failed: nothing that it does now would be recorded.
    fn check_journal(&self) -> Result<()> {
        match self.turns().commits().and_then(|commits| commits.failure()) {
            Some(error) => Err(self.break_off(error.clone())),
            None => Ok(()),
        }
    }

    async fn never_ended(&self, permit: &Permit) -> Error {
        self.turns().wait_for_the_end().await;
        self.break_off(beyond_the_end(permit))
    }
}

fn beyond_the_end(permit: &Permit) -> Error {
    let message = format!("the recorded run ended before {} did", permit.path());
    Error::new(ErrorKind::Replay, message).hint("record it anew with `--record`")
}

/// A part of an answer that arrives in parts.
pub(crate) trait Chunk: Serialize + DeserializeOwned + Send + Unpin + 'static {
    /// Whether it is the last one of a whole answer.
    fn is_last(&self) -> bool;
}

/// A chunk, or the end of them.
type Item<C> = Option<Result<C>>;

/// Where chunks come from.
enum ChunkSource<C> {
    /// The world. They draw their numbers as they arrive.
    Live(BoxStream<'static, Result<C>>),
    /// The journal, with their numbers. An item without a number happens now.
    Recorded(BoxStream<'static, (Option<u64>, Item<C>)>),
    /// Nowhere: no more is waited for.
    Closed,
}

/// An answer that arrives in chunks, behind the gate. Its end without an error says that it is whole. Dropping it ends
/// the effect with the chunks that have arrived.
pub(crate) struct Chunks<C: Chunk> {
    cx: Context,
    source: ChunkSource<C>,
    /// The item that has arrived and waits for its turn.
    next: Option<(Turn, Item<C>)>,
    /// The entry to record; `None` when the answer comes from the journal, is recorded to its end, or nothing is kept.
    entry: Option<EntryId>,
    ended: bool,
}

impl<C: Chunk> Chunks<C> {
    /// The gate for an answer in chunks; returns what came before them as well.
    pub(crate) async fn open<H, F>(
        cx: &Context,
        ask: Ask,
        live: impl FnOnce(Permit) -> F,
    ) -> Result<(H, Self)>
    where
        H: Serialize + DeserializeOwned,
        F: Future<Output = Result<(H, BoxStream<'static, Result<C>>)>>,
    {
        let turns = cx.turns();
        let new = |source, entry| Self { cx: cx.clone(), source, next: None, entry, ended: false };
        match cx.begin(ask)? {
            (Lookup::Recorded(End { order, answer: Err(error), .. }), _) => {
                cx.release(turns.wait(order)).await?;
                Err(error)
            }
            (Lookup::Recorded(End { answer: Ok(answer), .. }), permit) => {
                let StreamRecord { head, opened, chunks, end } = from_value::<StreamRecord<H, C>>(answer)?;
                cx.release(turns.wait(opened)).await?;
                let waiting = cx.clone();
                let end = stream::once(async move {
                    match end {
                        Some((order, error)) => (Some(order), error.map(Err)),
                        None => (Some(0), Some(Err(waiting.never_ended(&permit).await))),
                    }
                });
                Ok((head, new(ChunkSource::Recorded(recorded(chunks).chain(end).boxed()), None)))
            }
            (Lookup::NeverEnded, permit) => Err(cx.never_ended(&permit).await),
            (Lookup::Live { entry, arrived: Some(arrived), .. }, _) => {
                let StreamRecord { head, opened, chunks, .. } = from_value::<StreamRecord<H, C>>(arrived)?;
                cx.release(turns.wait(opened)).await?;
                // The error has no number yet: what the script did with the last chunk may still have to happen, and comes
                // before it.
                let end = stream::iter([(None, Some(Err(interrupted())))]);
                let source = ChunkSource::Recorded(recorded(chunks).chain(end).boxed());
                Ok((head, new(source, Some(entry))))
            }
            (Lookup::Live { entry, start, arrived: None }, permit) => {
                cx.durable(start).await?;
                match cx.until_cancelled(live(permit)).await {
                    Ok((head, chunks)) => {
                        let (keeps, opened) = (cx.journal().keeps(), turns.draw());
                        if keeps {
                            cx.part(entry, opened, &head)?;
                        }
                        cx.release(turns.wait(opened)).await?;
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

    /// The next chunk; after an error, or the end, there is none.
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

    /// Takes in the next item and records it.
    fn arrive(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(Turn, Item<C>)>> {
        let (recorded, item) = match &mut self.source {
            ChunkSource::Live(chunks) => (None, ready!(chunks.poll_next_unpin(task))),
            ChunkSource::Recorded(items) => ready!(items.poll_next_unpin(task)).unwrap_or((Some(0), None)),
            ChunkSource::Closed => (Some(0), None),
        };
        let order = recorded.unwrap_or_else(|| self.cx.turns().draw());
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
        Poll::Ready(point.map(|point| (self.cx.turns().wait_committed(order, point), item)))
    }

    /// Ends the effect: no more is waited for.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.ended = true;
        self.next = None;
        self.source = ChunkSource::Closed;
        match self.entry {
            Some(_) => self.end(self.cx.turns().draw(), None).map(drop),
            None => Ok(()),
        }
    }

    /// Records the end, once.
    fn end(&mut self, order: u64, end: Option<(u64, Option<Error>)>) -> Result<CommitPoint> {
        let Some(entry) = self.entry.take() else { return Ok(CommitPoint::REACHED) };
        // What the end of the run cuts off has no end.
        let is_cut_off = matches!(&end, Some((_, Some(error))) if error.is_final());
        if is_cut_off || self.cx.meter().state().is_err() {
            return Ok(CommitPoint::REACHED);
        }
        self.cx.record(entry, order, Ok(to_value(&StreamEnd { end })?))
    }
}

/// Recorded chunks with their numbers.
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
        // A journal that cannot be written says so at the next effect.
        let _ = self.close();
    }
}
