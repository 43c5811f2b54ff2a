//! Resolves `$ref`, `$dynamicRef` and `$recursiveRef` within one document.
//!
//! Nothing is ever fetched. A reference to another document is an error, even if it is a meta-schema of a draft.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;
use url::Url;

use super::draft::{self, SchemaDraft};
use super::keywords::parts;
use super::validation_error::ValuePath;

/// The base URI of a document without an `$id`.
const UNNAMED: &str = "schema:///";

/// The internal name of the dynamic anchor that `$recursiveAnchor` declares. No `$dynamicAnchor` can have it, since
/// those are not empty.
pub(super) const RECURSIVE: &str = "";

/// A schema resource: a schema with an `$id`, or the whole document.
pub(super) struct SchemaResource<'a> {
    root: &'a Json,
    base: Option<Url>,
    pub(super) draft: SchemaDraft,
    anchors: HashMap<&'a str, ResolvedSchema<'a>>,
    pub(super) dynamic_anchors: HashMap<&'a str, ResolvedSchema<'a>>,
}

/// A schema in the document, with the index of its resource.
#[derive(Clone, Copy)]
pub(super) struct ResolvedSchema<'a> {
    pub(super) schema: &'a Json,
    pub(super) resource: usize,
}

/// Why a reference does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It leads to another document.
    Remote,
    /// Its target does not exist.
    Dangling,
}

/// A schema whose `$schema` names an unknown draft.
pub(super) struct UnknownDraft<'a>(pub(super) &'a Json);

/// The step from a schema to a subschema: a keyword, and a name or index within it.
struct SubschemaLink<'a> {
    around: &'a Json,
    keyword: &'a str,
    key: Option<Cow<'a, str>>,
}

/// The resources of a document. Schemas are identified by their address.
pub(super) struct SchemaResources<'a> {
    document: &'a Json,
    all: Vec<SchemaResource<'a>>,
    by_uri: HashMap<String, usize>,
    by_root: HashMap<*const Json, usize>,
    links: HashMap<*const Json, SubschemaLink<'a>>,
}

impl<'a> SchemaResources<'a> {
    /// Collects all identifiers and anchors of a document.
    pub(super) fn of(document: &'a Json) -> Result<Self, UnknownDraft<'a>> {
        let (by_uri, by_root, links) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut resources = Self { document, all: Vec::new(), by_uri, by_root, links };
        let draft = draft_of(document)?.unwrap_or(draft::DEFAULT);
        resources.add(document, Url::parse(UNNAMED).ok(), draft);
        let mut queue = vec![(document, 0)];
        while let Some((schema, outer)) = queue.pop() {
            let resource = resources.name(schema, outer)?;
            for part in parts(schema) {
                let link = SubschemaLink { around: schema, keyword: part.keyword, key: part.key };
                resources.links.insert(std::ptr::from_ref(part.schema), link);
                queue.push((part.schema, resource));
            }
        }
        Ok(resources)
    }

    fn add(&mut self, root: &'a Json, base: Option<Url>, draft: SchemaDraft) -> usize {
        let number = self.all.len();
        if let Some(base) = &base {
            self.by_uri.entry(base.to_string()).or_insert(number);
        }
        self.by_root.insert(std::ptr::from_ref(root), number);
        let (anchors, dynamic_anchors) = (HashMap::new(), HashMap::new());
        self.all.push(SchemaResource { root, base, draft, anchors, dynamic_anchors });
        number
    }

    /// Registers the identifier and the anchors of a schema, and returns its resource.
    fn name(&mut self, schema: &'a Json, outer: usize) -> Result<usize, UnknownDraft<'a>> {
        let Some(fields) = schema.as_object() else { return Ok(outer) };
        let is_document = std::ptr::eq(schema, self.document);
        let word = |keyword: &str| fields.get(keyword).and_then(Json::as_str);
        let mut draft = self.all[outer].draft;
        if draft.ref_is_alone() && fields.contains_key("$ref") && !is_document {
            return Ok(outer);
        }
        // Only a schema with an identifier can change the draft.
        if !is_document && (word("$id").is_some() || word("id").is_some()) {
            draft = draft_of(schema)?.unwrap_or(draft);
        }
        let mut resource = outer;
        if let Some(id) = word(draft.id()).filter(|_| !(draft.ref_is_alone() && fields.contains_key("$ref")))
        {
            let (uri, fragment) = id.split_once('#').unwrap_or((id, ""));
            if !uri.is_empty() {
                let base = self.all[outer].base.as_ref();
                let base = base.and_then(|base| base.join(uri).ok()).or_else(|| Url::parse(uri).ok());
                if is_document {
                    self.all[0].base.clone_from(&base);
                    self.by_uri.extend(base.map(|base| (base.to_string(), 0)));
                } else {
                    resource = self.add(schema, base, draft);
                }
            }
            if !fragment.is_empty() && draft.ref_is_alone() {
                self.all[resource].anchors.insert(fragment, ResolvedSchema { schema, resource });
            }
        }
        let here = ResolvedSchema { schema, resource };
        if draft.knows("$anchor")
            && let Some(anchor) = word("$anchor")
        {
            self.all[resource].anchors.insert(anchor, here);
        }
        if draft.knows("$dynamicAnchor")
            && let Some(anchor) = word("$dynamicAnchor").filter(|anchor| !anchor.is_empty())
        {
            self.all[resource].anchors.insert(anchor, here);
            self.all[resource].dynamic_anchors.insert(anchor, here);
        }
        if draft.knows("$recursiveAnchor")
            && fields.get("$recursiveAnchor") == Some(&Json::Bool(true))
            && std::ptr::eq(self.all[resource].root, schema)
        {
            self.all[resource].dynamic_anchors.insert(RECURSIVE, here);
        }
        Ok(resource)
    }

    pub(super) fn get(&self, resource: usize) -> &SchemaResource<'a> {
        &self.all[resource]
    }

    /// Returns the resource that a schema begins, or else that of the surrounding schema.
    pub(super) fn at(&self, schema: &Json, outer: usize) -> usize {
        self.by_root.get(&std::ptr::from_ref(schema)).copied().unwrap_or(outer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SchemaResource<'a>> {
        self.all.iter()
    }

    /// Resolves a reference in a resource.
    pub(super) fn resolve(&self, reference: &str, from: usize) -> Result<ResolvedSchema<'a>, Unresolved> {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resource = if uri.is_empty() && !reference.is_empty() {
            from
        } else {
            let base = self.all[from].base.as_ref();
            let uri = base.and_then(|base| base.join(uri).ok()).or_else(|| Url::parse(uri).ok());
            let known = uri.and_then(|uri| self.by_uri.get(uri.as_str()).copied());
            known.filter(|_| !reference.is_empty()).ok_or(Unresolved::Remote)?
        };
        let fragment = percent_decode_str(fragment).decode_utf8().map_err(|_| Unresolved::Dangling)?;
        let SchemaResource { root, anchors, .. } = &self.all[resource];
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return anchors.get(&*fragment).copied().ok_or(Unresolved::Dangling);
        }
        let mut target = ResolvedSchema { schema: root, resource };
        for token in fragment.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            let inner = match target.schema {
                Json::Object(fields) => fields.get(&name),
                Json::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let schema = inner.ok_or(Unresolved::Dangling)?;
            target = ResolvedSchema { schema, resource: self.at(schema, target.resource) };
        }
        Ok(target)
    }

    /// Records the path to a schema that is one only because a reference leads to it.
    pub(super) fn reach(&mut self, schema: &'a Json, around: &'a Json, keyword: &'a str) {
        if !std::ptr::eq(schema, self.document) {
            self.links.entry(std::ptr::from_ref(schema)).or_insert(SubschemaLink {
                around,
                keyword,
                key: None,
            });
        }
    }

    /// Returns the path to a place in a schema.
    pub(super) fn path(&self, schema: &Json, within: &[&str]) -> ValuePath {
        let mut steps: Vec<&str> = within.iter().rev().copied().collect();
        let mut here = schema;
        while let Some(link) = self.links.get(&std::ptr::from_ref(here)) {
            steps.extend(link.key.as_deref());
            steps.push(link.keyword);
            here = link.around;
        }
        steps.reverse();
        ValuePath::of(self.document, &steps)
    }
}

/// Returns the draft that a schema declares.
fn draft_of(schema: &Json) -> Result<Option<SchemaDraft>, UnknownDraft<'_>> {
    let Some(uri) = schema.get("$schema").and_then(Json::as_str) else { return Ok(None) };
    SchemaDraft::of_uri(uri).map(Some).ok_or(UnknownDraft(schema))
}
