//! `llmspell providers` lists the usable providers.

use std::fmt::Write;

use clap::Args;
use llmspell::Result;
use llmspell::capability::ProviderInfo;
use serde::Serialize;

use crate::connect::{self, WantedModels};
use crate::exit::Exit;
use crate::report::Reporter;
use crate::stdout::{Format, print, print_json};
use crate::terminal::escape_name;

/// Lists the usable providers and how each one was found
///
/// The first is the default. A provider is usable if its key is in the environment or in `.env`.
#[derive(Debug, Args)]
pub(crate) struct ProvidersArgs {
    /// The format of the output on stdout
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct ListedProvider {
    #[serde(flatten)]
    info: ProviderInfo,
    default: bool,
}

impl ProvidersArgs {
    pub(crate) async fn execute(self, report: &Reporter) -> Result<Exit> {
        let connected = connect::models(WantedModels::default()).await?;
        if let Some(note) = connected.notice.and_then(|notice| report.note(&notice)) {
            crate::report::say(&note);
        }
        let providers = connected.models.providers();
        match self.output {
            Format::Json => {
                let listed = providers.into_iter().enumerate();
                let listed: Vec<_> =
                    listed.map(|(at, info)| ListedProvider { info, default: at == 0 }).collect();
                print_json(&listed)
            }
            Format::Text => print(&table(&providers)),
        }
    }
}

/// Returns a table with one line per provider; `*` marks the default.
fn table(providers: &[ProviderInfo]) -> String {
    let rows = providers.iter().enumerate().map(|(at, info)| {
        let name = format!("{} {}", if at == 0 { '*' } else { ' ' }, info.name);
        let base_url = info.base_url.as_deref().unwrap_or("-");
        [name.as_str(), &info.default_model, &info.found_by, base_url].map(escape_name)
    });
    let head = ["  PROVIDER", "DEFAULT MODEL", "FOUND BY", "BASE URL"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (name_width, model_width, found_width) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [name, model, found_by, base_url] in &rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<name_width$}  {model:<model_width$}  {found_by:<found_width$}  {base_url}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_marked() {
        let provider = |name: &str, base_url: Option<&str>| ProviderInfo {
            name: name.into(),
            default_model: format!("{name}-1"),
            found_by: "KEY".into(),
            base_url: base_url.map(str::to_owned),
        };
        let expected = "  \
  PROVIDER  DEFAULT MODEL  FOUND BY  BASE URL
* openai    openai-1       KEY       https://x/v1
  mock      mock-1         KEY       -
";
        assert_eq!(table(&[provider("openai", Some("https://x/v1")), provider("mock", None)]), expected);
    }
}
