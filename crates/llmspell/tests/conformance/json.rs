//! The vectors of JSONTestSuite: texts that every parser must accept, texts that every parser must reject, and texts
//! that are up to the parser. `json.decode` gives the same result in both languages; JavaScript's own `JSON.parse` is
//! compared with it.
//!
//! `json-vectors.jsonl` contains the suite as published in <https://github.com/nst/JSONTestSuite> (MIT License,
//! copyright 2016 Nicolas Seriot). Each line is a vector, with its text, with its bytes if they are not UTF-8, or with
//! the text to repeat.

use llmspell::{Limits, Runtime, Spell, Value};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(default)]
    text: String,
    hex: Option<String>,
    times: Option<usize>,
    #[serde(default)]
    end: String,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        match &self.hex {
            Some(hex) => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            None => (self.text.repeat(self.times.unwrap_or(1)) + &self.end).into_bytes(),
        }
    }
}

fn vectors() -> Vec<Vector> {
    include_str!("json-vectors.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A script that handles each vector: `{text}` is the parsed value, serialized again; `{kind}` is the error's kind.
const LUAU: &str = "
local told = {}
for at, text in params.vectors do
    local value, err = json.decode(text)
    told[at] = if err then { kind = err.kind } else { text = json.encode(value) }
end
return told
";

const JAVASCRIPT: &str = "
export default params.vectors.map((text) => {
    try {
        return { text: json.encode(json.decode(text)) };
    } catch (error) {
        return { kind: error.kind };
    }
});
";

/// The same with the language's own parser, which accepts text but not bytes.
const OWN: &str = "
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
export default params.vectors.map((bytes) => {
    try {
        JSON.parse(decoder.decode(bytes));
        return { text: 'null' };
    } catch (error) {
        return { kind: error.name };
    }
});
";

/// Returns the result of each vector: the parsed value, or the error.
async fn judge(file: &str, script: &str, vectors: &[Vector]) -> Vec<Result<Json, String>> {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let bytes: Vec<Value> = vectors.iter().map(|vector| Value::Bytes(vector.bytes())).collect();
    let cast = runtime.run(Spell::from_source(file, script).unwrap()).param("vectors", bytes);
    let value = cast.limits(|limits: &mut Limits| limits.memory = 64 << 20).start().outcome().await;
    let told: Vec<Json> =
        serde_json::from_value(serde_json::to_value(value.into_result().unwrap()).unwrap()).unwrap();
    assert_eq!(told.len(), vectors.len());
    told.into_iter()
        .map(|one| match one["text"].as_str() {
            Some(text) => Ok(serde_json::from_str(text).unwrap()),
            None => Err(one["kind"].as_str().unwrap().to_owned()),
        })
        .collect()
}

#[test]
fn the_suite_is_whole() {
    let count = |kind: &str| vectors().iter().filter(|vector| vector.name.starts_with(kind)).count();
    assert_eq!((count("y_"), count("n_"), count("i_")), (95, 188, 35));
}

#[tokio::test]
async fn both_languages_take_the_valid_and_refuse_the_invalid() {
    let vectors = vectors();
    let luau = judge("json.luau", LUAU, &vectors).await;
    let javascript = judge("json.js", JAVASCRIPT, &vectors).await;
    for ((vector, luau), javascript) in vectors.iter().zip(&luau).zip(&javascript) {
        let name = &vector.name;
        assert_eq!(luau, javascript, "{name}");
        match name.split('_').next().unwrap() {
            "y" => assert!(luau.is_ok(), "{name}: {luau:?}"),
            "n" => assert_eq!(luau, &Err("parse".to_owned()), "{name}"),
            _ => {}
        }
    }
}

/// The behaviour of this parser for texts that are up to the parser.
#[tokio::test]
async fn what_is_left_open_is_decided_once() {
    let vectors = vectors();
    let judged = judge("json.luau", LUAU, &vectors).await;
    let taken: Vec<&str> = vectors
        .iter()
        .zip(&judged)
        .filter(|(vector, judged)| vector.name.starts_with("i_") && judged.is_ok())
        .map(|(vector, _)| vector.name.as_str())
        .collect();
    assert_eq!(taken, TAKEN);
}

const TAKEN: [&str; 2] = ["i_number_double_huge_neg_exp", "i_number_real_underflow"];

/// `JSON.parse` agrees with `json.decode` except for these vectors, all of which are up to the parser.
#[tokio::test]
async fn the_languages_own_reader_differs_where_it_may() {
    let vectors = vectors();
    let ours = judge("json.js", JAVASCRIPT, &vectors).await;
    let own = judge("json.js", OWN, &vectors).await;
    let differing: Vec<&str> = vectors
        .iter()
        .zip(ours.iter().zip(&own))
        .filter(|(_, (ours, own))| ours.is_ok() != own.is_ok())
        .map(|(vector, _)| vector.name.as_str())
        .collect();
    assert_eq!(differing, DIFFERING);
}

/// Numbers beyond the range or precision of a double, lone surrogates, and nesting beyond the limit of values.
const DIFFERING: [&str; 19] = [
    "i_number_huge_exp",
    "i_number_neg_int_huge_exp",
    "i_number_pos_double_huge_exp",
    "i_number_real_neg_overflow",
    "i_number_real_pos_overflow",
    "i_number_too_big_neg_int",
    "i_number_too_big_pos_int",
    "i_number_very_big_negative_int",
    "i_object_key_lone_2nd_surrogate",
    "i_string_1st_surrogate_but_2nd_missing",
    "i_string_1st_valid_surrogate_2nd_invalid",
    "i_string_incomplete_surrogate_and_escape_valid",
    "i_string_incomplete_surrogate_pair",
    "i_string_incomplete_surrogates_escape_valid",
    "i_string_invalid_lonely_surrogate",
    "i_string_invalid_surrogate",
    "i_string_inverted_surrogates_U+1D11E",
    "i_string_lone_second_surrogate",
    "i_structure_500_nested_arrays",
];
