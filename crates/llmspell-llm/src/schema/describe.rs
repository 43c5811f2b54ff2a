//! Describes in words which values a compiled schema accepts.

use super::program::{Keyword, NodeId, Program, TypeSet};
use super::validation_error::{MAX_NAMED, as_json, count, list, one_of};

/// How many references and alternatives are followed for a description.
const MAX_DESCRIBED: usize = 4;

impl Program {
    /// Describes the values that a schema accepts.
    pub(super) fn describe(&self, id: NodeId) -> String {
        self.describe_to(id, MAX_DESCRIBED)
    }

    fn describe_to(&self, id: NodeId, depth: usize) -> String {
        let telling = self.nodes[id]
            .keywords
            .iter()
            .filter(|keyword| rank(keyword).is_some())
            .min_by_key(|keyword| rank(keyword));
        match telling {
            _ if depth == 0 => "a value".to_owned(),
            Some(Keyword::Enum { options, .. }) => one_of(options),
            Some(Keyword::Const(value)) => as_json(value),
            Some(Keyword::Type(types)) => types.as_written(),
            Some(Keyword::Ref(id) | Keyword::DynamicRef { target: id, .. }) => {
                self.describe_to(*id, depth - 1)
            }
            Some(Keyword::AnyOf(ids) | Keyword::OneOf(ids)) => {
                let words = ids.iter().take(MAX_NAMED + 1).map(|id| self.describe_to(*id, depth - 1));
                list(&words.collect::<Vec<_>>(), "or")
            }
            Some(Keyword::Properties(_)) => "object".to_owned(),
            _ => "a value".to_owned(),
        }
    }

    /// Describes what a failed keyword expected.
    pub(super) fn expected(&self, keyword: &Keyword) -> String {
        match keyword {
            Keyword::Type(types) => types.sorted(),
            Keyword::Enum { options, .. } => one_of(options),
            Keyword::Const(value) => as_json(value),
            Keyword::Minimum(limit) => format!("at least {limit}"),
            Keyword::Maximum(limit) => format!("at most {limit}"),
            Keyword::ExclusiveMinimum(limit) => format!("more than {limit}"),
            Keyword::ExclusiveMaximum(limit) => format!("less than {limit}"),
            Keyword::MultipleOf(divisor) => format!("a multiple of {divisor}"),
            Keyword::MinLength(limit) => count("at least", *limit, "character"),
            Keyword::MaxLength(limit) => count("at most", *limit, "character"),
            Keyword::MinItems(limit) => count("at least", *limit, "item"),
            Keyword::MaxItems(limit) => count("at most", *limit, "item"),
            Keyword::MinProperties(limit) => count("at least", *limit, "field"),
            Keyword::MaxProperties(limit) => count("at most", *limit, "field"),
            Keyword::Pattern(pattern) => format!("text that matches {}", as_json(&pattern.source().into())),
            Keyword::UniqueItems => "items that all differ".to_owned(),
            Keyword::Items(items) => format!("at most {} items", items.prefix.len()),
            Keyword::Contains(_) => "an item that fits `contains`".to_owned(),
            Keyword::Not(_) => "another value (`not`)".to_owned(),
            Keyword::UnevaluatedItems(_) => "no more items".to_owned(),
            Keyword::OneOf(_) => "only one of the alternatives (`oneOf`)".to_owned(),
            Keyword::Properties(properties) if !properties.named.is_empty() => {
                let names: Vec<_> = properties
                    .named
                    .keys()
                    .take(MAX_NAMED + 1)
                    .map(|name| as_json(&name.as_str().into()))
                    .collect();
                format!("no other field than {}", list(&names, "and"))
            }
            _ => "no such field".to_owned(),
        }
    }
}

/// Returns how well a keyword describes its schema; lower is better.
fn rank(keyword: &Keyword) -> Option<u8> {
    match keyword {
        Keyword::Enum { .. } => Some(0),
        Keyword::Const(_) => Some(1),
        Keyword::Type(_) => Some(2),
        Keyword::Ref(_) | Keyword::DynamicRef { .. } => Some(3),
        Keyword::AnyOf(_) | Keyword::OneOf(_) => Some(4),
        Keyword::Properties(_) => Some(5),
        _ => None,
    }
}

impl TypeSet {
    fn as_written(&self) -> String {
        list(&self.names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), "or")
    }

    fn sorted(&self) -> String {
        let mut names: Vec<_> = self.names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        list(&names, "or")
    }
}
