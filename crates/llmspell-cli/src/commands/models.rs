//! `llmspell models` lists the models of the usable providers.

use std::fmt::Write;

use clap::Args;
use llmspell::Context;
use llmspell::Result;
use llmspell::chat::{Capabilities, ModelInfo};

use crate::connect::{self, WantedModels};
use crate::exit::Exit;
use crate::report::Reporter;
use crate::stdout::{Format, print, print_json};
use crate::terminal;

/// Lists the models of the usable providers
///
/// Prices are in US dollars per million tokens; `-` means unknown.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// List only the models of this provider
    provider: Option<String>,
    /// The format of the output on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl ModelsArgs {
    pub(crate) async fn execute(self, report: &Reporter) -> Result<Exit> {
        let connected =
            connect::models(WantedModels { provider: self.provider.as_deref(), ..WantedModels::default() })
                .await?;
        if let Some(note) = connected.notice.and_then(|notice| report.note(&notice)) {
            crate::report::say(&note);
        }
        let cx = Context::builder().models(connected.models).build();
        let listing = cx.models().list(self.provider).await?;
        // A failed provider is only a warning, unless no other provider has models.
        let failed = match listing.errors.as_slice() {
            [first, rest @ ..] if listing.models.is_empty() => {
                rest.iter().for_each(|error| report.warn(error.message()));
                Some(report.fail(first))
            }
            errors => {
                errors.iter().for_each(|error| report.warn(error.message()));
                None
            }
        };
        let printed = match self.output {
            Format::Json => print_json(&listing.models)?,
            Format::Text if listing.models.is_empty() => Exit::Done,
            Format::Text => print(&table(&listing.models, terminal::columns()))?,
        };
        Ok(failed.unwrap_or(printed))
    }
}

const HEAD: [&str; 6] = ["MODEL", "CONTEXT", "OUTPUT", "IN $/M", "OUT $/M", "CAN"];

/// Returns a table with one line per model. The last column, the capabilities, is cut at the width of the terminal. Ids
/// are never cut, because users copy them.
fn table(models: &[ModelInfo], width: usize) -> String {
    let rows: Vec<[String; 6]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(models.iter().map(row)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for [id, context, output, input_price, output_price, can] in &rows {
        let line = format!(
            "{id:<id_width$}  {context:>c$}  {output:>o$}  {input_price:>i$}  {output_price:>p$}  {can}",
            id_width = widths[0],
            c = widths[1],
            o = widths[2],
            i = widths[3],
            p = widths[4],
        );
        let keep = width.max(line.chars().count() - can.chars().count());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", cut(&line, keep).trim_end());
    }
    text
}

fn row(model: &ModelInfo) -> [String; 6] {
    let count = |count: Option<u64>| count.map_or_else(unknown, thousands);
    let price = |price: Option<f64>| price.map_or_else(unknown, |price| format!("{price:.2}"));
    [
        terminal::escape_name(&model.id),
        count(model.context_window),
        count(model.max_output),
        price(model.input_price),
        price(model.output_price),
        model.capabilities.map_or_else(unknown, words),
    ]
}

fn unknown() -> String {
    "-".into()
}

fn words(can: Capabilities) -> String {
    let all = [
        (can.tools, "tools"),
        (can.vision, "vision"),
        (can.reasoning, "reasoning"),
        (can.json_schema, "json_schema"),
    ];
    let words: Vec<_> = all.into_iter().filter_map(|(has, word)| has.then_some(word)).collect();
    words.join(" ")
}

/// Formats `128000` as `128k` and `1048576` as `1.05M`.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn thousands(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => {
            let millions = format!("{:.2}", count as f64 / 1e6);
            format!("{}M", millions.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_laid_out_in_columns_and_cut_at_the_right() {
        let big = ModelInfo {
            id: "openai/gpt-large".into(),
            context_window: Some(1_047_576),
            max_output: Some(32_768),
            capabilities: Some(Capabilities {
                tools: true,
                vision: true,
                reasoning: false,
                json_schema: true,
            }),
            input_price: Some(2.0),
            output_price: Some(8.0),
            ..ModelInfo::default()
        };
        let small = ModelInfo { id: "ollama/tiny".into(), ..ModelInfo::default() };
        let expected = "\
MODEL             CONTEXT  OUTPUT  IN $/M  OUT $/M  CAN
openai/gpt-large    1.05M     32k    2.00     8.00  tools vision json_schema
ollama/tiny             -       -       -        -  -
";
        assert_eq!(table(&[big.clone(), small], 80), expected);
        let narrow = table(&[big], 60);
        assert!(
            narrow.ends_with("openai/gpt-large    1.05M     32k    2.00     8.00  tools v…\n"),
            "{narrow}"
        );
    }

    #[test]
    fn counts_are_short() {
        for (count, shown) in
            [(512, "512"), (8_192, "8k"), (128_000, "128k"), (1_000_000, "1M"), (10_485_760, "10.49M")]
        {
            assert_eq!(thousands(count), shown);
        }
    }
}
