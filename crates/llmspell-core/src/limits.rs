//! The limits of a run, as settings.
//!
//! [`Limits`] says what a run may use. The meter (`meter.rs`) and the spend ledger (`budget.rs`) count what it uses.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

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

/// Everything that the project says about one limit: a row of [`LIMITS`].
#[derive(Debug)]
pub struct LimitRow {
    /// The limit.
    pub limit: Limit,
    /// The key in a manifest, and the word in texts.
    pub name: &'static str,
    /// The kind of the error when the limit is reached.
    pub kind: &'static str,
    /// The name in JSON, with its unit.
    pub json: &'static str,
    /// The flag of the command without dashes, and its help.
    pub flag: Option<(&'static str, &'static str)>,
    /// Whether it limits what models cost. The command has an exit code for these, and one for all others.
    pub is_spending: bool,
    /// The field of [`Limits`], with its unit.
    pub field: LimitField,
}

/// A field of [`Limits`], with its unit.
#[derive(Debug, Clone, Copy)]
pub enum LimitField {
    /// A time span.
    Time(fn(&mut Limits) -> &mut Duration),
    /// A number of bytes.
    Size(fn(&mut Limits) -> &mut u64),
    /// A number.
    Count(fn(&mut Limits) -> &mut u32),
    /// A number that is unlimited by default.
    OptionalCount(fn(&mut Limits) -> &mut Option<u64>),
    /// US dollars, unlimited by default.
    Dollars(fn(&mut Limits) -> &mut Option<f64>),
}

/// All limits, in the order in which they are shown. Manifests, flags, error kinds, exit codes and `--dry-run` read
/// this table; the defaults are those of [`Limits`].
pub const LIMITS: &[LimitRow] = &[
    LimitRow {
        limit: Limit::Cpu,
        name: "cpu",
        kind: "limit.cpu",
        json: "cpu_seconds",
        flag: None,
        is_spending: false,
        field: LimitField::Time(|limits| &mut limits.cpu),
    },
    LimitRow {
        limit: Limit::Wall,
        name: "wall",
        kind: "limit.wall",
        json: "wall_seconds",
        flag: Some(("timeout", "Maximum time, including waiting, such as 60s or 5m")),
        is_spending: false,
        field: LimitField::Time(|limits| &mut limits.wall),
    },
    LimitRow {
        limit: Limit::Memory,
        name: "memory",
        kind: "limit.memory",
        json: "memory_bytes",
        flag: Some(("memory", "Maximum memory of the spell, such as 128MB")),
        is_spending: false,
        field: LimitField::Size(|limits| &mut limits.memory),
    },
    LimitRow {
        limit: Limit::Output,
        name: "output",
        kind: "limit.output",
        json: "output_bytes",
        flag: None,
        is_spending: false,
        field: LimitField::Size(|limits| &mut limits.output),
    },
    LimitRow {
        limit: Limit::Tasks,
        name: "tasks",
        kind: "limit.tasks",
        json: "tasks",
        flag: None,
        is_spending: false,
        field: LimitField::Count(|limits| &mut limits.tasks),
    },
    LimitRow {
        limit: Limit::ModelCalls,
        name: "model_calls",
        kind: "limit.model_calls",
        json: "model_calls",
        flag: Some(("max-calls", "Maximum number of model calls")),
        is_spending: true,
        field: LimitField::Count(|limits| &mut limits.model_calls),
    },
    LimitRow {
        limit: Limit::Tokens,
        name: "tokens",
        kind: "limit.tokens",
        json: "tokens",
        flag: Some(("max-tokens", "Maximum number of tokens, input and output together")),
        is_spending: true,
        field: LimitField::OptionalCount(|limits| &mut limits.tokens),
    },
    LimitRow {
        limit: Limit::Cost,
        name: "cost",
        kind: "limit.cost",
        json: "cost_usd",
        flag: Some(("max-cost", "Maximum cost in US dollars")),
        is_spending: true,
        field: LimitField::Dollars(|limits| &mut limits.cost),
    },
];

impl Limit {
    /// Returns the row of the limit.
    #[must_use]
    pub fn row(self) -> &'static LimitRow {
        // The rows are in the order of the variants, which a test checks.
        &LIMITS[self as usize]
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

/// Some limits, which replace those of a base.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitsPatch {
    set: Vec<Limit>,
    values: Limits,
}

/// Writes the limits as a manifest does, such as `{"wall": "60s"}`.
impl Serialize for LimitsPatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.set.iter().map(|limit| (limit.row().name, self.values.describe(*limit))))
    }
}

impl LimitsPatch {
    /// Marks a limit as set, and returns the limits for writing its value.
    pub fn set(&mut self, limit: Limit) -> &mut Limits {
        if !self.set.contains(&limit) {
            self.set.push(limit);
        }
        &mut self.values
    }

    /// Returns `base` with the limits that are set here.
    ///
    /// ```
    /// use llmspell_core::{Limit, Limits, LimitsPatch};
    /// let mut patch = LimitsPatch::default();
    /// patch.set(Limit::Tasks).tasks = 5;
    /// let base = Limits { memory: 1, ..Limits::default() };
    /// assert_eq!(patch.over(base.clone()), Limits { tasks: 5, ..base });
    /// ```
    #[must_use]
    pub fn over(&self, base: Limits) -> Limits {
        let (mut limits, mut values) = (base, self.values.clone());
        for limit in &self.set {
            match limit.row().field {
                LimitField::Time(of) => *of(&mut limits) = *of(&mut values),
                LimitField::Size(of) => *of(&mut limits) = *of(&mut values),
                LimitField::Count(of) => *of(&mut limits) = *of(&mut values),
                LimitField::OptionalCount(of) => *of(&mut limits) = *of(&mut values),
                LimitField::Dollars(of) => *of(&mut limits) = *of(&mut values),
            }
        }
        limits
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
    /// Returns the value of a limit in readable form; `None` if it is unlimited.
    pub(crate) fn describe(&self, limit: Limit) -> Option<String> {
        let mut limits = self.clone();
        match limit.row().field {
            LimitField::Time(of) => Some(duration(*of(&mut limits))),
            LimitField::Size(of) => Some(bytes(*of(&mut limits))),
            LimitField::Count(of) => Some(of(&mut limits).to_string()),
            LimitField::OptionalCount(of) => of(&mut limits).map(|count| count.to_string()),
            LimitField::Dollars(of) => of(&mut limits).map(dollars),
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
        let set = |row: &LimitRow| Some(format!("{} {}", row.name, self.describe(row.limit)?));
        f.write_str(&LIMITS.iter().filter_map(set).collect::<Vec<_>>().join(", "))
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
    fn each_limit_has_its_row() {
        for row in LIMITS {
            assert_eq!(row.limit.row().limit, row.limit);
            assert_eq!(row.kind, format!("limit.{}", row.name));
        }
    }

    #[test]
    fn sizes_are_written_as_a_person_would() {
        assert_eq!(bytes(64 << 20), "64MB");
        assert_eq!(bytes(1000), "1000 bytes");
        assert_eq!(duration(Duration::from_millis(1500)), "1500ms");
    }
}
