//! The limits of a run, as settings.
//!
//! [`Limits`] says what a run may use. The meter (`meter.rs`) and the spend ledger (`budget.rs`) count what it uses.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The resources that are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Processor time.
    Cpu,
    /// Wall-clock time.
    Wall,
    /// Memory of the script's VM and of the data that the host holds for it.
    Memory,
    /// Bytes of printed and logged output.
    Output,
    /// Tasks and promises that exist at the same time.
    Tasks,
    /// Calls to models.
    ModelCalls,
    /// Input and output tokens of models.
    Tokens,
    /// US dollars spent on models.
    Cost,
}

/// All limits, in the order in which they are shown.
pub(crate) const ALL: [Limit; 8] = [
    Limit::Cpu,
    Limit::Wall,
    Limit::Memory,
    Limit::Output,
    Limit::Tasks,
    Limit::ModelCalls,
    Limit::Tokens,
    Limit::Cost,
];

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Tasks => "tasks",
            Self::ModelCalls => "model_calls",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        })
    }
}

/// What one run may use. The limits are the same in debug and release builds.
///
/// Defaults: cpu 30 s, wall 10 min, memory 128 MB, output 16 MB, 10,000 tasks and 1,000 model calls. Tokens and cost
/// are not limited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Processor time. Waiting does not count.
    pub cpu: Duration,
    /// Wall-clock time, including waiting.
    pub wall: Duration,
    /// Memory in bytes.
    pub memory: u64,
    /// Bytes of printed and logged output.
    pub output: u64,
    /// Tasks that exist at the same time.
    pub tasks: u32,
    /// Calls to models.
    pub model_calls: u32,
    /// Input and output tokens.
    pub tokens: Option<u64>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Whether models without a known price may be called although the cost is limited. Their cost is then not
    /// counted.
    pub allow_unpriced: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(30),
            wall: Duration::from_secs(600),
            memory: 128 * 1024 * 1024,
            output: 16 * 1024 * 1024,
            tasks: 10_000,
            model_calls: 1_000,
            tokens: None,
            cost: None,
            allow_unpriced: false,
        }
    }
}

impl Limits {
    /// Returns the value of a limit in readable form.
    pub(crate) fn describe(&self, limit: Limit) -> String {
        match limit {
            Limit::Cpu => duration(self.cpu),
            Limit::Wall => duration(self.wall),
            Limit::Memory => bytes(self.memory),
            Limit::Output => bytes(self.output),
            Limit::Tasks => self.tasks.to_string(),
            Limit::ModelCalls => self.model_calls.to_string(),
            Limit::Tokens => self.tokens.unwrap_or(u64::MAX).to_string(),
            Limit::Cost => dollars(self.cost.unwrap_or(f64::INFINITY)),
        }
    }
}

impl fmt::Display for Limits {
    /// Writes all limits that are set, in one line.
    ///
    /// ```
    /// let limits = llmspell_core::Limits { cost: Some(0.5), ..Default::default() };
    /// let text = "cpu 30s, wall 600s, memory 128MB, output 16MB, tasks 10000, model_calls 1000, cost $0.5000";
    /// assert_eq!(limits.to_string(), text);
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_set = |limit: &Limit| match limit {
            Limit::Tokens => self.tokens.is_some(),
            Limit::Cost => self.cost.is_some(),
            _ => true,
        };
        for (at, limit) in ALL.into_iter().filter(is_set).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{limit} {}", self.describe(limit))?;
        }
        Ok(())
    }
}

/// Formats an amount in US dollars. Small amounts get six decimals, because single calls cost fractions of a cent.
pub(crate) fn dollars(sum: f64) -> String {
    if sum < 0.1 { format!("${sum:.6}") } else { format!("${sum:.4}") }
}

fn duration(span: Duration) -> String {
    if span.as_millis().is_multiple_of(1000) {
        format!("{}s", span.as_secs())
    } else {
        format!("{}ms", span.as_millis())
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    UNITS
        .iter()
        .find(|(unit, _)| count >= *unit && count.is_multiple_of(*unit))
        .map_or_else(|| format!("{count} bytes"), |(unit, name)| format!("{}{name}", count / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_a_person_would() {
        assert_eq!(bytes(64 << 20), "64MB");
        assert_eq!(bytes(1000), "1000 bytes");
        assert_eq!(duration(Duration::from_millis(1500)), "1500ms");
    }
}
