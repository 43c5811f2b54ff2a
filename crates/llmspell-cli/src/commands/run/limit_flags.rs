//! The flags that set limits, made from the table of limits.

use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use llmspell::{Error, LIMITS, LimitField, Limits, LimitsPatch, Result, parse_size, parse_span};

const ALLOW_UNPRICED: &str = "allow-unpriced";

/// The limits that the flags set.
#[derive(Debug, Default)]
pub(crate) struct LimitFlags {
    patch: LimitsPatch,
    allow_unpriced: bool,
}

impl LimitFlags {
    /// Overrides limits by the flags that are set.
    pub(crate) fn apply(&self, limits: &mut Limits) {
        *limits = self.patch.over(limits.clone());
        limits.allow_unpriced |= self.allow_unpriced;
    }
}

/// Returns the name of a value with this unit in the help, and its parser.
fn value(field: LimitField) -> (&'static str, ValueParser) {
    match field {
        LimitField::Time(_) => ("TIME", ValueParser::new(parse_span)),
        LimitField::Size(_) => ("SIZE", ValueParser::new(parse_size)),
        LimitField::Count(_) => ("COUNT", value_parser!(u32).into()),
        LimitField::OptionalCount(_) => ("COUNT", value_parser!(u64).into()),
        LimitField::Dollars(_) => ("USD", ValueParser::new(dollars)),
    }
}

fn dollars(text: &str) -> Result<f64> {
    let dollars =
        text.trim_start_matches('$').parse().ok().filter(|sum: &f64| sum.is_finite() && *sum >= 0.0);
    dollars.ok_or_else(|| Error::config("expected a sum of US dollars such as 0.50"))
}

impl Args for LimitFlags {
    fn augment_args(command: Command) -> Command {
        let flags = LIMITS.iter().filter_map(|row| {
            let ((flag, help), (name, parser)) = (row.flag?, value(row.field));
            Some(Arg::new(flag).long(flag).value_name(name).help(help).value_parser(parser))
        });
        command.args(flags).arg(
            Arg::new(ALLOW_UNPRICED)
                .long(ALLOW_UNPRICED)
                .action(ArgAction::SetTrue)
                .help("Allow models without a known price despite a cost limit; their cost is not counted"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LimitFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for row in LIMITS {
            let Some((flag, _)) = row.flag.filter(|(flag, _)| matches.contains_id(flag)) else { continue };
            let limits = self.patch.set(row.limit);
            match row.field {
                LimitField::Time(of) => put(matches.get_one::<Duration>(flag), of(limits)),
                LimitField::Size(of) => put(matches.get_one(flag), of(limits)),
                LimitField::Count(of) => put(matches.get_one(flag), of(limits)),
                LimitField::OptionalCount(of) => *of(limits) = matches.get_one(flag).copied(),
                LimitField::Dollars(of) => *of(limits) = matches.get_one(flag).copied(),
            }
        }
        self.allow_unpriced |= matches.get_flag(ALLOW_UNPRICED);
        Ok(())
    }
}

fn put<T: Copy>(given: Option<&T>, field: &mut T) {
    if let Some(given) = given {
        *field = *given;
    }
}
