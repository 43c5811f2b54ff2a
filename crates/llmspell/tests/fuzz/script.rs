//! Generates scripts that call the host: the available functions with their parameters, and hostile values in between.

use std::borrow::Cow;
use std::fmt::Write as _;

use fastrand::Rng;
use llmspell::bridge::{Bridge, Field, Method, TypeOf};
use llmspell::prelude_docs::TypeSyntax;
use llmspell::{PreludeDocs, Runtime};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

/// How many of a thousand values are hostile.
const HOSTILE: u32 = 120;
/// The maximum nesting of a value.
const DEPTH: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptLanguage {
    Luau,
    JavaScript,
}

impl ScriptLanguage {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Luau => "fuzz.luau",
            Self::JavaScript => "fuzz.js",
        }
    }

    fn preamble(self) -> &'static str {
        match self {
            Self::Luau => include_str!("hostile.luau"),
            Self::JavaScript => include_str!("hostile.js"),
        }
    }

    /// Returns a name of the host in this language's style.
    fn name(self, name: &str) -> String {
        if self == Self::Luau {
            return name.to_owned();
        }
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    }
}

/// A function or field of the host.
#[derive(Debug)]
pub(crate) struct HostFunction {
    /// The name under which it is counted: `fs.read`, `Agent:run`.
    pub(crate) name: String,
    kind: CallForm,
    params: Vec<TypedParam>,
    /// The class of the returned object.
    returns: Option<String>,
}

#[derive(Debug)]
enum CallForm {
    Function,
    Method { class: String },
    Field { class: String },
    Loop { class: String },
}

#[derive(Debug)]
struct TypedParam {
    name: String,
    schema: Json,
    rest: bool,
}

/// Everything that scripts of a language can call, with the schema definitions of its types.
#[derive(Debug)]
pub(crate) struct HostSurface {
    pub(crate) language: ScriptLanguage,
    pub(crate) all: Vec<HostFunction>,
    definitions: Map<String, Json>,
}

impl HostSurface {
    /// Collects the methods of all bridges, of their objects' classes, and the functions of the language's prelude.
    pub(crate) fn new(language: ScriptLanguage, runtime: &Runtime) -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let mut schema = |of: TypeOf| of(&mut generator).to_value();
        let mut all = Vec::new();
        for bridge in runtime.bridges().list() {
            let bridge: &Bridge = &bridge;
            for method in &bridge.methods {
                let name = format!("{}.{}", bridge.name, method.name);
                all.push(HostFunction::of(name, CallForm::Function, method, &mut schema));
            }
            for class in &bridge.classes {
                let of = || class.name.to_string();
                for method in &class.methods {
                    let name = format!("{}:{}", class.name, method.name);
                    all.push(HostFunction::of(name, CallForm::Method { class: of() }, method, &mut schema));
                }
                for Field { name, schema: ty, .. } in &class.fields {
                    let returns = class_of(&schema(*ty));
                    let name = format!("{}.{name}", class.name);
                    all.push(HostFunction {
                        name,
                        kind: CallForm::Field { class: of() },
                        params: Vec::new(),
                        returns,
                    });
                }
                if class.items.is_some() || class.entries.is_some() {
                    let name = format!("{}[]", class.name);
                    let kind = CallForm::Loop { class: of() };
                    all.push(HostFunction { name, kind, params: Vec::new(), returns: None });
                }
            }
        }
        let definitions = generator.take_definitions(true);
        all.extend(
            runtime
                .engines()
                .prelude_docs()
                .into_iter()
                .filter(|it| of_language(it, language))
                .flat_map(|piece| prelude(&piece).collect::<Vec<_>>()),
        );
        Self { language, all, definitions }
    }
}

impl HostFunction {
    fn of(name: String, kind: CallForm, method: &Method, schema: &mut impl FnMut(TypeOf) -> Json) -> Self {
        let param = |param: &llmspell::bridge::Param| (param.name.to_string(), param.schema, param.rest);
        let params: Vec<_> = method.params.iter().map(param).collect();
        let params = params
            .into_iter()
            .map(|(name, ty, rest)| TypedParam { name, schema: schema(ty), rest })
            .collect();
        let returns = method.returns.and_then(|returns| class_of(&schema(returns)));
        Self { name, kind, params, returns }
    }
}

/// Returns the class that a schema refers to, if any.
fn class_of(schema: &Json) -> Option<String> {
    let is_object = schema.get("x-llmspell").is_some_and(|mark| mark == "object");
    is_object.then(|| schema["title"].as_str().map(str::to_owned)).flatten()
}

fn of_language(piece: &PreludeDocs, language: ScriptLanguage) -> bool {
    (language == ScriptLanguage::Luau) == (piece.syntax == TypeSyntax::Luau)
}

/// Returns the functions of a prelude, and JavaScript's constructors of its classes. They accept any arguments.
fn prelude(piece: &PreludeDocs) -> impl Iterator<Item = HostFunction> {
    let any = |name: &str, rest| TypedParam { name: name.to_owned(), schema: Json::Bool(true), rest };
    let function = |name, params| HostFunction { name, kind: CallForm::Function, params, returns: None };
    let functions = piece.functions.iter().map(move |it| {
        let param = |written: &Cow<'static, str>| {
            let name = written.split([':', '?']).next().unwrap_or_default().trim_start_matches("...");
            any(name, written.starts_with("..."))
        };
        function(piece.path(&it.name), it.params.iter().map(param).collect())
    });
    let classes = piece.classes.iter().filter(|_| piece.syntax == TypeSyntax::TypeScript);
    functions.chain(
        classes.map(move |it| function(format!("new {}", it.name), vec![any("", false), any("", false)])),
    )
}

/// A value in a script.
enum ScriptValue {
    /// Written unchanged, because it is the same in both languages.
    Plain(String),
    Nil,
    List(Vec<ScriptValue>),
    Record(Vec<(String, ScriptValue)>),
    Function(Box<ScriptValue>),
    /// An object that an earlier call has returned.
    Object(String, u32),
    /// One of the hostile values, with another value inside.
    Hostile(u32, Box<ScriptValue>),
}

/// Generates one script.
pub(crate) struct ScriptGenerator<'a> {
    targets: &'a HostSurface,
    rng: Rng,
    /// The address of the server.
    url: &'a str,
    /// Whether hostile values are used.
    is_hostile: bool,
}

impl<'a> ScriptGenerator<'a> {
    pub(crate) fn new(targets: &'a HostSurface, seed: u64, url: &'a str) -> Self {
        Self { targets, rng: Rng::with_seed(seed), url, is_hostile: false }
    }

    /// Returns a script with this many calls.
    pub(crate) fn script(mut self, calls: usize) -> String {
        let mut text = self.targets.language.preamble().to_owned();
        let mut left = calls;
        // Create objects with valid arguments first, in order to call their methods.
        let makers: Vec<_> = self.targets.all.iter().filter(|target| target.returns.is_some()).collect();
        for maker in makers.into_iter().take(left / 2) {
            self.line(&mut text, maker);
            left -= 1;
        }
        self.is_hostile = true;
        for _ in 0..left {
            let target = self.rng.choice(&self.targets.all).expect("a target");
            self.line(&mut text, target);
        }
        let last = self.any(0);
        let last = self.write(&last);
        let end = match (self.targets.language, self.rng.u32(0..4)) {
            (ScriptLanguage::Luau, 0) => format!("error({last})\n"),
            (ScriptLanguage::Luau, _) => format!("return {last}\n"),
            (ScriptLanguage::JavaScript, 0) => format!("await Promise.all(pending);\nthrow {last};\n"),
            (ScriptLanguage::JavaScript, _) => {
                format!("await Promise.all(pending);\nexport default {last};\n")
            }
        };
        text + &end
    }

    /// Writes a call as one line. Sometimes the call is not awaited.
    fn line(&mut self, text: &mut String, target: &HostFunction) {
        let is_beside = self.is_hostile && self.rng.u32(0..4) == 0;
        let arguments = self.arguments(target);
        let number = self.rng.u32(0..1000);
        let language = self.targets.language;
        let (bridge, name) = target.name.split_once(['.', ':']).unwrap_or(("", &target.name));
        let name = language.name(name);
        let call = match (&target.kind, language) {
            (CallForm::Function, _) if bridge.is_empty() => format!("return {name}({arguments})"),
            (CallForm::Function, _) => format!("return {bridge}.{name}({arguments})"),
            (CallForm::Method { class }, ScriptLanguage::Luau) => {
                format!("return object({class:?}, {number}):{name}({arguments})")
            }
            (CallForm::Method { class }, ScriptLanguage::JavaScript) if self.is_hostile && number < 50 => {
                let this = self.any(0);
                let this = self.write(&this);
                let rest = if arguments.is_empty() { String::new() } else { format!(", {arguments}") };
                format!("return object({class:?}, {number}).{name}.call({this}{rest})")
            }
            (CallForm::Method { class }, ScriptLanguage::JavaScript) | (CallForm::Field { class }, _) => {
                let arguments = if matches!(target.kind, CallForm::Field { .. }) {
                    String::new()
                } else {
                    format!("({arguments})")
                };
                format!("return object({class:?}, {number}).{name}{arguments}")
            }
            (CallForm::Loop { class }, ScriptLanguage::Luau) => {
                format!("for a, b in object({class:?}, {number}) do if b == 7 then break end end")
            }
            (CallForm::Loop { class }, ScriptLanguage::JavaScript) => {
                format!("return (async () => {{ for await (const a of object({class:?}, {number})) a; }})()")
            }
        };
        let returns = target.returns.as_ref();
        let _ = match language {
            ScriptLanguage::Luau => {
                let class = returns.map_or("nil".to_owned(), |class| format!("{class:?}"));
                let call = format!("{:?}, {class}, function() {call} end", target.name);
                if is_beside {
                    writeln!(text, "promise.spawn(call, {call})")
                } else {
                    writeln!(text, "call({call})")
                }
            }
            ScriptLanguage::JavaScript => {
                let class = returns.map_or("null".to_owned(), |class| format!("{class:?}"));
                let call = format!("call({:?}, {class}, () => {{ {call}; }})", target.name);
                if is_beside {
                    writeln!(text, "pending.push({call});")
                } else {
                    writeln!(text, "await {call};")
                }
            }
        };
    }

    fn arguments(&mut self, target: &HostFunction) -> String {
        let mut arguments = Vec::new();
        for param in &target.params {
            let count = if param.rest { self.rng.usize(0..3) } else { 1 };
            for _ in 0..count {
                arguments.push(self.value(&param.name, &param.schema, 0));
            }
        }
        if self.is_hostile {
            match self.rng.u32(0..20) {
                0 => arguments.truncate(arguments.len() / 2),
                1 => arguments.push(self.any(0)),
                _ => {}
            }
        }
        arguments.iter().map(|argument| self.write(argument)).collect::<Vec<_>>().join(", ")
    }

    /// Returns a value that fits a schema; the value, or a part of it, may be replaced by a hostile one.
    fn value(&mut self, name: &str, schema: &Json, depth: u32) -> ScriptValue {
        let value = self.fitting(name, schema, depth);
        if self.is_hostile && self.rng.u32(0..1000) < HOSTILE {
            return ScriptValue::Hostile(self.rng.u32(..), Box::new(value));
        }
        value
    }

    fn fitting(&mut self, name: &str, schema: &Json, depth: u32) -> ScriptValue {
        let Some(schema) = schema.as_object() else { return self.any(depth) };
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            let definition = target.rsplit('/').next().unwrap_or_default();
            let definition = self.targets.definitions.get(definition).unwrap_or(&Json::Null);
            return self.fitting(name, definition, depth);
        }
        match schema.get("x-llmspell").and_then(Json::as_str) {
            Some("function") => return ScriptValue::Function(Box::new(self.any(depth + 1))),
            Some(_) => {
                let class = schema.get("title").and_then(Json::as_str).unwrap_or_default();
                return ScriptValue::Object(class.to_owned(), self.rng.u32(0..1000));
            }
            None => {}
        }
        for key in ["anyOf", "oneOf", "enum"] {
            let Some(Json::Array(choices)) = schema.get(key) else { continue };
            let choices: Vec<_> = choices.iter().filter(|choice| choice["type"] != "null").collect();
            let Some(choice) = self.rng.choice(choices) else { continue };
            return match key {
                "enum" => text(choice.as_str().unwrap_or_default()),
                _ => self.fitting(name, choice, depth),
            };
        }
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return text(word);
        }
        let types: Vec<_> = match schema.get("type") {
            Some(Json::Array(types)) => types.iter().filter_map(Json::as_str).collect(),
            Some(Json::String(only)) => vec![only.as_str()],
            _ => Vec::new(),
        };
        match types.into_iter().find(|name| *name != "null") {
            Some("boolean") => ScriptValue::Plain(self.rng.bool().to_string()),
            Some("integer") => ScriptValue::Plain(self.rng.u32(1..4).to_string()),
            Some("number") => ScriptValue::Plain(if name == "seconds" { "0.001" } else { "0.5" }.to_owned()),
            Some("string") => self.text_for(name),
            Some("array") => {
                let count = if depth > DEPTH { 0 } else { self.rng.usize(0..3) };
                let items = schema.get("items").unwrap_or(&Json::Bool(true));
                ScriptValue::List((0..count).map(|_| self.value(name, items, depth + 1)).collect())
            }
            Some("object") => self.record(schema, depth),
            _ => self.any(depth),
        }
    }

    fn record(&mut self, schema: &Map<String, Json>, depth: u32) -> ScriptValue {
        let mut fields = Vec::new();
        let required: Vec<_> =
            schema.get("required").and_then(Json::as_array).into_iter().flatten().collect();
        for (name, schema) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let is_required = required.iter().any(|required| *required == name);
            if is_required || depth < DEPTH && self.rng.u32(0..5) == 0 {
                fields.push((self.targets.language.name(name), self.value(name, schema, depth + 1)));
            }
        }
        let more = schema.get("additionalProperties").filter(|more| **more != Json::Bool(false));
        if let Some(more) = more.filter(|_| depth < DEPTH) {
            for name in ["name", "x-y"] {
                fields.push((name.to_owned(), self.value(name, more, depth + 1)));
            }
        }
        ScriptValue::Record(fields)
    }

    /// Returns a text that suits the parameter's name, such as an address for `url`.
    fn text_for(&mut self, name: &str) -> ScriptValue {
        let texts: &[&str] = match name {
            "url" | "input" => {
                let path =
                    self.rng.choice(["/json", "/bytes", "/again", "/none", "/long"]).unwrap_or_default();
                return text(&format!("{}{path}", self.url));
            }
            "path" => &["granted/a.txt", "granted/new/b.txt", "granted", "denied/a.txt", "a.txt", "."],
            "pattern" => &["granted/**/*.txt", "*", "%Y-%m-%d", "{{ name }}"],
            "model" => &["mock/echo", "echo-large", "nobody/none"],
            "provider" => &["mock", "nobody"],
            "name" => &["helper", "calculator", "fs.read", "echo", "add", "mock", "a-b_c"],
            "method" => &["GET", "POST", "PATCH"],
            "role" => &["user", "assistant"],
            "tools" => &["calculator", "fs.read", "helper", "web_fetch", "text.chunk"],
            "source" => {
                &["Hello, {{ name }}!", "{% for a in [1, 2] %}{{ a }}{% endfor %}", "{{ name|upper }}"]
            }
            "key" | "prefix" => &["count", "user:ada", "k"],
            _ => &[
                "hello",
                "One two.\n\nThree four.",
                "{\"a\": [1, null, 2.5]}",
                "aGk/Pg==",
                "# Title\n* item",
                "<p>a <b>b</b></p>",
                "2026-07-01T12:30:00+02:00",
                "2 * (3 + 4)",
                "\u{e9}\u{1f600}",
                "",
                "x",
            ],
        };
        text(self.rng.choice(texts).unwrap_or(&""))
    }

    /// Returns any value, ordinary or hostile.
    fn any(&mut self, depth: u32) -> ScriptValue {
        if self.is_hostile && self.rng.bool() {
            let inner = if depth > DEPTH { ScriptValue::Nil } else { self.any(depth + 1) };
            return ScriptValue::Hostile(self.rng.u32(..), Box::new(inner));
        }
        match self.rng.u32(if depth > DEPTH { 3..7 } else { 0..7 }) {
            0 => ScriptValue::List((0..self.rng.usize(0..4)).map(|_| self.any(depth + 1)).collect()),
            1 => {
                let names = ["a", "name", "type", "text", "properties", "kind", "message"];
                let count = self.rng.usize(0..4);
                let named = |this: &mut Self| {
                    let name = this.rng.choice(names).unwrap_or_default().to_owned();
                    (name, this.any(depth + 1))
                };
                ScriptValue::Record((0..count).map(|_| named(self)).collect())
            }
            2 => ScriptValue::Function(Box::new(self.any(depth + 1))),
            3 => ScriptValue::Nil,
            4 => ScriptValue::Plain(self.rng.bool().to_string()),
            5 => ScriptValue::Plain(
                self.rng.choice(["0", "1", "2", "0.5", "1e3"]).unwrap_or_default().to_owned(),
            ),
            _ => self.text_for(""),
        }
    }

    /// Formats a value in the script's language.
    fn write(&self, value: &ScriptValue) -> String {
        let language = self.targets.language;
        let is_luau = language == ScriptLanguage::Luau;
        let list = |items: Vec<String>, open, close| format!("{open}{}{close}", items.join(", "));
        match value {
            ScriptValue::Plain(text) => text.clone(),
            ScriptValue::Nil if is_luau => "nil".to_owned(),
            ScriptValue::Nil => "null".to_owned(),
            ScriptValue::List(items) => {
                let items = items.iter().map(|item| self.write(item)).collect();
                if is_luau { list(items, '{', '}') } else { list(items, '[', ']') }
            }
            ScriptValue::Record(fields) => {
                let field = |(name, value): &(String, ScriptValue)| {
                    let separator = if is_luau { " =" } else { ":" };
                    format!("[{}]{separator} {}", quoted(name), self.write(value))
                };
                let fields = list(fields.iter().map(field).collect(), '{', '}');
                if is_luau { fields } else { format!("({fields})") }
            }
            ScriptValue::Function(value) if is_luau => {
                format!("function(...) return {} end", self.write(value))
            }
            ScriptValue::Function(value) => format!("((...given) => {})", self.write(value)),
            ScriptValue::Object(class, number) => format!("object({}, {number})", quoted(class)),
            ScriptValue::Hostile(number, value) => format!("hostile({number}, {})", self.write(value)),
        }
    }
}

fn text(text: &str) -> ScriptValue {
    ScriptValue::Plain(quoted(text))
}

/// Quotes a text, with escapes that both languages know.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        if letter == ' ' || letter.is_ascii_graphic() && !matches!(letter, '"' | '\\') {
            quoted.push(letter);
        } else {
            let _ = write!(quoted, "\\u{{{:x}}}", u32::from(letter));
        }
    }
    quoted.push('"');
    quoted
}
