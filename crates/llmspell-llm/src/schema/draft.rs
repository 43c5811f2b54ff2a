//! The drafts of JSON Schema and the keywords that they define.

/// A draft; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SchemaDraft {
    Draft4,
    Draft6,
    Draft7,
    Draft201909,
    Draft202012,
}

use SchemaDraft::{Draft4, Draft6, Draft7, Draft201909, Draft202012};

/// The draft of a schema without `$schema`.
pub(super) const DEFAULT: SchemaDraft = Draft202012;

const URIS: [(&str, SchemaDraft); 5] = [
    ("json-schema.org/draft-04/schema", Draft4),
    ("json-schema.org/draft-06/schema", Draft6),
    ("json-schema.org/draft-07/schema", Draft7),
    ("json-schema.org/draft/2019-09/schema", Draft201909),
    ("json-schema.org/draft/2020-12/schema", Draft202012),
];

/// The keywords that some drafts lack, with the first and the last draft that has them. `definitions` and
/// `dependencies` are deprecated but common, so they are accepted in all drafts.
const SPANS: [(&str, SchemaDraft, SchemaDraft); 24] = [
    ("$anchor", Draft201909, Draft202012),
    ("$defs", Draft201909, Draft202012),
    ("$dynamicAnchor", Draft202012, Draft202012),
    ("$dynamicRef", Draft202012, Draft202012),
    ("$id", Draft6, Draft202012),
    ("$recursiveAnchor", Draft201909, Draft201909),
    ("$recursiveRef", Draft201909, Draft201909),
    ("additionalItems", Draft4, Draft201909),
    ("const", Draft6, Draft202012),
    ("contains", Draft6, Draft202012),
    ("contentSchema", Draft201909, Draft202012),
    ("dependentRequired", Draft201909, Draft202012),
    ("dependentSchemas", Draft201909, Draft202012),
    ("else", Draft7, Draft202012),
    ("examples", Draft6, Draft202012),
    ("id", Draft4, Draft4),
    ("if", Draft7, Draft202012),
    ("maxContains", Draft201909, Draft202012),
    ("minContains", Draft201909, Draft202012),
    ("prefixItems", Draft202012, Draft202012),
    ("propertyNames", Draft6, Draft202012),
    ("then", Draft7, Draft202012),
    ("unevaluatedItems", Draft201909, Draft202012),
    ("unevaluatedProperties", Draft201909, Draft202012),
];

impl SchemaDraft {
    /// Returns the draft of a `$schema` URI.
    pub(super) fn of_uri(uri: &str) -> Option<Self> {
        let uri = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"))?;
        let uri = uri.strip_suffix('#').unwrap_or(uri);
        URIS.iter().find(|(known, _)| *known == uri).map(|(_, draft)| *draft)
    }

    pub(super) fn knows(self, keyword: &str) -> bool {
        let span = SPANS.iter().find(|(name, ..)| *name == keyword);
        span.is_none_or(|(_, first, last)| (*first..=*last).contains(&self))
    }

    /// Returns the keyword for a schema's identifier.
    pub(super) fn id(self) -> &'static str {
        if self == Draft4 { "id" } else { "$id" }
    }

    /// Whether keywords next to a `$ref` are ignored.
    pub(super) fn ref_is_alone(self) -> bool {
        self <= Draft7
    }
}
