//! Reduces the model list of the Python package `litellm` (MIT) to the providers and fields that llmspell serves.
//!
//! ```text
//! pip download --no-deps litellm && unzip litellm-*.whl
//! cargo xtask catalogue litellm/model_prices_and_context_window_backup.json 1.109.1 2026-11-22
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value as Json, json};

const OUTPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/llmspell-llm/src/catalogue/models.json");

/// The name of each provider in llmspell and in litellm.
const PROVIDERS: &[(&str, &str)] = &[
    ("anthropic", "anthropic"),
    ("cerebras", "cerebras"),
    ("deepseek", "deepseek"),
    ("fireworks", "fireworks_ai"),
    ("gemini", "gemini"),
    ("groq", "groq"),
    ("mistral", "mistral"),
    ("moonshot", "moonshot"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("together", "together_ai"),
    ("xai", "xai"),
];

/// Writes the reduced list into the source tree. Returns a summary for the user.
#[expect(clippy::disallowed_methods, reason = "a chore reads and writes the source tree")]
pub(crate) fn write(list: &str, version: &str, date: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(list).map_err(|error| format!("{list}: {error}"))?;
    let all: Json = serde_json::from_str(&text).map_err(|error| format!("{list}: {error}"))?;
    let reduced = reduce(&all, version, date);
    std::fs::write(Path::new(OUTPUT), &reduced).map_err(|error| format!("{OUTPUT}: {error}"))?;
    Ok(format!("wrote {} bytes", reduced.len()))
}

/// Returns the reduced list as JSON with one model per line, so that diffs are readable.
fn reduce(all: &Json, version: &str, date: &str) -> String {
    let mut models: BTreeMap<&str, BTreeMap<&str, Json>> = BTreeMap::new();
    for (name, model) in all.as_object().into_iter().flatten() {
        let known = PROVIDERS.iter().find(|(_, theirs)| model["litellm_provider"] == *theirs);
        let Some((ours, theirs)) = known else { continue };
        let is_chat = matches!(model["mode"].as_str(), Some("chat" | "responses"));
        // Entries without a real model: price templates for fine-tuned models (`ft:`) and for sizes of models.
        if !is_chat || name.starts_with("ft:") || name.contains("fireworks-ai-") {
            continue;
        }
        let name = name.strip_prefix(&format!("{theirs}/")).unwrap_or(name);
        models.entry(ours).or_default().entry(name).or_insert_with(|| row(name, model));
    }
    let mut text = format!(
        "{{\n\"source\":\"litellm {version}, model_prices_and_context_window_backup.json (MIT License, Berri AI)\",\n\
         \"date\":\"{date}\",\n\"models\":{{\n"
    );
    let providers: Vec<String> = models
        .iter()
        .map(|(provider, models)| {
            let mut lines = format!("{}:{{", json!(provider));
            let rows: Vec<String> =
                models.iter().map(|(name, row)| format!("\n{}:{row}", json!(name))).collect();
            let _ = write!(lines, "{}}}", rows.join(","));
            lines
        })
        .collect();
    text.push_str(&providers.join(",\n"));
    text.push_str("}}\n");
    text
}

/// Returns the row of a model: input and output tokens, abilities, prices per million tokens and request facts.
fn row(name: &str, model: &Json) -> Json {
    let tokens = |name: &str| model[name].as_u64();
    // If both prices are zero, the model is a preview without a price, or the list does not know its price.
    let priced = ["input_cost_per_token", "output_cost_per_token"]
        .iter()
        .any(|name| model[*name].as_f64() > Some(0.0));
    let price = |name: &str| {
        // litellm has prices per token. Rounding removes the error of the multiplication by a million.
        model[name].as_f64().filter(|_| priced).map(|one| (one * 1e6 * 1e6).round() / 1e6)
    };
    let abilities: String = [
        ("supports_function_calling", 't'),
        ("supports_vision", 'v'),
        ("supports_reasoning", 'r'),
        ("supports_response_schema", 'j'),
    ]
    .into_iter()
    .filter(|(field, _)| model[*field] == true)
    .map(|(_, letter)| letter)
    .collect();
    let mut row = vec![
        json!(tokens("max_input_tokens").or_else(|| tokens("max_tokens"))),
        json!(tokens("max_output_tokens")),
        json!(abilities),
        json!(price("input_cost_per_token")),
        json!(price("output_cost_per_token")),
        json!(price("cache_read_input_token_cost")),
    ];
    let facts = request_facts(name, model);
    if !facts.is_empty() {
        row.push(facts.into());
    }
    row.into()
}

/// Returns the facts that decide how a request to the model looks: its protocol, and whether it accepts sampling
/// parameters. `model_rules.rs` has rules for models whose facts the list does not state.
fn request_facts(name: &str, model: &Json) -> serde_json::Map<String, Json> {
    let mut facts = serde_json::Map::new();
    let is_openai = model["litellm_provider"] == "openai";
    let endpoints = model["supported_endpoints"].as_array();
    let has = |endpoint: &str| endpoints.is_some_and(|all| all.iter().any(|one| one == endpoint));
    let only_responses = model["mode"] == "responses" || has("/v1/responses") && !has("/v1/chat/completions");
    if is_openai && only_responses {
        facts.insert("protocol".to_owned(), "responses".into());
    }
    // OpenAI's models reject sampling parameters while they reason, and they reason unless the list has the effort
    // `none`. The list wrongly marks the chat models of GPT-5 as reasoning models.
    let reasons_by_default = is_openai
        && model["supports_reasoning"] == true
        && model["default_reasoning_effort"] != "none"
        && !name.starts_with("gpt-5-chat");
    if model["supports_sampling_params"] == false || reasons_by_default {
        facts.insert("sampling".to_owned(), false.into());
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_served_chat_models_and_fields_stay() {
        let all = json!({
            "gpt-x": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 10, "max_output_tokens": 5,
                "input_cost_per_token": 2.5e-06, "supports_vision": true},
            "gpt-y": {"litellm_provider": "openai", "mode": "responses", "supports_reasoning": true},
            "gpt-y-lazy": {"litellm_provider": "openai", "mode": "chat", "supports_reasoning": true,
                "default_reasoning_effort": "none", "supported_endpoints": ["/v1/responses", "/v1/chat/completions"]},
            "claude-z": {"litellm_provider": "anthropic", "mode": "chat", "supports_sampling_params": false},
            "groq/llama": {"litellm_provider": "groq", "mode": "chat", "max_tokens": 7},
            "ft:gpt-x": {"litellm_provider": "openai", "mode": "chat"},
            "embed": {"litellm_provider": "openai", "mode": "embedding"},
            "other": {"litellm_provider": "bedrock", "mode": "chat"},
        });
        assert_eq!(
            reduce(&all, "1.0", "2026-01-01"),
            r#"{
"source":"litellm 1.0, model_prices_and_context_window_backup.json (MIT License, Berri AI)",
"date":"2026-01-01",
"models":{
"anthropic":{
"claude-z":[null,null,"",null,null,null,{"sampling":false}]},
"groq":{
"llama":[7,null,"",null,null,null]},
"openai":{
"gpt-x":[10,5,"v",2.5,null,null],
"gpt-y":[null,null,"r",null,null,null,{"protocol":"responses","sampling":false}],
"gpt-y-lazy":[null,null,"r",null,null,null]}}}
"#
        );
    }
}
