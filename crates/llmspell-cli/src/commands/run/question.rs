//! The question to the user whether a spell may have the permissions that it asks for.

use llmspell::{Error, Permissions, Result, Spell};

use super::grants::lines;
use crate::console::{StdinReader, UserQuestion};
use crate::report::say;
use crate::signals::Interrupts;
use crate::terminal::{self, escape_name};

/// The user's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserAnswer {
    /// Grant the permissions for this run.
    Once,
    /// Grant them for all runs of this version of the spell.
    Always,
    /// Deny them.
    No,
}

impl UserAnswer {
    /// Parses a line of input. Everything that is not clearly a yes is a no.
    fn of(line: Option<&str>) -> Self {
        match line.map(|line| line.trim().to_lowercase()).as_deref() {
            Some("y" | "yes") => Self::Once,
            Some("a" | "always") => Self::Always,
            _ => Self::No,
        }
    }
}

/// Asks at the terminal whether a spell may have these permissions.
///
/// # Errors
/// When the user interrupts, or the thread that reads the answer cannot be started.
pub(super) async fn ask(
    spell: &Spell,
    wanted: &Permissions,
    can_remember: bool,
    reader: &mut StdinReader,
    interrupts: &mut Interrupts,
) -> Result<UserAnswer> {
    // Discard what was typed before the question was visible: it is not an answer.
    terminal::forget_typed();
    say(&text(spell, wanted, can_remember));
    let (question, line) = UserQuestion::new();
    reader.answer(question)?;
    let line = tokio::select! {
        biased;
        () = interrupts.next() => {
            say("\n");
            return Err(Error::cancelled());
        }
        // A line that cannot be read is not a yes.
        line = line => line.ok().and_then(Result::ok).flatten(),
    };
    if line.is_none() {
        say("\n");
    }
    Ok(match UserAnswer::of(line.as_deref()) {
        UserAnswer::Always if !can_remember => UserAnswer::No,
        answer => answer,
    })
}

fn text(spell: &Spell, wanted: &Permissions, can_remember: bool) -> String {
    let version = spell.manifest().version.as_deref().map(|version| format!(" {}", escape_name(version)));
    let mut text = format!("{}{} asks to\n", escape_name(spell.name()), version.unwrap_or_default());
    for line in lines(wanted) {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(if can_remember {
        "Allow? [y]es once / [a]lways for this version of the spell / [N]o: "
    } else {
        "Allow? [y]es once / [N]o: "
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (line, answer) in [
            (Some("y"), UserAnswer::Once),
            (Some(" YES "), UserAnswer::Once),
            (Some("a"), UserAnswer::Always),
            (Some("Always"), UserAnswer::Always),
            (Some("n"), UserAnswer::No),
            (Some(""), UserAnswer::No),
            (Some("yess"), UserAnswer::No),
            (Some("yes please"), UserAnswer::No),
            (Some("ya"), UserAnswer::No),
            (Some("1"), UserAnswer::No),
            (Some("\u{ff59}"), UserAnswer::No),
            (None, UserAnswer::No),
        ] {
            assert_eq!(UserAnswer::of(line), answer, "{line:?}");
        }
    }
}
