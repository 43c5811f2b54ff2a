//! Resolves `$ref` and its relatives within one document. Nothing is ever fetched: a reference to any other document is an
//! error, and the drafts' own meta-schemas are no exception.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;
use url::Url;

use super::draft::{self, Draft};
use super::keywords::parts;
use super::validation_error::ValuePath;

/// The base of a document that does not name itself, against which relative references are resolved.
const UNNAMED: &str = "schema:///";

/// The name of the dynamic anchor that `$recursiveAnchor` stands for. No `$dynamicAnchor` may be empty.
pub(super) const RECURSIVE: &str = "";

/// A schema that names itself by `$id`, or the document as a whole.
pub(super) struct Resource<'a> {
    root: &'a Json,
    base: Option<Url>,
    pub(super) draft: Draft,
    anchors: HashMap<&'a str, Target<'a>>,
    pub(super) dynamic_anchors: HashMap<&'a str, Target<'a>>,
}

/// A schema of the document, and the resource that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) schema: &'a Json,
    pub(super) resource: usize,
}

/// Why a reference does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It leads out of the document.
    Remote,
    /// It leads to nothing.
    Dangling,
}

/// A schema whose `$schema` is no known draft.
pub(super) struct UnknownDraft<'a>(pub(super) &'a Json);

/// How one gets to a schema from the one around it: a keyword, and a name or number beneath it.
struct Link<'a> {
    around: &'a Json,
    keyword: &'a str,
    key: Option<Cow<'a, str>>,
}

/// The resources of a document. Schemas are known by their addresses in it.
pub(super) struct Resources<'a> {
    document: &'a Json,
    all: Vec<Resource<'a>>,
    by_uri: HashMap<String, usize>,
    by_root: HashMap<*const Json, usize>,
    links: HashMap<*const Json, Link<'a>>,
}

impl<'a> Resources<'a> {
    /// Finds all names in a document.
    pub(super) fn of(document: &'a Json) -> Result<Self, UnknownDraft<'a>> {
        let (by_uri, by_root, links) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut resources = Self { document, all: Vec::new(), by_uri, by_root, links };
        let draft = draft_of(document)?.unwrap_or(draft::DEFAULT);
        resources.add(document, Url::parse(UNNAMED).ok(), draft);
        let mut queue = vec![(document, 0)];
        while let Some((schema, outer)) = queue.pop() {
            let resource = resources.name(schema, outer)?;
            for part in parts(schema) {
                let link = Link { around: schema, keyword: part.keyword, key: part.key };
                resources.links.insert(std::ptr::from_ref(part.schema), link);
                queue.push((part.schema, resource));
            }
        }
        Ok(resources)
    }

    fn add(&mut self, root: &'a Json, base: Option<Url>, draft: Draft) -> usize {
        let number = self.all.len();
        if let Some(base) = &base {
            self.by_uri.entry(base.to_string()).or_insert(number);
        }
        self.by_root.insert(std::ptr::from_ref(root), number);
        let (anchors, dynamic_anchors) = (HashMap::new(), HashMap::new());
        self.all.push(Resource { root, base, draft, anchors, dynamic_anchors });
        number
    }

    /// Takes up the names that a schema gives itself, and returns the resource that it belongs to.
    fn name(&mut self, schema: &'a Json, outer: usize) -> Result<usize, UnknownDraft<'a>> {
        let Some(fields) = schema.as_object() else { return Ok(outer) };
        let is_document = std::ptr::eq(schema, self.document);
        let word = |keyword: &str| fields.get(keyword).and_then(Json::as_str);
        let mut draft = self.all[outer].draft;
        if draft.ref_is_alone() && fields.contains_key("$ref") && !is_document {
            return Ok(outer);
        }
        // Only a schema that names itself may be of another draft.
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
                self.all[resource].anchors.insert(fragment, Target { schema, resource });
            }
        }
        let here = Target { schema, resource };
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

    pub(super) fn get(&self, resource: usize) -> &Resource<'a> {
        &self.all[resource]
    }

    /// The resource that a schema begins, or else the one around it.
    pub(super) fn at(&self, schema: &Json, outer: usize) -> usize {
        self.by_root.get(&std::ptr::from_ref(schema)).copied().unwrap_or(outer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Resource<'a>> {
        self.all.iter()
    }

    /// What a reference in a resource refers to.
    pub(super) fn resolve(&self, reference: &str, from: usize) -> Result<Target<'a>, Unresolved> {
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
        let Resource { root, anchors, .. } = &self.all[resource];
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return anchors.get(&*fragment).copied().ok_or(Unresolved::Dangling);
        }
        let mut target = Target { schema: root, resource };
        for token in fragment.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            let inner = match target.schema {
                Json::Object(fields) => fields.get(&name),
                Json::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let schema = inner.ok_or(Unresolved::Dangling)?;
            target = Target { schema, resource: self.at(schema, target.resource) };
        }
        Ok(target)
    }

    /// Takes note of how one gets to a schema that only a reference makes one.
    pub(super) fn reach(&mut self, schema: &'a Json, around: &'a Json, keyword: &'a str) {
        if !std::ptr::eq(schema, self.document) {
            self.links.entry(std::ptr::from_ref(schema)).or_insert(Link { around, keyword, key: None });
        }
    }

    /// The path to something in a schema.
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

/// The draft that a schema says it is of.
fn draft_of(schema: &Json) -> Result<Option<Draft>, UnknownDraft<'_>> {
    let Some(uri) = schema.get("$schema").and_then(Json::as_str) else { return Ok(None) };
    Draft::of_uri(uri).map(Some).ok_or(UnknownDraft(schema))
}
