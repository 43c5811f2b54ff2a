//! The built-in catalogue of models: context windows, limits, capabilities and prices.
//!
//! The data is `catalogue/models.json`, which is part of the binary. `cargo xtask catalogue` generates it. Models that
//! are not in it still work: `model_rules.rs` has rules for them, and their price is unknown.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use llmspell_core::capability::Price;
use llmspell_core::chat::{Capabilities, ModelInfo, Usage};
use serde::Deserialize;

use crate::mock;
use crate::providers::ProtocolKind;

/// The catalogue file: the models of each provider by name.
#[derive(Deserialize)]
struct CatalogueFile {
    #[serde(borrow)]
    models: BTreeMap<&'static str, BTreeMap<&'static str, CatalogueRow>>,
}

/// Context window and maximum output in tokens; capabilities as letters (`t`ools, `v`ision, `r`easoning, `j`son
/// schema); prices in US dollars per million tokens of input, output and cached input; facts about requests.
#[derive(Deserialize)]
struct CatalogueRow(
    Option<u64>,
    Option<u64>,
    &'static str,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    #[serde(default)] RequestFacts,
);

/// How requests to a model must look. If the catalogue does not say, `model_rules` decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RequestFacts {
    /// The only protocol that the provider's own API supports for the model: `responses`.
    #[serde(deserialize_with = "protocol")]
    pub(crate) protocol: Option<ProtocolKind>,
    /// Whether the model accepts `temperature` and `top_p` when the request does not set `reasoning`.
    pub(crate) sampling: Option<bool>,
}

fn protocol<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ProtocolKind>, D::Error> {
    match <&str>::deserialize(deserializer)? {
        "responses" => Ok(Some(ProtocolKind::OpenAiResponses)),
        other => Err(serde::de::Error::custom(format_args!("an unknown protocol `{other}`"))),
    }
}

/// Parsed at first use.
static LIST: LazyLock<BTreeMap<&'static str, BTreeMap<&'static str, CatalogueRow>>> = LazyLock::new(|| {
    // A test parses the file, so it is valid in a release.
    serde_json::from_str::<CatalogueFile>(include_str!("catalogue/models.json"))
        .map(|list| list.models)
        .unwrap_or_default()
});

/// Returns the name under which the catalogue lists a provider.
fn listed_as(provider: &str) -> &str {
    if provider == "openai-responses" { "openai" } else { provider }
}

/// Returns what the catalogue knows of a model.
pub(crate) fn find(provider: &str, model: &str) -> Option<ModelInfo> {
    let CatalogueRow(context_window, max_output, abilities, input_price, output_price, cached_input_price, _) =
        LIST.get(listed_as(provider))?.get(model)?;
    let has = |letter| abilities.contains(letter);
    Some(ModelInfo {
        id: format!("{provider}/{model}"),
        name: model.to_owned(),
        provider: provider.to_owned(),
        context_window: *context_window,
        max_output: *max_output,
        capabilities: Some(Capabilities {
            tools: has('t'),
            vision: has('v'),
            reasoning: has('r'),
            json_schema: has('j'),
        }),
        input_price: *input_price,
        output_price: *output_price,
        cached_input_price: *cached_input_price,
    })
}

/// Returns how requests to a model must look. A dated snapshot of a model is like the model.
pub(crate) fn request_facts(provider: &str, model: &str) -> RequestFacts {
    let row = LIST.get(provider).and_then(|models| models.get(model).or_else(|| models.get(undated(model)?)));
    row.map(|row| row.6).unwrap_or_default()
}

/// Returns the model of a dated snapshot, such as `gpt-5.6-2026-07-01` or `claude-opus-5-20260701`.
fn undated(snapshot: &str) -> Option<&str> {
    ["-####-##-##", "-########"].into_iter().find_map(|pattern| {
        let (model, date) = snapshot.split_at_checked(snapshot.len().checked_sub(pattern.len())?)?;
        let fits = |(letter, sign): (u8, u8)| match sign {
            b'#' => letter.is_ascii_digit(),
            _ => letter == sign,
        };
        date.bytes().zip(pattern.bytes()).all(fits).then_some(model)
    })
}

/// Returns what is known of a model, including the models of the mock.
pub(crate) fn known(provider: &str, model: &str) -> Option<ModelInfo> {
    if provider == mock::NAME {
        return mock::models().into_iter().find(|known| known.name == model);
    }
    find(provider, model)
}

/// Returns the names of a provider's models.
pub(crate) fn names(provider: &str) -> impl Iterator<Item = &'static str> {
    LIST.get(listed_as(provider)).into_iter().flat_map(|models| models.keys().copied())
}

/// Completes what a provider says of a model with data of the catalogue.
pub(crate) fn complete(provider: &str, said: ModelInfo) -> ModelInfo {
    let known = find(provider, &said.name).unwrap_or_default();
    ModelInfo {
        id: format!("{provider}/{}", said.name),
        provider: provider.to_owned(),
        context_window: said.context_window.or(known.context_window),
        max_output: said.max_output.or(known.max_output),
        capabilities: said.capabilities.or(known.capabilities),
        input_price: said.input_price.or(known.input_price),
        output_price: said.output_price.or(known.output_price),
        cached_input_price: said.cached_input_price.or(known.cached_input_price),
        name: said.name,
    }
}

/// Returns the price of a model without cached input; `None` if it is unknown.
pub(crate) fn price(model: &ModelInfo) -> Option<Price> {
    Some(Price { input: model.input_price?, output: model.output_price? })
}

/// The price of writing input to the provider's cache, relative to the input price. Anthropic and OpenAI, from GPT-5.6
/// on, charge for it and report it.
const CACHE_WRITE: f64 = 1.25;

/// The relative price of writing input to a cache that keeps it for an hour.
const CACHE_WRITE_HOUR: f64 = 2.0;

/// The cost of a call in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CallCost {
    pub(crate) cost: f64,
    /// What the provider's cache saved; negative if writing to it cost more. `None` if the cache was not used.
    pub(crate) saved: Option<f64>,
}

/// Returns the cost of a call; `None` if the model's price is unknown.
pub(crate) fn cost(model: &ModelInfo, usage: &Usage) -> Option<CallCost> {
    let (input_price, output_price) = (model.input_price?, model.output_price?);
    let cached = usage.cached_tokens.min(usage.input_tokens);
    let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
    let written_hour = usage.cache_write_hour_tokens.min(written);
    let cached_price = model.cached_input_price.unwrap_or(input_price);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let millions = |tokens: u64| tokens as f64 / 1e6;
    let without_cache = millions(usage.input_tokens) * input_price;
    let input = millions(usage.input_tokens - cached - written) * input_price
        + millions(cached) * cached_price
        + millions(written - written_hour) * input_price * CACHE_WRITE
        + millions(written_hour) * input_price * CACHE_WRITE_HOUR;
    let saved = (cached > 0 || written > 0).then_some(without_cache - input);
    Some(CallCost { cost: input + millions(usage.output_tokens) * output_price, saved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROVIDERS;

    #[test]
    fn the_list_is_small_and_reads() {
        let text = include_str!("catalogue/models.json");
        assert!(text.len() < 150_000, "{} bytes", text.len());
        let list: CatalogueFile = serde_json::from_str(text).unwrap();
        assert!(list.models.keys().all(|name| PROVIDERS.iter().any(|row| row.name == *name)));
        assert!(list.models["openai"].len() > 20);
    }

    #[test]
    fn the_default_models_have_prices() {
        // A router and local models have no fixed prices, and deployments no fixed names.
        let fixed = |row: &&crate::ProviderRow| !row.local && !row.own_address && row.name != "openrouter";
        for row in PROVIDERS.iter().filter(fixed) {
            let model = find(row.name, row.default_model).unwrap_or_default();
            assert!(model.input_price.is_some(), "{}/{}", row.name, row.default_model);
        }
    }

    #[test]
    fn a_known_model_has_a_window_and_prices() {
        let model = find("openai", "gpt-4o").unwrap();
        assert_eq!(model.context_window, Some(128_000));
        assert_eq!(
            model.capabilities.map(|can| (can.tools, can.vision, can.reasoning)),
            Some((true, true, false))
        );
        let usage = Usage { input_tokens: 1_000, output_tokens: 100, cached_tokens: 400, ..Usage::default() };
        let CallCost { cost, saved } = cost(&model, &usage).unwrap();
        assert!((cost - (600.0 * 2.5 + 400.0 * 1.25 + 100.0 * 10.0) / 1e6).abs() < 1e-12, "{cost}");
        assert!((saved.unwrap() - 400.0 * 1.25 / 1e6).abs() < 1e-12, "{saved:?}");
    }

    #[test]
    fn writing_to_the_cache_has_a_price_of_its_own() {
        let model = ModelInfo {
            input_price: Some(3.0),
            output_price: Some(15.0),
            cached_input_price: Some(0.3),
            ..ModelInfo::default()
        };
        for (input, cached, written, hour, expected, saved) in [
            (12_307, 0, 12_304, 0, 3.0 * 3.0 + 12_304.0 * 3.75, Some(-12_304.0 * 0.75)),
            (12_307, 0, 12_304, 12_304, 3.0 * 3.0 + 12_304.0 * 6.0, Some(-12_304.0 * 3.0)),
            (1_000, 0, 300, 100, 700.0 * 3.0 + 200.0 * 3.75 + 100.0 * 6.0, Some(-450.0)),
            (1_000, 900, 50, 0, 50.0 * 3.0 + 900.0 * 0.3 + 50.0 * 3.75, Some(900.0 * 2.7 - 37.5)),
            (1_000, 0, 0, 0, 3_000.0, None),
        ] {
            let usage = Usage {
                input_tokens: input,
                output_tokens: 550,
                cached_tokens: cached,
                cache_write_tokens: written,
                cache_write_hour_tokens: hour,
                ..Usage::default()
            };
            let found = cost(&model, &usage).unwrap();
            assert!((found.cost * 1e6 - expected - 550.0 * 15.0).abs() < 1e-6, "{usage:?}: {found:?}");
            let is_near = |found: f64| (found * 1e6 - saved.unwrap_or(f64::NAN)).abs() < 1e-6;
            assert!(found.saved.map_or(saved.is_none(), is_near), "{usage:?}: {found:?}");
        }
    }

    #[test]
    fn a_model_without_a_price_costs_an_unknown_amount() {
        assert_eq!(cost(&ModelInfo::default(), &Usage::default()), None);
    }
}
