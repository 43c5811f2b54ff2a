//! Formats durations, token counts and costs for people.

use llmspell::chat::Usage;
use llmspell::trace::EffectEvent;

use crate::terminal::escape_name;

/// Formats a duration: `0.4ms`, `398ms`, `1.24s`, `3m 05s`, `2h 10m`.
pub(crate) fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    // The bounds account for rounding, so that `1000ms` is shown as `1.00s`.
    match seconds {
        ..0.01 => format!("{:.1}ms", seconds * 1e3),
        ..0.9995 => format!("{:.0}ms", seconds * 1e3),
        ..59.995 => format!("{seconds:.2}s"),
        _ => {
            let whole = whole(seconds);
            match whole / 60 {
                minutes @ ..60 => format!("{minutes}m {:02}s", whole % 60),
                minutes => format!("{}h {:02}m", minutes / 60, minutes % 60),
            }
        }
    }
}

/// Formats the time since an event: `now`, `5m ago`, `3h ago`, `12d ago`.
pub(crate) fn ago(seconds: f64) -> String {
    match whole(seconds.max(0.0)) {
        ..60 => "now".to_owned(),
        seconds @ ..3_600 => format!("{}m ago", seconds / 60),
        seconds @ ..86_400 => format!("{}h ago", seconds / 3_600),
        seconds => format!("{}d ago", seconds / 86_400),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span of time, and not negative"
)]
fn whole(seconds: f64) -> u64 {
    seconds.round() as u64
}

/// Formats token counts: `812→64 tokens`, with a `~` if they are estimates.
pub(crate) fn tokens(usage: &Usage) -> String {
    let about = if usage.estimated { "~" } else { "" };
    format!("{about}{}→{} tokens", usage.input_tokens, usage.output_tokens)
}

/// Formats a cost: `$0.0123`, `free` or `unknown`. A model without a known price is not a free one.
pub(crate) fn cost(usage: &Usage) -> String {
    match usage.cost_usd {
        Some(0.0) => "free".to_owned(),
        Some(dollars) if dollars < 1.0 => format!("${dollars:.4}"),
        Some(dollars) => format!("${dollars:.2}"),
        None => "unknown".to_owned(),
    }
}

/// Describes an effect: its operation, subject, usage, error and duration.
pub(crate) fn effect(event: &EffectEvent) -> String {
    let mut facts = vec![escape_name(&event.operation)];
    facts.extend(event.subject.as_deref().map(escape_name));
    facts.extend(event.usage.iter().flat_map(|usage| [tokens(usage), cost(usage)]));
    facts.extend(event.error.as_deref().map(escape_name));
    facts.extend(event.took.map(seconds));
    facts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (span, shown) in [
            (0.000_4, "0.4ms"),
            (0.398, "398ms"),
            (0.999_9, "1.00s"),
            (1.236, "1.24s"),
            (59.999, "1m 00s"),
            (185.0, "3m 05s"),
            (7_800.0, "2h 10m"),
            (-1.0, "0.0ms"),
        ] {
            assert_eq!(seconds(span), shown);
        }
        for (span, shown) in [(0.0, "now"), (300.0, "5m ago"), (7_200.0, "2h ago"), (1e6, "11d ago")] {
            assert_eq!(ago(span), shown);
        }
    }

    #[test]
    fn an_unknown_price_is_not_zero() {
        let usage = |cost_usd| Usage { input_tokens: 812, output_tokens: 64, cost_usd, ..Usage::default() };
        assert_eq!(tokens(&usage(None)), "812→64 tokens");
        for (sum, shown) in
            [(Some(0.0), "free"), (Some(0.001_23), "$0.0012"), (Some(2.5), "$2.50"), (None, "unknown")]
        {
            assert_eq!(cost(&usage(sum)), shown);
        }
    }
}
