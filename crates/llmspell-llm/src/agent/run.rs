//! The agent loop: ask the model, call its tools, repeat.

use llmspell_core::agent::{AgentEvent, AgentStep};
use llmspell_core::chat::{Message, Reply};
use llmspell_core::{Context, Error, ErrorKind, Event, Result};
use serde_json::Value as Json;

use super::{AgentEnd, AgentObserver, AgentReply, ModelAgent, ObserverDecision, in_text};
use crate::answer::text_of;
use crate::extract::{InvalidOutput, USUAL_ATTEMPTS, output_invalid, read_output, repair_turn};
use crate::transcript::TurnGuard;

/// The state of an agent's run.
pub(super) struct AgentRun<'a> {
    pub(super) agent: &'a ModelAgent,
    pub(super) cx: Context,
    pub(super) observer: &'a dyn AgentObserver,
    /// The whole transcript, including messages that the agent does not store yet.
    pub(super) messages: Vec<Message>,
    /// How many of the messages are stored in the agent's transcript.
    kept: usize,
    /// The longest transcript in estimated tokens, once a provider has refused a longer one.
    pub(super) most_tokens: Option<u64>,
    pub(super) turn: u32,
    pub(super) calls: u32,
}

/// Why a run stops before an answer: it failed, or the observer stopped it.
pub(super) enum StopReason {
    Stopped,
    Failed(Error),
}

impl From<Error> for StopReason {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) async fn run(
    agent: &ModelAgent,
    cx: Context,
    input: Message,
    observer: &dyn AgentObserver,
) -> Result<AgentEnd> {
    let past = agent.history.turn()?;
    let mut messages = agent.history.list();
    let kept = messages.len();
    messages.push(input);
    let mut work = AgentRun { agent, cx, observer, messages, kept, most_tokens: None, turn: 0, calls: 0 };
    match work.all(&past).await {
        Ok(reply) => Ok(AgentEnd::Answered(Box::new(reply))),
        Err(StopReason::Stopped) => Ok(AgentEnd::Stopped),
        Err(StopReason::Failed(error)) => Err(error),
    }
}

impl AgentRun<'_> {
    async fn all(&mut self, past: &TurnGuard<'_>) -> Result<AgentReply, StopReason> {
        let spec = self.agent.spec();
        let mut rejected = 0;
        while self.turn < spec.max_turns {
            self.turn += 1;
            let open = self.messages.len() - self.kept;
            if self.shorten().await? {
                self.keep_shortened(open, past)?;
            }
            let mut reply = match self.ask(past).await {
                Err(StopReason::Failed(error)) if self.turn < spec.max_turns && self.is_told(&error) => {
                    continue;
                }
                Err(StopReason::Failed(error)) if error.kind() == ErrorKind::ContextExceeded => {
                    self.shorten_after(error).await?;
                    self.keep_shortened(open, past)?;
                    self.ask(past).await?
                }
                asked => asked?,
            };
            in_text::read_calls(spec, &mut reply);
            self.observe(AgentStep::Usage { usage: reply.usage.clone() }).await?;
            self.messages.push(reply.to_message());
            if !reply.tool_calls.is_empty() {
                let results = self.call_tools(&reply.tool_calls).await?;
                self.messages.push(results);
                self.keep(past)?;
                continue;
            }
            match self.output(&reply)? {
                Ok(output) => {
                    self.keep(past)?;
                    return Ok(self.done(reply, output));
                }
                Err(invalid) => {
                    rejected += 1;
                    if !invalid.may_repair || rejected == USUAL_ATTEMPTS || self.turn == spec.max_turns {
                        return Err(output_invalid(invalid, reply, rejected, self.cx.spent()).into());
                    }
                    // `repair_turn` returns the answer and the complaint. The answer is in the transcript already.
                    self.messages.extend(repair_turn(&reply, &invalid.error).pop());
                }
            }
        }
        let message = format!("agent `{}` has no answer after {} turns", spec.name, spec.max_turns);
        let error = Error::new(ErrorKind::TurnLimit, message)
            .hint("give it more `max_turns`, or `run` it again to go on from there");
        Err(error.into())
    }

    /// Tells the model of a call that its provider could not read (Groq's `tool_use_failed`). Returns whether the error
    /// is such a mistake.
    fn is_told(&mut self, error: &Error) -> bool {
        let call = error.call().filter(|_| error.kind() == ErrorKind::BadResponse);
        let Some(text) = call.and_then(|call| call.body.clone()) else { return false };
        if !text.trim().is_empty() {
            self.messages.push(Message::assistant(text));
        }
        self.messages.push(Message::user(format!(
            "That was not a valid tool call and nothing was run: {}. Call the tool again in the right form, or answer without it.",
            error.message()
        )));
        true
    }

    /// Reads the answer by the agent's `output` schema, if it has one. The inner error says why the answer is invalid.
    fn output(&self, reply: &Reply) -> Result<Result<Option<Json>, InvalidOutput>> {
        match &self.agent.spec().output {
            Some(schema) => Ok(read_output(reply, schema).map(Some)),
            None => text_of(reply).map(|_| Ok(None)),
        }
    }

    fn done(&self, reply: Reply, output: Option<Json>) -> AgentReply {
        AgentReply {
            text: reply.text,
            output,
            turns: self.turn,
            tool_calls: self.calls,
            finish_reason: reply.finish_reason,
            model: reply.model,
            provider: reply.provider,
            usage: self.cx.spent(),
        }
    }

    /// Stores the shortened transcript without its last `open` messages, which no turn has answered yet.
    fn keep_shortened(&mut self, open: usize, past: &TurnGuard<'_>) -> Result<()> {
        self.kept = self.messages.len().saturating_sub(open);
        past.replace(self.messages[..self.kept].to_vec())
    }

    /// Stores the new messages in the agent's transcript.
    fn keep(&mut self, past: &TurnGuard<'_>) -> Result<()> {
        past.add(self.messages[self.kept..].iter().cloned())?;
        self.kept = self.messages.len();
        Ok(())
    }

    /// Stores the partial text of an answer that the observer stopped.
    pub(super) fn keep_part(&mut self, past: &TurnGuard<'_>, text: &str) -> Result<()> {
        if !text.is_empty() {
            self.messages.push(Message::assistant(text));
            self.keep(past)?;
        }
        Ok(())
    }

    /// Emits an event of the run, and reports it to the observer.
    pub(super) async fn observe(&self, step: AgentStep) -> Result<(), StopReason> {
        let event = AgentEvent { agent: self.agent.name().to_owned(), turn: self.turn, step };
        // The gate already emits the pieces of an answer and its usage as events of the spell's run.
        if !matches!(event.step, AgentStep::Text { .. } | AgentStep::Usage { .. }) {
            self.cx.emit(Event::Agent(event.clone()));
        }
        match self.observer.observe(event).await? {
            ObserverDecision::GoOn => Ok(()),
            ObserverDecision::Stop => Err(StopReason::Stopped),
        }
    }
}
