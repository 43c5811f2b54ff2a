//! The price of a model, and estimates of what a call uses.

/// The price of a model, in US dollars per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Price {
    /// Input tokens.
    pub input: f64,
    /// Output tokens.
    pub output: f64,
}

impl Price {
    /// Returns the cost of these token counts, in US dollars.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^53")]
    pub fn of(self, input_tokens: u64, output_tokens: u64) -> f64 {
        (input_tokens as f64 * self.input + output_tokens as f64 * self.output) / 1e6
    }
}

/// An estimate of a call's usage, made before the call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Approximate number of input tokens.
    pub input_tokens: u64,
    /// The maximum number of output tokens, if known.
    pub max_output: Option<u32>,
    /// The model's price; `None` if unknown.
    pub price: Option<Price>,
}
