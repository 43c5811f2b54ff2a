//! Shortens a transcript that exceeds the model's context window, by the agent's [`Overflow`] policy.
//!
//! Before a call, the agent's configuration, token estimates and the built-in catalogue decide. If the provider still
//! refuses the transcript as too long, its error decides, which is recorded. So a replay shortens at the same places.

use llmspell_core::agent::AgentStep;
use llmspell_core::chat::{ChatRequest, Content, Message, Part, Role};
use llmspell_core::{Error, ErrorKind, Result};

use super::Overflow;
use super::run::{AgentRun, StopReason};
use crate::answer::text_of;
use crate::catalogue;
use crate::count::{count_messages, count_tokens};

/// The tokens reserved for the answer when the request has no `max_tokens`; at most a quarter of the context window.
const ANSWER: u64 = 4_096;

/// How many messages at the end a summary leaves unchanged.
const LAST: usize = 4;

/// The text that replaces a removed result.
const LEFT_OUT: &str = "[left out to make room]";

impl AgentRun<'_> {
    /// Shortens the transcript if it exceeds the context window. Returns whether it did.
    ///
    /// # Errors
    /// When the transcript is still too long.
    pub(super) async fn shorten(&mut self) -> Result<bool, StopReason> {
        let Some(most) = self.window() else { return Ok(false) };
        let before = self.tokens();
        if before <= most {
            return Ok(false);
        }
        let count = self.apply_policy(before - most).await?;
        let after = self.tokens();
        if after > most {
            let name = self.agent.name();
            let message = format!(
                "what agent `{name}` would tell the model has about {after} tokens, and the model can read {most} of them"
            );
            let mut error = Error::new(ErrorKind::ContextExceeded, message)
                .hint("give its tools a smaller `max_result`, or see `overflow`");
            let call = error.call_mut();
            (call.limit_tokens, call.prompt_tokens) = (Some(most), Some(after));
            return Err(error.into());
        }
        self.shortened(count, before).await?;
        Ok(true)
    }

    /// Shortens the transcript after a provider refused it as too long. Later turns respect the limit that it reports.
    ///
    /// # Errors
    /// The provider's error, if the policy is to fail or finds nothing to shorten.
    pub(super) async fn shorten_after(&mut self, error: Error) -> Result<(), StopReason> {
        let before = self.tokens();
        let reported = error.call().and_then(|call| call.limit_tokens.zip(call.prompt_tokens));
        let most = match reported {
            // The provider counts other tokens than we do, so its numbers give the ratio.
            Some((limit, prompt)) if limit < prompt => {
                let limit = u128::from(before) * u128::from(limit) / u128::from(prompt);
                let limit = u64::try_from(limit).unwrap_or(u64::MAX);
                self.most_tokens = Some(self.most_tokens.map_or(limit, |known| known.min(limit)));
                limit / 10 * 9
            }
            _ => before / 4 * 3,
        };
        match self.apply_policy(before - most).await? {
            0 => Err(error.into()),
            count => self.shortened(count, before).await,
        }
    }

    /// Applies the agent's policy to save this many tokens. Returns how many results or messages it replaced.
    async fn apply_policy(&mut self, too_many: u64) -> Result<u32> {
        match self.agent.spec().overflow {
            Overflow::DropResults => Ok(drop_results(&mut self.messages, too_many)),
            Overflow::Summarize => self.summarize().await,
            Overflow::Fail => Ok(0),
        }
    }

    async fn shortened(&self, count: u32, before: u64) -> Result<(), StopReason> {
        let is_summary = self.agent.spec().overflow == Overflow::Summarize;
        let policy = if is_summary { "summarize" } else { "drop_results" }.to_owned();
        let tokens_after = self.tokens();
        self.observe(AgentStep::Shortened { policy, count, tokens_before: before, tokens_after }).await
    }

    /// Returns the maximum number of input tokens, if the context window is known, or a provider has refused a longer
    /// transcript.
    fn window(&self) -> Option<u64> {
        let spec = self.agent.spec();
        let known = || catalogue::known(spec.request.provider.as_deref()?, spec.request.model.as_deref()?);
        let window = spec.context_window.or_else(|| known()?.context_window);
        let most = window.map(|window| {
            let answer = spec.request.max_tokens.map_or(ANSWER.min(window / 4), u64::from);
            window.saturating_sub(answer)
        });
        most.into_iter().chain(self.most_tokens).min()
    }

    fn tokens(&self) -> u64 {
        self.agent.frame_tokens + count_messages(&self.messages)
    }

    /// Replaces all but the last messages by a summary that the model writes. Returns how many messages were replaced.
    async fn summarize(&mut self) -> Result<u32> {
        let end = beginning(&self.messages);
        if end == 0 {
            return Ok(0);
        }
        let spec = self.agent.spec();
        let told: Vec<_> = self.messages[..end].iter().map(as_text).collect();
        let question = format!(
            "Sum up this conversation for someone who has to go on with it. Keep what was asked, what was found out and \
             what is left to do. Answer with the summary alone.\n\n{}",
            told.join("\n\n"),
        );
        // The summary is prose even if the agent has an `output` schema.
        let messages = vec![Message::user(question)];
        let request = ChatRequest { messages, system: None, output: None, ..spec.request.clone() };
        let reply = self.cx.models().chat(request).await?;
        text_of(&reply)?;
        let summary = Message::user(format!("[What was said before, summed up]\n{}", reply.text));
        self.messages.splice(..end, [summary]);
        Ok(u32::try_from(end).unwrap_or(u32::MAX))
    }
}

/// Returns how many messages precede the last ones. A tool result stays together with its call.
fn beginning(messages: &[Message]) -> usize {
    let mut end = messages.len().saturating_sub(LAST);
    while end > 0 && messages[end].role == Role::Tool {
        end -= 1;
    }
    end
}

/// Formats a message for the summary prompt.
fn as_text(message: &Message) -> String {
    let who = match message.role {
        Role::System => "Instructions",
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::Tool => "Tools",
    };
    let said = match &message.content {
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text } => Some(text.clone()),
                Part::ToolCall(call) => Some(format!("(calls {} with {})", call.name, call.arguments)),
                Part::ToolResult { content, .. } => Some(content.clone()),
                Part::Image { .. } | Part::Reasoning { .. } => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
    };
    format!("{who}: {said}")
}

/// Replaces results of tools by [`LEFT_OUT`], oldest first, until enough tokens are saved. The results of the last turn
/// stay. Returns the number of replaced results.
fn drop_results(messages: &mut [Message], mut too_many: u64) -> u32 {
    let last = messages.iter().rposition(|message| message.role == Role::Tool).unwrap_or_default();
    let mut dropped = 0;
    for message in &mut messages[..last] {
        let Content::Parts(parts) = &mut message.content else { continue };
        for part in parts {
            let Part::ToolResult { content, .. } = part else { continue };
            let saved = count_tokens(content).saturating_sub(count_tokens(LEFT_OUT));
            if too_many == 0 {
                return dropped;
            }
            if saved > 0 {
                LEFT_OUT.clone_into(content);
                too_many = too_many.saturating_sub(saved);
                dropped += 1;
            }
        }
    }
    dropped
}
