//! A compiled schema: nodes with keywords, which refer to each other by index.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Number, Value as Json};

use super::equality::JsonSet;
use super::pattern::SchemaPattern;

/// The index of a node.
pub(super) type NodeId = usize;

/// The node of the whole schema.
pub(super) const ROOT: NodeId = 0;

/// A compiled schema.
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    /// For each dynamic anchor, its nodes by resource.
    pub(super) dynamic_anchors: HashMap<String, HashMap<usize, NodeId>>,
}

/// A compiled subschema.
#[derive(Default)]
pub(super) struct Node {
    /// In source order, except that `unevaluated…` comes last.
    pub(super) keywords: Vec<Keyword>,
    /// Whether this is the schema `false`.
    pub(super) is_never: bool,
    /// Whether it has `unevaluated…`, and so must know what other keywords have evaluated.
    pub(super) has_unevaluated: bool,
    /// The index of its resource.
    pub(super) resource: usize,
    /// The cost of applying the node without its children, in steps.
    pub(super) steps: u64,
}

/// A compiled keyword.
pub(super) enum Keyword {
    Type(TypeSet),
    Enum {
        options: Vec<Json>,
        set: JsonSet<Json>,
    },
    Const(Json),
    Minimum(Number),
    Maximum(Number),
    ExclusiveMinimum(Number),
    ExclusiveMaximum(Number),
    MultipleOf(Number),
    MinLength(u64),
    MaxLength(u64),
    Pattern(SchemaPattern),
    MinItems(u64),
    MaxItems(u64),
    UniqueItems,
    Items(ItemsKeyword),
    Contains(Contains),
    MinProperties(u64),
    MaxProperties(u64),
    Required(Vec<RequiredField>),
    Properties(Properties),
    PropertyNames(NodeId),
    /// The fields that must be present if another field is.
    DependentRequired(Vec<(String, Vec<RequiredField>)>),
    DependentSchemas(Vec<(String, NodeId)>),
    AllOf(Vec<NodeId>),
    AnyOf(Vec<NodeId>),
    OneOf(Vec<NodeId>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    Ref(NodeId),
    DynamicRef {
        anchor: String,
        target: NodeId,
    },
    UnevaluatedItems(NodeId),
    UnevaluatedProperties(NodeId),
}

/// A required field.
pub(super) struct RequiredField {
    pub(super) name: String,
    /// The field's schema in `properties`.
    pub(super) schema: Option<NodeId>,
}

/// The types that a value may have.
pub(super) struct TypeSet {
    /// In source order.
    pub(super) names: Vec<&'static str>,
    /// Whether `1.0` is an integer.
    pub(super) whole_is_integer: bool,
}

/// `prefixItems` and `items`, which older drafts call `items` and `additionalItems`.
#[derive(Default)]
pub(super) struct ItemsKeyword {
    pub(super) prefix: Vec<NodeId>,
    pub(super) rest: Option<NodeId>,
    /// Whether the draft uses `additionalItems`.
    pub(super) rest_is_additional: bool,
}

pub(super) struct Contains {
    pub(super) item: NodeId,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
    /// Whether an item that fits `contains` counts as evaluated.
    pub(super) evaluates: bool,
}

#[derive(Default)]
pub(super) struct Properties {
    pub(super) named: IndexMap<String, NodeId>,
    pub(super) patterns: Vec<(SchemaPattern, NodeId)>,
    pub(super) additional: Option<NodeId>,
}

impl Keyword {
    /// Returns the keyword's cost in steps, beyond its node and children: one per entry that is looked up.
    pub(super) fn steps(&self) -> u64 {
        let entries = match self {
            Self::DependentRequired(rows) => rows.len(),
            Self::DependentSchemas(rows) => rows.len(),
            Self::Required(names) => names.len() / 4,
            _ => 0,
        };
        entries as u64
    }

    /// Returns the schemas that the keyword applies to the same value.
    pub(super) fn in_place(&self, program: &Program) -> Vec<NodeId> {
        match self {
            Self::AllOf(ids) | Self::AnyOf(ids) | Self::OneOf(ids) => ids.clone(),
            Self::DependentSchemas(rows) => rows.iter().map(|(_, id)| *id).collect(),
            Self::Not(id) | Self::Ref(id) => vec![*id],
            Self::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            Self::DynamicRef { anchor, target } => {
                let dynamic = program.dynamic_anchors.get(anchor).into_iter().flat_map(HashMap::values);
                dynamic.copied().chain([*target]).collect()
            }
            _ => Vec::new(),
        }
    }
}
