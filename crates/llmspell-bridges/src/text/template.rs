//! Jinja templates, with limits on what a template can cost.
//!
//! Templates run in `minijinja`, which counts fuel per instruction. Some operations cost little fuel and much time or
//! memory, and the parser can overflow the stack. Such templates are rejected before they are parsed, or when the
//! value is printed.

use llmspell_core::{Error, ErrorKind, Map, Result, Value};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

/// The fuel of one template: one unit per instruction, and one per 64 bytes written. Allows about 30 ms and 20 MB of
/// text.
const FUEL: u64 = 300_000;

/// The maximum depth of loops and nested expressions, far below what the stack of a thread allows.
const MAX_DEPTH: usize = 200;

/// The maximum size of a template in bytes, because parsing costs no fuel.
const MAX_TEMPLATE: usize = 1024 * 1024;

/// Renders a template. `memory` is the maximum memory in bytes that rendering may use.
///
/// # Errors
/// Returns an error when the template is invalid or costs too much.
pub(super) fn render(template: &str, values: Map, memory: u64) -> Result<String> {
    if template.len() > MAX_TEMPLATE {
        return Err(Error::new(ErrorKind::Parse, format!("a template has at most {MAX_TEMPLATE} bytes")));
    }
    check_tags(template)?;
    let values = map(values)?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The output ends with a line end exactly if the template does.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL.min(memory / 64)));
    environment.set_formatter(|out, state, value| {
        if value.as_object().is_none() {
            return minijinja::escape_formatter(out, state, value);
        }
        // Fuel is charged only after the whole value is written, and `[0] * 90000000` is long but costs no fuel.
        if !is_short(value, &mut MAX_SHOWN.clone(), MAX_DEPTH) {
            return Err(minijinja::ErrorKind::OutOfFuel.into());
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.render_str(template, values).map_err(|error| explain(&error))
}

/// The maximum number of items of a list or table that a template prints directly. Nested items count, and texts
/// count one item per 64 bytes.
const MAX_SHOWN: u32 = 100_000;

/// Returns whether a value has at most `items` items and nests at most `depth` levels.
fn is_short(value: &minijinja::Value, items: &mut u32, depth: usize) -> bool {
    let Ok(parts) = value.try_iter() else { return true };
    for part in parts.filter(|_| value.as_object().is_some()) {
        let inner = if part.as_object().is_none() { value.get_item(&part).unwrap_or(part) } else { part };
        let text = inner.as_str().map_or(0, |text| text.len() / 64);
        match items.checked_sub(1 + u32::try_from(text).unwrap_or(u32::MAX - 1)) {
            Some(left) if depth > 0 => *items = left,
            _ => return false,
        }
        if inner.as_object().is_some() && !is_short(&inner, items, depth - 1) {
            return false;
        }
    }
    true
}

/// The maximum size of a tag in bytes. The parser recurses for each sign in `- - - 1` without a limit, and would
/// overflow the stack.
const MAX_TAG: usize = 2048;

/// Rejects templates that the parser would not survive.
fn check_tags(template: &str) -> Result<()> {
    let bytes = template.as_bytes();
    let mut branches = 0;
    let mut at = 0;
    while at + 1 < bytes.len() {
        let end = match &bytes[at..at + 2] {
            b"{{" => b"}}",
            b"{%" => b"%}",
            b"{#" => b"#}",
            _ => {
                at += 1;
                continue;
            }
        };
        let inside = &bytes[at + 2..];
        let line = || 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let refused =
            |what: &str| Error::new(ErrorKind::Parse, format!("the template, line {}: {what}", line()));
        let (length, multiplies) = tag(inside, end);
        if length > MAX_TAG {
            return Err(refused(&format!("a tag has at most {MAX_TAG} bytes")));
        }
        let code = &inside[..length];
        let hint = "compute in the spell and hand the result over";
        if multiplies && end != b"#}" {
            return Err(refused("there is no `*`").hint(hint));
        }
        if end == b"%}" {
            // The parser nests each `elif` in the one before.
            branches += usize::from(check_block(code).map_err(|what| refused(&what).hint(hint))? == "elif");
            if branches > MAX_DEPTH {
                return Err(refused(&format!("there are at most {MAX_DEPTH} `elif`")));
            }
        }
        at += 2 + length;
    }
    Ok(())
}

/// Rejects blocks with which a template could build values that exceed the memory. Names can only be bound to parts
/// of the variables. Otherwise a list that contains itself twice, nested twenty times, would cost no fuel until it is
/// written.
fn check_block(code: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(code).unwrap_or_default();
    let text = text.trim_start_matches(['-', '+']).trim_start();
    let word =
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
    if !["for", "endfor", "if", "elif", "else", "endif"].contains(&word) {
        return Err(format!("there is no `{word}` block: `for` and `if` are all there are"));
    }
    let rest = text.trim_end_matches("%}").trim_end_matches(['-', '+']);
    let mut words = rest.split_whitespace();
    if word == "for" && (words.any(|word| word == "recursive") || rest.contains(['+', '[', '{', '~'])) {
        return Err("a `for` goes over a value that it was given: nothing is built in it".to_owned());
    }
    if word == "for"
        && rest.split_once(" in ").is_some_and(|(_, list)| list.contains(',') && !list.contains("range"))
    {
        return Err("a `for` goes over a value that it was given: nothing is built in it".to_owned());
    }
    Ok(word)
}

/// Returns the length of a tag up to its end, ignoring ends within strings, and whether the tag multiplies.
/// `[0] * 90000000` costs no fuel and takes a minute to write.
fn tag(inside: &[u8], end: &[u8; 2]) -> (usize, bool) {
    let mut multiplies = false;
    let mut quote = None;
    let mut at = 0;
    while at < inside.len() {
        let byte = inside[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(open) if open == byte => quote = None,
            Some(_) => {}
            None if inside[at..].starts_with(end) => return (at + end.len(), multiplies),
            None if end != b"#}" && matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None => multiplies |= byte == b'*',
        }
        at += 1;
    }
    (inside.len(), multiplies)
}

/// Converts a value for a template.
fn shown(value: Value) -> Result<minijinja::Value> {
    Ok(match value {
        Value::Nil => ().into(),
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Num(value) => value.into(),
        Value::Str(text) => text.into(),
        Value::Bytes(bytes) => minijinja::Value::from_bytes(bytes),
        Value::List(items) => items.into_iter().map(shown).collect::<Result<Vec<_>>>()?.into(),
        Value::Map(entries) => map(entries)?,
        Value::Callback(_) | Value::Object(_) => {
            return Err(Error::argument(format!(
                "argument 2 (`vars`): a {} cannot be part of a template: only data can",
                value.type_name()
            )));
        }
    })
}

fn map(entries: Map) -> Result<minijinja::Value> {
    let pairs = entries.into_iter().map(|(name, value)| Ok((name, shown(value)?)));
    Ok(minijinja::Value::from_pairs(pairs.collect::<Result<Vec<_>>>()?))
}

fn explain(error: &minijinja::Error) -> Error {
    let place = error.line().map_or_else(String::new, |line| format!(", line {line}"));
    if error.kind() == minijinja::ErrorKind::OutOfFuel {
        return Error::new(ErrorKind::Parse, format!("the template{place}: it writes or computes too much"))
            .hint("leave long loops and large texts to the spell");
    }
    let what = error.kind().to_string();
    let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
    Error::new(ErrorKind::Parse, format!("the template{place}: {what}{detail}"))
}
