//! The gate: every touch of the world passes here.
//!
//! In order: may the run still act, was it done before, the real thing, write it down, and wait for its turn at the
//! script. Permission comes first, in the capability's own gated view, which knows it.

use std::pin::Pin;
use std::task::{self, Poll, ready};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::convert::{from_value, to_value};
use crate::effect::{Ask, Effect, End, Entry, EntryId, Lookup, Permit};
use crate::error::{Error, ErrorKind, Result};
use crate::held::Held;
use crate::turn::{InTurn, Turn};

impl Context {
    /// The gate for what waits for its answer.
    pub(crate) async fn gate<T, F>(&self, ask: Ask, live: impl FnOnce(Permit) -> F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => {
                self.turns().wait(end.order).await;
                from_value(end.answer?)
            }
            (Lookup::NeverEnded, permit) => Err(self.never_ended(&permit).await),
            (Lookup::Live(entry), permit) => {
                let result = self.until_cancelled(live(permit)).await;
                if let Some(turn) = self.finish(entry, &result)? {
                    turn.await;
                }
                result
            }
        }
    }

    /// The gate for what does not wait.
    pub(crate) fn gate_now<T>(&self, ask: Ask, live: impl FnOnce(Permit) -> Result<T>) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.begin(ask)? {
            (Lookup::Recorded(end), _) => from_value(end.answer?),
            (Lookup::NeverEnded, permit) => Err(self.break_off(beyond_the_end(&permit))),
            (Lookup::Live(entry), permit) => {
                let result = live(permit);
                self.finish(entry, &result)?;
                result
            }
        }
    }

    pub(crate) fn begin(&self, ask: Ask) -> Result<(Lookup, Permit)> {
        self.meter().state()?;
        let path = self.task().next_effect();
        let permit = Permit::new(path.clone(), self.meter().deadline());
        let lookup = self.journal().begin(Effect { path, ask }).map_err(|error| self.break_off(error))?;
        Ok((lookup, permit))
    }

    async fn until_cancelled<T>(&self, live: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancellation().run_until_cancelled(live).await.unwrap_or_else(|| Err(Error::cancelled()))
    }

    /// Writes down what an effect came to, and returns the wait for its turn. What the end of the run cut off came to
    /// nothing: a run that is resumed does it again.
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
        let end = End { order, said: self.said(), answer };
        self.journal().finish(entry, end).map_err(|error| self.break_off(error))?;
        Ok(Some(self.turns().wait(order)))
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

/// What came of an answer in pieces, as the journal keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<H, P> {
    /// What came before the pieces.
    head: H,
    /// Its place in the [order](End::order) of the run, as each piece has one.
    opened: u64,
    pub(crate) pieces: Vec<(u64, P)>,
    /// The end: with what went wrong, if anything did. Absent when nobody waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<(u64, Option<Error>)>,
}

impl Entry {
    /// What went wrong, if anything did: with the effect, or with its answer in the middle.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        match &self.end.as_ref()?.answer {
            Err(error) => Some(error.clone()),
            Ok(answer) if self.effect.ask.operation == "stream" => {
                from_value::<(u64, Option<Error>)>(answer.get("end")?.clone()).ok()?.1
            }
            Ok(_) => None,
        }
    }
}

struct Recording<H, P> {
    entry: EntryId,
    record: Record<H, P>,
    /// What the pieces take.
    held: Held,
}

/// A part of an answer that comes in parts.
pub(crate) trait Piece: Serialize + DeserializeOwned + Clone + Send + Unpin + 'static {
    /// The bytes that it takes.
    fn weight(&self) -> u64;
}

/// A piece, or the end of them.
type Item<P> = Option<Result<P>>;

/// An answer that comes in pieces, behind the gate. Its end without an error says that it is whole. Dropping it ends
/// the effect: what was seen of it is what it came to.
pub(crate) struct Pieces<H: Serialize, P: Piece> {
    cx: Context,
    items: InTurn<BoxStream<'static, (u64, Item<P>)>, Item<P>>,
    /// What is to be written down; `None` when it came from there, or nothing is kept.
    recording: Option<Recording<H, P>>,
    ended: bool,
}

impl<H: Serialize + DeserializeOwned + Clone, P: Piece> Pieces<H, P> {
    /// The gate for an answer in pieces; returns what came before them as well.
    pub(crate) async fn open<F>(cx: &Context, ask: Ask, live: impl FnOnce(Permit) -> F) -> Result<(H, Self)>
    where
        F: Future<Output = Result<(H, BoxStream<'static, Result<P>>)>>,
    {
        let turns = cx.turns();
        let new = |items, recording| Self {
            cx: cx.clone(),
            items: InTurn::new(turns, items),
            recording,
            ended: false,
        };
        match cx.begin(ask)? {
            (Lookup::Recorded(End { order, answer: Err(error), .. }), _) => {
                turns.wait(order).await;
                Err(error)
            }
            (Lookup::Recorded(End { answer: Ok(answer), .. }), permit) => {
                let Record { head, opened, pieces, end } = from_value::<Record<H, P>>(answer)?;
                turns.wait(opened).await;
                let pieces = stream::iter(pieces).map(|(order, piece)| (order, Some(Ok(piece))));
                let waiting = cx.clone();
                let end = stream::once(async move {
                    match end {
                        Some((order, error)) => (order, error.map(Err)),
                        None => (0, Some(Err(waiting.never_ended(&permit).await))),
                    }
                });
                Ok((head, new(pieces.chain(end).boxed(), None)))
            }
            (Lookup::NeverEnded, permit) => Err(cx.never_ended(&permit).await),
            (Lookup::Live(entry), permit) => match cx.until_cancelled(live(permit)).await {
                Ok((head, pieces)) => {
                    let (keeps, opened) = (cx.journal().keeps(), turns.draw());
                    turns.wait(opened).await;
                    let numbers = std::sync::Arc::clone(turns);
                    let items = pieces.map(Some).chain(stream::iter([None]));
                    let items = items.map(move |item| (numbers.draw(), item)).boxed();
                    let recording = match keeps {
                        true => {
                            let record = Record { head: head.clone(), opened, pieces: Vec::new(), end: None };
                            Some(Recording { entry, record, held: cx.hold(0)? })
                        }
                        false => None,
                    };
                    Ok((head, new(items, recording)))
                }
                Err(error) => {
                    if let Some(turn) = cx.finish::<Record<H, P>>(entry, &Err(error.clone()))? {
                        turn.await;
                    }
                    Err(error)
                }
            },
        }
    }
}

impl<H: Serialize, P: Piece> Pieces<H, P> {
    /// The next piece; after an error, or the end, there is none.
    pub(crate) fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Option<Result<P>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (order, item) = ready!(Pin::new(&mut self.items).poll_next(task)).unwrap_or((0, None));
        let result = match &item {
            Some(Ok(piece)) => self.keep(order, piece),
            Some(Err(error)) => self.end(Some((order, Some(error.clone())))),
            None => self.end(Some((order, None))),
        };
        Poll::Ready(match result {
            Ok(()) => item,
            Err(error) => Some(Err(error)),
        })
    }

    /// Ends the effect: no more is waited for.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.end(None)
    }

    fn keep(&mut self, order: u64, piece: &P) -> Result<()> {
        if let Some(recording) = &mut self.recording {
            recording.held.grow(piece.weight())?;
            recording.record.pieces.push((order, piece.clone()));
        }
        Ok(())
    }

    fn end(&mut self, end: Option<(u64, Option<Error>)>) -> Result<()> {
        self.ended = true;
        self.items = InTurn::new(self.cx.turns(), stream::empty().boxed());
        let Some(mut recording) = self.recording.take() else { return Ok(()) };
        if self.cx.meter().state().is_err() {
            // The end of the run cut it off.
            return Ok(());
        }
        recording.record.end = end;
        self.cx.finish(recording.entry, &Ok(recording.record)).map(drop)
    }
}

impl<H: Serialize, P: Piece> Drop for Pieces<H, P> {
    fn drop(&mut self) {
        // A journal that cannot be written says so at the next effect.
        if let Some(recording) = self.recording.take()
            && self.cx.meter().state().is_ok()
        {
            let _ = self.cx.finish(recording.entry, &Ok(recording.record));
        }
    }
}
