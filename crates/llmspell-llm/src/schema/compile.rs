//! Compiles a schema into a program of nodes, and rejects invalid schemas.
//!
//! Each subschema becomes a node, which is referred to by its index, so recursive schemas need no pointers. The values
//! of keywords are checked here, as a meta-schema would.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value as Json};

use super::chains;
use super::draft::SchemaDraft;
use super::equality::JsonSet;
use super::keywords::TYPES;
use super::number::{Exact, exact, is_integer};
use super::pattern::SchemaPattern;
use super::program::{
    Contains, ItemsKeyword, Keyword, Node, NodeId, Program, Properties, RequiredField, TypeSet,
};
use super::resolve::{RECURSIVE, ResolvedSchema, SchemaResources, UnknownDraft, Unresolved};
use super::schema_error::{CompileResult, SchemaError};
use super::validation_error::{ValidationError, shown};

/// The maximum total size in bytes of a schema's compiled patterns.
const MAX_PATTERNS: usize = 16 << 20;

/// Compiles a schema and all its subschemas.
///
/// # Errors
/// When it is invalid, refers to another document, or could be applied without end.
pub(super) fn compile(document: &Json) -> CompileResult<Program> {
    let resources = SchemaResources::of(document).map_err(|UnknownDraft(schema)| {
        let path = if std::ptr::eq(schema, document) { "$" } else { "an embedded schema" };
        SchemaError::Invalid(ValidationError {
            path: format!("{path}[\"$schema\"]"),
            expected: "the URI of Draft 4, 6, 7, 2019-09 or 2020-12".to_owned(),
            got: schema.get("$schema").map_or_else(String::new, shown),
        })
    })?;
    let mut compiler = Compiler {
        resources,
        nodes: Vec::new(),
        ids: HashMap::new(),
        queue: Vec::new(),
        pattern_bytes: 0,
        dangling: None,
    };
    compiler.node(ResolvedSchema { schema: document, resource: 0 });
    while let Some((id, at)) = compiler.queue.pop() {
        let draft = compiler.resources.get(at.resource).draft;
        compiler.nodes[id] = SchemaSource { at, draft, compiler: &mut compiler }.compile()?;
    }
    let mut dynamic_anchors: HashMap<String, HashMap<usize, NodeId>> = HashMap::new();
    for resource in compiler.resources.iter() {
        for (name, target) in &resource.dynamic_anchors {
            if let Some(id) = compiler.ids.get(&std::ptr::from_ref(target.schema)) {
                dynamic_anchors.entry((*name).to_owned()).or_default().insert(target.resource, *id);
            }
        }
    }
    let program = Program { nodes: compiler.nodes, dynamic_anchors };
    chains::check(&program)?;
    compiler.dangling.map_or(Ok(program), Err)
}

struct Compiler<'a> {
    resources: SchemaResources<'a>,
    nodes: Vec<Node>,
    /// The nodes by the address of their schema.
    ids: HashMap<*const Json, NodeId>,
    /// The schemas that are not compiled yet.
    queue: Vec<(NodeId, ResolvedSchema<'a>)>,
    pattern_bytes: usize,
    /// The first dangling reference. It is reported last, since a chain that is too long is the more important error.
    dangling: Option<SchemaError>,
}

impl<'a> Compiler<'a> {
    /// Returns the node of a schema. A new one is compiled later.
    fn node(&mut self, target: ResolvedSchema<'a>) -> NodeId {
        let address = std::ptr::from_ref(target.schema);
        if let Some(id) = self.ids.get(&address) {
            return *id;
        }
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        self.ids.insert(address, id);
        self.queue.push((id, target));
        id
    }
}

/// The schema that is being compiled.
struct SchemaSource<'a, 'c> {
    compiler: &'c mut Compiler<'a>,
    at: ResolvedSchema<'a>,
    draft: SchemaDraft,
}

impl<'a> SchemaSource<'a, '_> {
    fn compile(mut self) -> CompileResult<Node> {
        let mut node = Node { resource: self.at.resource, steps: 1, ..Node::default() };
        let fields = match self.at.schema {
            Json::Object(fields) => fields,
            Json::Bool(truth) => {
                node.is_never = !truth;
                return Ok(node);
            }
            _ => return Err(self.invalid(&[], "object or boolean")),
        };
        let mut last = Vec::new();
        let is_reference = self.draft.ref_is_alone() && fields.contains_key("$ref");
        let draft = self.draft;
        for (keyword, value) in fields.iter().filter(|(keyword, _)| draft.knows(keyword)) {
            let compiled = self.keyword(fields, keyword, value)?;
            match compiled {
                Some(_) if is_reference && keyword != "$ref" => {}
                Some(unevaluated @ (Keyword::UnevaluatedItems(_) | Keyword::UnevaluatedProperties(_))) => {
                    last.push(unevaluated);
                }
                compiled => node.keywords.extend(compiled),
            }
        }
        node.has_unevaluated = !last.is_empty();
        node.keywords.append(&mut last);
        node.steps += node.keywords.iter().map(Keyword::steps).sum::<u64>();
        Ok(node)
    }

    /// Compiles a keyword. Keywords that belong together are compiled at the first of them.
    fn keyword(
        &mut self,
        fields: &'a Map<String, Json>,
        keyword: &'a str,
        value: &'a Json,
    ) -> CompileResult<Option<Keyword>> {
        use Keyword as K;
        let first_of = |group: &[&str]| {
            fields
                .keys()
                .find(|name| self.draft.knows(name) && group.contains(&name.as_str()))
                .is_some_and(|name| name == keyword)
        };
        Ok(Some(match keyword {
            "type" => K::Type(self.types(value)?),
            "enum" => {
                let options = self.array(keyword, value)?.clone();
                let mut set = JsonSet::new();
                for option in &options {
                    set.insert(option.clone());
                }
                K::Enum { options, set }
            }
            "const" => K::Const(value.clone()),
            "minimum" | "maximum" => {
                let limit = self.number(keyword, value)?;
                let exclusive = if keyword == "minimum" { "exclusiveMinimum" } else { "exclusiveMaximum" };
                let is_exclusive =
                    self.draft == SchemaDraft::Draft4 && fields.get(exclusive) == Some(&Json::Bool(true));
                match (keyword, is_exclusive) {
                    ("minimum", false) => K::Minimum(limit),
                    ("minimum", true) => K::ExclusiveMinimum(limit),
                    (_, false) => K::Maximum(limit),
                    (_, true) => K::ExclusiveMaximum(limit),
                }
            }
            "exclusiveMinimum" | "exclusiveMaximum" if self.draft == SchemaDraft::Draft4 => {
                self.boolean(keyword, value)?;
                return Ok(None);
            }
            "exclusiveMinimum" => K::ExclusiveMinimum(self.number(keyword, value)?),
            "exclusiveMaximum" => K::ExclusiveMaximum(self.number(keyword, value)?),
            "multipleOf" => match self.number(keyword, value)? {
                divisor if divisor.as_f64().is_some_and(|divisor| divisor > 0.0) => K::MultipleOf(divisor),
                _ => return Err(self.invalid(&[keyword], "more than 0")),
            },
            "minLength" => K::MinLength(self.count(keyword, value)?),
            "maxLength" => K::MaxLength(self.count(keyword, value)?),
            "pattern" => {
                let source = self.text(keyword, value)?;
                K::Pattern(self.pattern(source, &[keyword])?)
            }
            "minItems" => K::MinItems(self.count(keyword, value)?),
            "maxItems" => K::MaxItems(self.count(keyword, value)?),
            "uniqueItems" if self.boolean(keyword, value)? => K::UniqueItems,
            "items" | "prefixItems" | "additionalItems"
                if first_of(&["items", "prefixItems", "additionalItems"]) =>
            {
                K::Items(self.items(fields)?)
            }
            "contains" => {
                let bound = |this: &mut Self, keyword: &'a str| match fields.get(keyword) {
                    Some(value) if this.draft.knows(keyword) => this.count(keyword, value).map(Some),
                    _ => Ok(None),
                };
                K::Contains(Contains {
                    item: self.schema(&[keyword], value)?,
                    least: bound(self, "minContains")?.unwrap_or(1),
                    most: bound(self, "maxContains")?,
                    evaluates: self.draft >= SchemaDraft::Draft202012,
                })
            }
            "minContains" | "maxContains" => {
                self.count(keyword, value)?;
                return Ok(None);
            }
            "minProperties" => K::MinProperties(self.count(keyword, value)?),
            "maxProperties" => K::MaxProperties(self.count(keyword, value)?),
            "required" => K::Required(self.names(&[keyword], value)?),
            "properties" | "patternProperties" | "additionalProperties"
                if first_of(&["properties", "patternProperties", "additionalProperties"]) =>
            {
                K::Properties(self.properties(fields)?)
            }
            "propertyNames" => K::PropertyNames(self.schema(&[keyword], value)?),
            "dependentRequired" => {
                let rows = self.object(keyword, value)?.iter();
                let rows = rows.map(|(name, names)| Ok((name.clone(), self.names(&[keyword, name], names)?)));
                K::DependentRequired(rows.collect::<CompileResult<_>>()?)
            }
            "dependentSchemas" => K::DependentSchemas(self.schemas_by_name(keyword, value)?),
            "dependencies" => return self.dependencies(keyword, value).map(Some),
            "allOf" => K::AllOf(self.schemas(keyword, value)?),
            "anyOf" => K::AnyOf(self.schemas(keyword, value)?),
            "oneOf" => K::OneOf(self.schemas(keyword, value)?),
            "not" => K::Not(self.schema(&[keyword], value)?),
            "if" => {
                let branch = |this: &mut Self, keyword: &'a str| {
                    fields.get(keyword).map(|value| this.schema(&[keyword], value)).transpose()
                };
                K::If {
                    condition: self.schema(&[keyword], value)?,
                    then: branch(self, "then")?,
                    otherwise: branch(self, "else")?,
                }
            }
            "$ref" | "$dynamicRef" | "$recursiveRef" => return self.reference(keyword, value),
            "unevaluatedItems" => K::UnevaluatedItems(self.schema(&[keyword], value)?),
            "unevaluatedProperties" => K::UnevaluatedProperties(self.schema(&[keyword], value)?),
            "$defs" | "definitions" => {
                self.schemas_by_name(keyword, value)?;
                return Ok(None);
            }
            "contentSchema" | "then" | "else" => {
                self.schema(&[keyword], value)?;
                return Ok(None);
            }
            "$schema" | "$id" | "$anchor" | "$dynamicAnchor" | "$comment" | "title" | "description"
            | "format" | "contentEncoding" | "contentMediaType" => {
                self.text(keyword, value)?;
                return Ok(None);
            }
            "deprecated" | "readOnly" | "writeOnly" | "$recursiveAnchor" => {
                self.boolean(keyword, value)?;
                return Ok(None);
            }
            "examples" => {
                self.array(keyword, value)?;
                return Ok(None);
            }
            _ => return Ok(None),
        }))
    }

    fn types(&mut self, value: &'a Json) -> CompileResult<TypeSet> {
        let known = |word: &Json| TYPES.into_iter().find(|name| word.as_str() == Some(name));
        let names = match value {
            Json::Array(words) if words.is_empty() => return Err(self.invalid(&["type"], "at least 1 item")),
            Json::Array(words) => {
                let mut names = Vec::new();
                for (index, word) in words.iter().enumerate() {
                    match known(word) {
                        Some(name) if names.contains(&name) => {
                            return Err(self.invalid(&["type"], "items that all differ"));
                        }
                        Some(name) => names.push(name),
                        None => return Err(self.invalid(&["type", &index.to_string()], &type_words())),
                    }
                }
                names
            }
            word => match known(word) {
                Some(name) => vec![name],
                None => return Err(self.invalid(&["type"], &format!("{} or array", type_words()))),
            },
        };
        Ok(TypeSet { names, whole_is_integer: self.draft > SchemaDraft::Draft4 })
    }

    fn items(&mut self, fields: &'a Map<String, Json>) -> CompileResult<ItemsKeyword> {
        let mut items = ItemsKeyword {
            rest_is_additional: self.draft < SchemaDraft::Draft202012,
            ..ItemsKeyword::default()
        };
        let tuple = if items.rest_is_additional { "items" } else { "prefixItems" };
        let is_tuple = fields.get(tuple).is_some_and(|value| tuple == "prefixItems" || value.is_array());
        if let Some(value) = fields.get(tuple).filter(|_| is_tuple) {
            items.prefix = self.schemas(tuple, value)?;
        }
        let rest = if items.rest_is_additional && is_tuple { "additionalItems" } else { "items" };
        if let Some(value) = fields.get(rest) {
            items.rest = Some(self.schema(&[rest], value)?);
        }
        // `additionalItems` has no effect without a tuple, but it must be a valid schema.
        if let Some(unused) = fields.get("additionalItems").filter(|_| items.rest_is_additional && !is_tuple)
        {
            self.schema(&["additionalItems"], unused)?;
        }
        Ok(items)
    }

    fn properties(&mut self, fields: &'a Map<String, Json>) -> CompileResult<Properties> {
        let mut properties = Properties::default();
        if let Some(value) = fields.get("properties") {
            properties.named = self.schemas_by_name("properties", value)?.into_iter().collect();
        }
        if let Some(value) = fields.get("patternProperties") {
            for (source, id) in self.schemas_by_name("patternProperties", value)? {
                let pattern = self.pattern(&source, &["patternProperties", &source])?;
                properties.patterns.push((pattern, id));
            }
        }
        if let Some(value) = fields.get("additionalProperties") {
            properties.additional = Some(self.schema(&["additionalProperties"], value)?);
        }
        Ok(properties)
    }

    /// Compiles `dependencies`, which in Draft 7 and earlier holds both lists of names and schemas.
    fn dependencies(&mut self, keyword: &'a str, value: &'a Json) -> CompileResult<Keyword> {
        let (mut required, mut schemas) = (Vec::new(), Vec::new());
        for (name, value) in self.object(keyword, value)? {
            if value.is_array() {
                required.push((name.clone(), self.names(&[keyword, name], value)?));
            } else {
                schemas.push((name.clone(), self.schema(&[keyword, name], value)?));
            }
        }
        Ok(match (required.is_empty(), schemas.is_empty()) {
            (_, true) => Keyword::DependentRequired(required),
            (true, false) => Keyword::DependentSchemas(schemas),
            (false, false) => {
                let all = [Keyword::DependentRequired(required), Keyword::DependentSchemas(schemas)];
                let all = all.map(|keyword| self.synthetic(keyword));
                Keyword::AllOf(all.into())
            }
        })
    }

    /// Adds a node without a source schema.
    fn synthetic(&mut self, keyword: Keyword) -> NodeId {
        let id = self.compiler.nodes.len();
        let steps = 1 + keyword.steps();
        let node = Node { keywords: vec![keyword], resource: self.at.resource, steps, ..Node::default() };
        self.compiler.nodes.push(node);
        id
    }

    fn reference(&mut self, keyword: &'a str, value: &'a Json) -> CompileResult<Option<Keyword>> {
        let reference = self.text(keyword, value)?;
        let resources = &self.compiler.resources;
        let target = match resources.resolve(reference, self.at.resource) {
            Ok(target) => target,
            Err(Unresolved::Remote) => {
                let expected = "a reference within the schema (`#/…`; nothing is fetched)";
                return Err(SchemaError::Remote(self.error(&[keyword], expected)));
            }
            Err(Unresolved::Dangling) => {
                let error = self.invalid(&[keyword], "a reference that leads to a schema");
                self.compiler.dangling.get_or_insert(error);
                return Ok(None);
            }
        };
        let anchor = match keyword {
            "$dynamicRef" => reference.rsplit('#').next(),
            "$recursiveRef" => Some(RECURSIVE),
            _ => None,
        };
        let dynamic = &resources.get(target.resource).dynamic_anchors;
        let is_dynamic = |anchor: &&str| {
            dynamic.get(anchor).is_some_and(|anchored| std::ptr::eq(anchored.schema, target.schema))
        };
        let anchor = anchor.filter(is_dynamic).map(str::to_owned);
        self.compiler.resources.reach(target.schema, self.at.schema, keyword);
        let target = self.compiler.node(target);
        Ok(Some(match anchor {
            Some(anchor) => Keyword::DynamicRef { anchor, target },
            None => Keyword::Ref(target),
        }))
    }

    fn pattern(&mut self, source: &str, at: &[&str]) -> CompileResult<SchemaPattern> {
        let pattern = SchemaPattern::compile(source).map_err(|expected| {
            let got = shown(&Json::from(source));
            let path = self.compiler.resources.path(self.at.schema, at).to_string();
            SchemaError::Invalid(ValidationError { path, expected, got })
        })?;
        self.compiler.pattern_bytes += pattern.size();
        if self.compiler.pattern_bytes > MAX_PATTERNS {
            return Err(SchemaError::Unbounded(format!(
                "its patterns take more than {} MiB",
                MAX_PATTERNS >> 20
            )));
        }
        Ok(pattern)
    }

    /// Returns the node of a direct subschema.
    fn schema(&mut self, at: &[&str], schema: &'a Json) -> CompileResult<NodeId> {
        match schema {
            Json::Object(_) => {}
            Json::Bool(_) if self.draft > SchemaDraft::Draft4 || at[0].starts_with("additional") => {}
            _ if self.draft == SchemaDraft::Draft4 => return Err(self.invalid(at, "object")),
            _ => return Err(self.invalid(at, "object or boolean")),
        }
        let resource = self.compiler.resources.at(schema, self.at.resource);
        Ok(self.compiler.node(ResolvedSchema { schema, resource }))
    }

    fn schemas(&mut self, keyword: &str, value: &'a Json) -> CompileResult<Vec<NodeId>> {
        let schemas = self.array(keyword, value)?;
        if schemas.is_empty() {
            return Err(self.invalid(&[keyword], "at least 1 item"));
        }
        schemas
            .iter()
            .enumerate()
            .map(|(index, schema)| self.schema(&[keyword, &index.to_string()], schema))
            .collect()
    }

    fn schemas_by_name(&mut self, keyword: &str, value: &'a Json) -> CompileResult<Vec<(String, NodeId)>> {
        let schemas = self.object(keyword, value)?;
        schemas
            .iter()
            .map(|(name, schema)| Ok((name.clone(), self.schema(&[keyword, name], schema)?)))
            .collect()
    }

    /// Reads a list of field names.
    fn names(&mut self, at: &[&str], value: &Json) -> CompileResult<Vec<RequiredField>> {
        let names = value.as_array().ok_or_else(|| self.invalid(at, "array"))?;
        let mut seen = HashSet::new();
        let mut fields = Vec::new();
        let properties = self.at.schema.get("properties").and_then(Json::as_object);
        for (index, name) in names.iter().enumerate() {
            let Json::String(name) = name else {
                let index = index.to_string();
                return Err(self.invalid(&[at, &[&index]].concat(), "string"));
            };
            if !seen.insert(name) {
                return Err(self.invalid(at, "items that all differ"));
            }
            let schema = properties.and_then(|properties| properties.get(name));
            let schema = schema.map(|schema| self.schema(&["properties", name], schema)).transpose()?;
            fields.push(RequiredField { name: name.clone(), schema });
        }
        Ok(fields)
    }

    fn array(&self, keyword: &str, value: &'a Json) -> CompileResult<&'a Vec<Json>> {
        value.as_array().ok_or_else(|| self.invalid(&[keyword], "array"))
    }

    fn object(&self, keyword: &str, value: &'a Json) -> CompileResult<&'a Map<String, Json>> {
        value.as_object().ok_or_else(|| self.invalid(&[keyword], "object"))
    }

    fn text(&self, keyword: &str, value: &'a Json) -> CompileResult<&'a str> {
        value.as_str().ok_or_else(|| self.invalid(&[keyword], "string"))
    }

    fn boolean(&self, keyword: &str, value: &Json) -> CompileResult<bool> {
        value.as_bool().ok_or_else(|| self.invalid(&[keyword], "boolean"))
    }

    fn number(&self, keyword: &str, value: &Json) -> CompileResult<Number> {
        value.as_number().cloned().ok_or_else(|| self.invalid(&[keyword], "number"))
    }

    /// Reads a non-negative integer, which may be written as `2.0`.
    fn count(&self, keyword: &str, value: &Json) -> CompileResult<u64> {
        match value.as_number() {
            Some(number) if is_integer(number) => match exact(number) {
                Exact::Int(int) if int < 0 => Err(self.invalid(&[keyword], "at least 0")),
                Exact::Int(int) => Ok(u64::try_from(int).unwrap_or(u64::MAX)),
                Exact::Float(float) if float < 0.0 => Err(self.invalid(&[keyword], "at least 0")),
                Exact::Float(_) => Ok(u64::MAX),
            },
            _ => Err(self.invalid(&[keyword], "integer")),
        }
    }

    fn invalid(&self, at: &[&str], expected: &str) -> SchemaError {
        SchemaError::Invalid(self.error(at, expected))
    }

    /// Returns the error for a place in this schema.
    fn error(&self, at: &[&str], expected: &str) -> ValidationError {
        let there = at.iter().try_fold(self.at.schema, |value, step| match value {
            Json::Array(items) => items.get(step.parse::<usize>().ok()?),
            value => value.get(step),
        });
        let path = self.compiler.resources.path(self.at.schema, at).to_string();
        ValidationError {
            path,
            expected: expected.to_owned(),
            got: there.map_or_else(|| "nothing".to_owned(), shown),
        }
    }
}

fn type_words() -> String {
    let mut names: Vec<_> = TYPES.iter().map(|name| format!("\"{name}\"")).collect();
    names.sort();
    format!("one of {} or {}", names[..6].join(", "), names[6])
}
