//! Typed answers from a model that formats them badly.

use std::fmt::Write as _;
use std::sync::Arc;

use llmspell_core::chat::{ChatRequest, Role};
use llmspell_core::{Context, Error, ErrorKind};
use llmspell_llm::{Client, ExtractSpec, Extracted, Mock, Schema, extract};
use serde_json::{Value as Json, json};

fn schema() -> Schema {
    Schema::read(&json!({
        "id": "integer",
        "name": "string",
        "paid": "boolean",
        "tags": ["string"],
        "address": {"street": "string", "zip": "string"},
        "lines": [{"title": "string", "price": "number"}],
        "note": "string?",
    }))
    .unwrap()
}

/// Returns the requested value.
fn invoice(id: u64) -> Json {
    json!({
        "id": id,
        "name": format!("Ada {id}"),
        "paid": id.is_multiple_of(2),
        "tags": ["a", "it's"],
        "address": {"street": "12 \"Old\" Road", "zip": format!("{:05}", 10_000 + id)},
        "lines": [{"title": "Tea, green", "price": 2.5}, {"title": "Cup", "price": 4.0}],
    })
}

/// The kind of a malformed answer, and what can be expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Complete, but wrapped or written in another syntax.
    Readable,
    /// Wrong in a way that only the model can correct.
    Wrong,
}

/// A name, the kind, and the function that formats a value.
type Way = (&'static str, Kind, fn(Json) -> String);

/// The ways in which answers are malformed, each applied to a valid value.
fn ways() -> Vec<Way> {
    use Kind::{Readable, Wrong};
    fn changed(mut value: Json, pointer: &str, new: Json) -> String {
        *value.pointer_mut(pointer).unwrap() = new;
        value.to_string()
    }
    fn without(mut value: Json, parent: &str, name: &str) -> String {
        value.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(name);
        value.to_string()
    }
    /// Formats a value like Python.
    fn python(value: &Json) -> String {
        match value {
            Json::Null => "None".into(),
            Json::Bool(truth) => if *truth { "True" } else { "False" }.into(),
            Json::String(text) if text.contains('\'') => format!("\"{}\"", text.replace('"', "\\\"")),
            Json::String(text) => format!("'{text}'"),
            Json::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
            Json::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("'{name}': {}", python(value)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        }
    }
    /// Formats a value like JavaScript: names without quotes, and trailing commas.
    fn javascript(value: &Json) -> String {
        match value {
            Json::Array(items) => {
                items.iter().fold("[".to_owned(), |text, item| text + &javascript(item) + ",") + "]"
            }
            Json::Object(fields) => {
                let mut text = "{ // as asked\n".to_owned();
                for (name, value) in fields {
                    writeln!(text, "  {name}: {},", javascript(value)).unwrap();
                }
                text + "}"
            }
            other => other.to_string(),
        }
    }
    fn pretty(value: &Json) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }
    vec![
        ("in a fence", Readable, |value| format!("```json\n{}\n```", pretty(&value))),
        ("in a fence without a language", Readable, |value| format!("```\n{value}\n```")),
        ("in a fence that is not closed", Readable, |value| format!("```json\n{value}\n")),
        ("with prose before", Readable, |value| format!("Sure! Here is the data you asked for:\n\n{value}")),
        ("with prose around", Readable, |value| format!("The result {{as JSON}}: {value}\n\nIs [that] all?")),
        ("with prose around a fence", Readable, |value| {
            format!("Of course.\n\n```json\n{}\n```\nLet me know!", pretty(&value))
        }),
        ("after thought", Readable, |value| format!("<think>Is {{id}} a number? Yes.</think>\n{value}")),
        ("as Python", Readable, |value| python(&value)),
        ("as JavaScript", Readable, |value| javascript(&value)),
        ("with a comma too many", Readable, |value| pretty(&value).replace("\n}", ",\n}")),
        ("without commas at line ends", Readable, |value| pretty(&value).replace(",\n", "\n")),
        ("with typographic quotes", Readable, |value| {
            value.to_string().replace("\\\"", "'").replace('"', "”").replace("'Old'", "\\\"Old\\\"")
        }),
        ("with quotes that are not escaped", Readable, |value| value.to_string().replace("\\\"", "\"")),
        ("with comments", Readable, |value| pretty(&value).replace("\"paid\"", "/* yes? */ \"paid\"")),
        ("with numbers as text", Readable, |value| {
            let id = value["id"].to_string();
            changed(value, "/id", id.into())
        }),
        ("with truth as text", Readable, |value| {
            let paid = value["paid"].to_string();
            changed(value, "/paid", paid.into())
        }),
        ("with a number in place of text", Readable, |value| {
            let zip: u64 = value["address"]["zip"].as_str().unwrap().parse().unwrap();
            changed(value, "/address/zip", zip.into())
        }),
        ("with null for what may be left out", Readable, |mut value| {
            value["note"] = Json::Null;
            value.to_string()
        }),
        ("as a list of one", Readable, |value| json!([value]).to_string()),
        ("in a field of its own", Readable, |value| json!({"invoice": value}).to_string()),
        ("as JSON in a text", Readable, |value| Json::from(value.to_string()).to_string()),
        ("with a nested table as text", Readable, |value| {
            let address = value["address"].to_string();
            changed(value, "/address", address.into())
        }),
        ("cut in the middle", Wrong, |value| {
            let text = value.to_string();
            text[..text.len() / 2].to_owned()
        }),
        ("cut before its end", Wrong, |value| value.to_string().trim_end_matches(['}', ']']).to_owned()),
        ("cut in a fence", Wrong, |value| {
            let text = format!("```json\n{}", pretty(&value));
            text[..text.len() - 40].to_owned()
        }),
        ("of a wrong type", Wrong, |value| changed(value, "/id", json!("twelve"))),
        ("of a wrong type deep in it", Wrong, |value| changed(value, "/lines/1/price", json!("cheap"))),
        ("with another structure", Wrong, |value| changed(value, "/address", json!(["Road", 1]))),
        ("without a field", Wrong, |value| without(value, "", "name")),
        ("without a field deep in it", Wrong, |value| without(value, "/lines/0", "title")),
        ("with a field too many", Wrong, |mut value| {
            value["confidence"] = json!(0.9);
            value.to_string()
        }),
        ("with null for what is needed", Wrong, |value| changed(value, "/name", Json::Null)),
        ("with an ellipsis", Wrong, |value| {
            changed(value, "/tags", json!("TAGS")).replace("\"TAGS\"", "[\"a\", ...]")
        }),
        ("as prose", Wrong, |value| format!("The invoice {} is not paid.", value["id"])),
        ("of nothing", Wrong, |_| String::new()),
        ("as a list", Wrong, |value| json!([value["id"], value["name"]]).to_string()),
        ("as YAML", Wrong, |value| format!("id: {}\nname: {}\ntags:\n  - a", value["id"], value["name"])),
        ("as a fraction", Wrong, |value| changed(value, "/id", json!(1.5))),
        ("as a promise", Wrong, |_| "```json\n{...}\n```".to_owned()),
        ("of two halves", Wrong, |value| {
            format!("{}\n{}", json!({"id": value["id"]}), json!({"name": value["name"]}))
        }),
    ]
}

fn world(mock: Mock) -> Context {
    Context::builder().models(Arc::new(Client::builder().mock(mock).build().unwrap())).build()
}

async fn ask(mock: Mock) -> Result<Extracted, Error> {
    extract(&world(mock), ChatRequest::prompt("Which invoice?"), &schema(), ExtractSpec::default()).await
}

/// The results of all answers of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    right_at_once: usize,
    repaired: usize,
    failed: usize,
}

#[tokio::test]
async fn of_200_malformed_answers_none_gives_a_wrong_value_and_none_fails_without_a_path() {
    let ways = ways();
    let mut counts = [Count::default(), Count::default()];
    for number in 0..200 {
        let (way, kind, write) = ways[number % ways.len()];
        let right = invoice(number as u64);
        let malformed = write(right.clone());
        // In every other round the model can correct its answer; otherwise it repeats the mistake.
        let repairs = (number / ways.len()).is_multiple_of(2);
        let mock = match repairs {
            true => Mock::new().reply(&malformed).reply(right.to_string()),
            false => Mock::new().reply(&malformed).reply(&malformed).reply(&malformed),
        };
        let count = &mut counts[usize::from(kind == Kind::Wrong)];
        match ask(mock.clone()).await {
            Ok(extracted) => {
                assert_eq!(extracted.value, right, "{way}: {malformed}");
                assert_eq!(extracted.attempts as usize, mock.requests().len(), "{way}");
                match extracted.attempts {
                    1 => count.right_at_once += 1,
                    _ => count.repaired += 1,
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutputInvalid, "{way}: {error}");
                let output = error.output().unwrap();
                assert!(output.path.starts_with('$') && !output.expected.is_empty(), "{way}: {error}");
                assert!(!output.got.is_empty() && malformed.starts_with(&output.raw), "{way}: {error}");
                let call = error.call().unwrap();
                assert_eq!((call.attempts, mock.requests().len()), (3, 3), "{way}");
                assert!(call.usage.as_ref().unwrap().input_tokens > 0, "{way}");
                count.failed += 1;
            }
        }
    }
    // 22 ways are readable and 18 are wrong, in five rounds each. Three rounds are corrected.
    assert_eq!(counts[0], Count { right_at_once: 110, repaired: 0, failed: 0 });
    assert_eq!(counts[1], Count { right_at_once: 0, repaired: 54, failed: 36 });
}

#[tokio::test]
async fn the_model_is_told_the_schema_and_what_was_wrong() {
    let mock = Mock::new().reply(r#"{"age": "abc"}"#).reply(r#"{"age": 36}"#);
    let cx = world(mock.clone());
    let schema = Schema::read(&json!({"age": "integer"})).unwrap();
    let request = ChatRequest { system: Some("Be exact.".into()), ..ChatRequest::prompt("How old is Ada?") };
    let extracted = extract(&cx, request, &schema, ExtractSpec::default()).await.unwrap();
    assert_eq!((extracted.value, extracted.attempts), (json!({"age": 36}), 2));
    assert_eq!(extracted.usage.input_tokens, cx.meter().usage().input_tokens);

    let requests = mock.requests();
    let system = requests[0].system.as_deref().unwrap();
    assert!(system.starts_with("Be exact.\n\nAnswer with one JSON value"), "{system}");
    assert!(system.ends_with(&schema.json().to_string()), "{system}");
    let said: Vec<_> = requests[1]
        .messages
        .iter()
        .map(|message| (message.role, message.joined_text().into_owned()))
        .collect();
    assert_eq!(said[1], (Role::Assistant, r#"{"age": "abc"}"#.to_owned()));
    assert!(said[2].1.contains(r#"$.age: expected integer, got string "abc""#), "{}", said[2].1);
}

#[tokio::test]
async fn a_provider_that_fails_in_a_repair_is_charged_for_what_was_before() {
    let denied = Error::new(ErrorKind::Auth, "the key is no more");
    let error = ask(Mock::new().reply("{}").error(denied)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.call().unwrap().usage.as_ref().unwrap().input_tokens > 0);
}
