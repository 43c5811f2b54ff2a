//! Methods of bridges as tools. A method's definition already has the name, description and parameter schema for a
//! model.

use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Handler, Param};
use llmspell_core::{Context, Error, ErrorKind, Method, Result, Value, to_value};
use llmspell_llm::{Schema, Tool, ToolKind};
use schemars::generate::SchemaSettings;
use serde_json::{Value as Json, json};

use crate::names::near;

/// Returns the tool for a method of one of the run's bridges.
///
/// # Errors
/// Returns an error when the method does not exist or has a parameter that a model cannot supply.
pub(super) fn tool(cx: &Context, bridge: &str, name: &str) -> Result<Tool> {
    let bridges = cx.bridges();
    let missing = |hint| {
        let message = format!("there is no tool and no method named `{bridge}.{name}`");
        Error::new(ErrorKind::NotFound, message).hint(hint)
    };
    let found = bridges.iter().find(|found| found.name == bridge);
    let found = found.ok_or_else(|| missing(near(bridge, bridges.iter().map(|bridge| &*bridge.name))))?;
    let method = found.methods.iter().find(|method| method.name == name);
    let method =
        method.ok_or_else(|| missing(near(name, found.methods.iter().map(|method| &*method.name))))?;
    Ok(of(&format!("{bridge}_{name}"), method)?.kind(ToolKind::Bridge))
}

/// Returns a tool with the given name that calls a method.
///
/// # Errors
/// Returns an error when the method has a required parameter that a model cannot supply.
pub(super) fn of(name: &str, method: &Method) -> Result<Tool> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
    for param in method.params.iter().filter(|param| !param.rest) {
        let mut schema = (param.schema)(&mut generator).to_value();
        let is_optional = take_null(&mut schema);
        if is_of_script(&schema) {
            if is_optional {
                continue;
            }
            let message = format!(
                "`{}` takes a function or an object (`{}`), which a model cannot give",
                method.name, param.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("register a function that calls it with `tools.register`"));
        }
        properties.insert(param.name.to_string(), schema);
        if !is_optional {
            required.push(&*param.name);
        }
    }
    let mut schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        schema["$defs"] = Json::Object(definitions);
    }
    let handler = method.handler.clone();
    let all = Arc::clone(&method.params);
    Tool::new(name, about(&method.doc), Schema::known(schema), move |cx, arguments| {
        let (handler, arguments) = (handler.clone(), in_order(&all, arguments));
        async move {
            let arguments = Arguments::new(arguments?);
            match handler {
                Handler::Sync(call) => call(&cx, arguments),
                Handler::Async(call) => call(cx, arguments).await,
            }
        }
    })
}

/// Converts named arguments to a list in the order of the parameters.
fn in_order(params: &[Param], mut arguments: Json) -> Result<Vec<Value>> {
    params
        .iter()
        .map(|param| to_value(&arguments.get_mut(&*param.name).map(Json::take).unwrap_or_default()))
        .collect()
}

/// Returns the text of a method's documentation without its examples.
fn about(doc: &str) -> String {
    let text = doc.split("```").step_by(2).collect::<String>();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Removes `null` from a schema. Returns whether the schema accepted a missing value.
fn take_null(schema: &mut Json) -> bool {
    let is_null = |one: &Json| one == "null" || one["type"] == "null";
    for key in ["type", "anyOf"] {
        let Some(Json::Array(choices)) = schema.get_mut(key) else { continue };
        let before = choices.len();
        choices.retain(|one| !is_null(one));
        if choices.len() == before {
            continue;
        }
        if choices.len() == 1 {
            let only = choices.remove(0);
            match (key, only) {
                ("type", only) => schema[key] = only,
                (_, only) => *schema = only,
            }
        }
        return true;
    }
    // A schema that accepts anything also accepts a missing value.
    schema.as_object().is_some_and(serde_json::Map::is_empty) || *schema == Json::Bool(true)
}

/// Returns whether a schema describes a value that only a script has: a function, host object or byte string.
fn is_of_script(schema: &Json) -> bool {
    schema.get("x-llmspell").is_some()
}
