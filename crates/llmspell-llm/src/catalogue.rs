//! What is known of models without asking: windows, limits, abilities and prices, from a list kept in the source.
//!
//! `cargo xtask catalogue` makes the list anew.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use llmspell_core::capability::Price;
use llmspell_core::chat::{Capabilities, ModelInfo, Usage};
use serde::Deserialize;

use crate::mock;
use crate::providers::ShapeKind;

/// The list as it is kept: the providers' models by name.
#[derive(Deserialize)]
struct List {
    #[serde(borrow)]
    models: BTreeMap<&'static str, BTreeMap<&'static str, Row>>,
}

/// Context window, most output, abilities (`t`ools, `v`ision, `r`easoning, `j`son schema), and US dollars for a
/// million tokens of input, output and cached input; then what its requests depend on.
#[derive(Deserialize)]
struct Row(
    Option<u64>,
    Option<u64>,
    &'static str,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    #[serde(default)] RequestFacts,
);

/// What the list says of the requests that a model takes. Where it says nothing, `model_rules` knows a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RequestFacts {
    /// The only protocol that its provider's own API has for it: `responses`.
    #[serde(deserialize_with = "protocol")]
    pub(crate) protocol: Option<ShapeKind>,
    /// Whether it takes `temperature` and `top_p` unless the request says how it is to reason.
    pub(crate) sampling: Option<bool>,
}

fn protocol<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ShapeKind>, D::Error> {
    match <&str>::deserialize(deserializer)? {
        "responses" => Ok(Some(ShapeKind::OpenAiResponses)),
        other => Err(serde::de::Error::custom(format_args!("an unknown protocol `{other}`"))),
    }
}

/// Read at the first question, once.
static LIST: LazyLock<BTreeMap<&'static str, BTreeMap<&'static str, Row>>> = LazyLock::new(|| {
    // A test reads the list, so a release never comes here with one that is broken.
    serde_json::from_str::<List>(include_str!("catalogue/models.json"))
        .map(|list| list.models)
        .unwrap_or_default()
});

/// The provider whose models the list has under another name.
fn listed_as(provider: &str) -> &str {
    if provider == "openai-responses" { "openai" } else { provider }
}

/// What is known of a model.
pub(crate) fn find(provider: &str, model: &str) -> Option<ModelInfo> {
    let Row(context_window, max_output, abilities, input_price, output_price, cached_input_price, _) =
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

/// What the list says of the requests that a model takes. A dated snapshot takes what its model does.
pub(crate) fn request_facts(provider: &str, model: &str) -> RequestFacts {
    let row = LIST.get(provider).and_then(|models| models.get(model).or_else(|| models.get(undated(model)?)));
    row.map(|row| row.6).unwrap_or_default()
}

/// The model of a snapshot with a date: `gpt-5.6-2026-07-01`, `claude-opus-5-20260701`.
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

/// What is known of a model, the mock's included.
pub(crate) fn known(provider: &str, model: &str) -> Option<ModelInfo> {
    if provider == mock::NAME {
        return mock::models().into_iter().find(|known| known.name == model);
    }
    find(provider, model)
}

/// The names of a provider's models.
pub(crate) fn names(provider: &str) -> impl Iterator<Item = &'static str> {
    LIST.get(listed_as(provider)).into_iter().flat_map(|models| models.keys().copied())
}

/// What a provider says of a model, and from the list what it does not say.
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

/// What a model costs that takes nothing from its cache; `None` when it has no known price.
pub(crate) fn price(model: &ModelInfo) -> Option<Price> {
    Some(Price { input: model.input_price?, output: model.output_price? })
}

/// US dollars for what a call used; `None` when the model has no known price.
pub(crate) fn cost(model: &ModelInfo, usage: &Usage) -> Option<f64> {
    let (input_price, output_price) = (model.input_price?, model.output_price?);
    let cached = usage.cached_tokens.min(usage.input_tokens);
    let fresh = usage.input_tokens - cached;
    let cached_price = model.cached_input_price.unwrap_or(input_price);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let millions = |tokens: u64| tokens as f64 / 1e6;
    Some(
        millions(fresh) * input_price
            + millions(cached) * cached_price
            + millions(usage.output_tokens) * output_price,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROVIDERS;

    #[test]
    fn the_list_is_small_and_reads() {
        let text = include_str!("catalogue/models.json");
        assert!(text.len() < 150_000, "{} bytes", text.len());
        let list: List = serde_json::from_str(text).unwrap();
        assert!(list.models.keys().all(|name| PROVIDERS.iter().any(|row| row.name == *name)));
        assert!(list.models["openai"].len() > 20);
    }

    #[test]
    fn the_default_models_have_prices() {
        // Of a router's and of a local one's there are none to write down.
        for row in PROVIDERS.iter().filter(|row| !row.local && row.name != "openrouter") {
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
        let cost = cost(&model, &usage).unwrap();
        assert!((cost - (600.0 * 2.5 + 400.0 * 1.25 + 100.0 * 10.0) / 1e6).abs() < 1e-12, "{cost}");
    }

    #[test]
    fn a_model_without_a_price_costs_an_unknown_amount() {
        assert_eq!(cost(&ModelInfo::default(), &Usage::default()), None);
    }
}
