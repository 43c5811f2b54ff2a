//! Validates a value with a compiled schema.
//!
//! A first pass only decides whether the value fits, and stops at the first violation. If the value does not fit, a
//! second pass finds all violations and reports the first one in the order of the value.
//!
//! Both passes are bounded in steps (`cost.rs`) and in depth: a value has at most 64 levels, and each level has a chain
//! of at most 32 schemas. All alternatives are tried even if one fits, so the cost does not depend on their order.
//!
//! This file holds the keywords that look at the value as a whole, and `children` those that apply schemas to its
//! fields and items.

mod children;

use serde_json::{Map, Value as Json};

use super::bounds::size;
use super::cost::{Exhausted, StepBudget};
use super::equality::{JsonSet, equal};
use super::number::{compare, is_integer, is_multiple_of};
use super::program::{Keyword, NodeId, Program, ROOT, RequiredField, TypeSet};
use super::validation_error::{Discriminates, InstanceLocation, Violation, ViolationReport, shown};

/// Whether a value fits.
type Verdict = Result<bool, Exhausted>;

/// Validates a value.
///
/// # Errors
/// The first violation.
pub(super) fn validate(program: &Program, value: &Json) -> Result<(), Violation> {
    let place = InstanceLocation::root();
    let is_valid = Validation::new(program, value).node(ROOT, &place, value, None, None);
    let mut report = ViolationReport::new(&place);
    match is_valid {
        Ok(true) => return Ok(()),
        Err(Exhausted) => {}
        // If the second pass runs out of steps, the violations found so far are still valid.
        Ok(false) => drop(Validation::new(program, value).node(ROOT, &place, value, Some(&mut report), None)),
    }
    let too_much = || Violation::of_root("a value that takes less work to check".to_owned(), shown(value));
    Err(report.into_first().unwrap_or_else(too_much))
}

/// The fields or items of a value that a keyword has evaluated.
struct Evaluated(Vec<bool>);

impl Evaluated {
    fn none_of(value: &Json) -> Self {
        let length = match value {
            Json::Array(items) => items.len(),
            Json::Object(fields) => fields.len(),
            _ => 0,
        };
        Self(vec![false; length])
    }

    fn mark(&mut self, index: usize) {
        if let Some(mark) = self.0.get_mut(index) {
            *mark = true;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mark, other)| *mark |= other);
    }
}

struct Validation<'p> {
    program: &'p Program,
    steps: StepBudget,
    /// The resources that were entered so far, in which `$dynamicRef` looks for its anchor.
    scope: Vec<usize>,
}

impl<'p> Validation<'p> {
    fn new(program: &'p Program, value: &Json) -> Self {
        Self { program, steps: StepBudget::for_value(value), scope: Vec::new() }
    }

    /// Applies a schema to a value. Without a report, it stops at the first violation.
    fn node(
        &mut self,
        id: NodeId,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let node = &self.program.nodes[id];
        self.steps.spend(node.steps)?;
        if node.is_never {
            add(report, place, Discriminates::No, || "nothing".to_owned(), value);
            return Ok(false);
        }
        let scope = self.scope.len();
        if !self.program.dynamic_anchors.is_empty() && self.scope.last() != Some(&node.resource) {
            self.scope.push(node.resource);
        }
        let verdict = if node.has_unevaluated {
            self.node_with_unevaluated(id, place, value, report, evaluated)
        } else {
            self.keywords(id, place, value, report, evaluated)
        };
        self.scope.truncate(scope);
        verdict
    }

    /// Applies a schema with `unevaluated…`. Such keywords see what their siblings evaluate, but not what outer schemas
    /// do.
    #[inline(never)]
    fn node_with_unevaluated(
        &mut self,
        id: NodeId,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut own = self.evaluated(value)?;
        let verdict = self.keywords(id, place, value, report, Some(&mut own))?;
        if let Some(evaluated) = evaluated {
            evaluated.merge(&own);
        }
        Ok(verdict)
    }

    fn evaluated(&mut self, value: &Json) -> Result<Evaluated, Exhausted> {
        let evaluated = Evaluated::none_of(value);
        self.steps.spend_bytes(evaluated.0.len())?;
        Ok(evaluated)
    }

    fn keywords(
        &mut self,
        id: NodeId,
        place: &InstanceLocation<'_>,
        value: &Json,
        mut report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut is_valid = true;
        for keyword in &self.program.nodes[id].keywords {
            is_valid &=
                self.keyword(keyword, place, value, report.as_deref_mut(), evaluated.as_deref_mut())?;
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    fn keyword(
        &mut self,
        keyword: &'p Keyword,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        match (keyword, value) {
            (Keyword::Ref(id), _) => self.node(*id, place, value, report, evaluated),
            (Keyword::AllOf(ids), _) => self.all_of(ids, place, value, report, evaluated),
            (Keyword::AnyOf(ids) | Keyword::OneOf(ids), _) => {
                self.alternatives(keyword, ids, place, value, report, evaluated)
            }
            (Keyword::If { .. }, _) => self.conditional(keyword, place, value, report, evaluated),
            (Keyword::DynamicRef { anchor, target }, _) => {
                let id = self.dynamic(anchor, *target)?;
                self.node(id, place, value, report, evaluated)
            }
            (Keyword::Properties(properties), Json::Object(fields)) => {
                self.properties(keyword, properties, place, fields, report, evaluated)
            }
            (Keyword::Items(items), Json::Array(list)) => {
                self.items(keyword, items, place, list, value, report, evaluated)
            }
            (Keyword::Contains(contains), Json::Array(list)) => {
                self.contains(contains, place, list, value, report, evaluated)
            }
            (Keyword::UnevaluatedProperties(id), Json::Object(fields)) => {
                self.unevaluated_properties(*id, keyword, place, fields, report, evaluated)
            }
            (Keyword::UnevaluatedItems(id), Json::Array(list)) => {
                self.unevaluated_items(*id, keyword, place, list, value, report, evaluated)
            }
            (Keyword::DependentSchemas(rows), Json::Object(fields)) => {
                let ids = rows.iter().filter(|(name, _)| fields.contains_key(name)).map(|(_, id)| id);
                self.all_of(ids, place, value, report, evaluated)
            }
            (Keyword::PropertyNames(id), Json::Object(fields)) => {
                self.property_names(*id, place, fields, value, report)
            }
            (Keyword::Required(names), Json::Object(fields)) => {
                Ok(self.required(names, place, fields, report))
            }
            (Keyword::DependentRequired(rows), Json::Object(fields)) => {
                Ok(self.dependent_required(rows, place, fields, report))
            }
            (Keyword::Not(id), _) => {
                let fits = self.node(*id, place, value, None, None)?;
                Ok(self.verdict(!fits, keyword, place, value, report))
            }
            _ => {
                let fits = self.assertion(keyword, value)?;
                Ok(self.verdict(fits, keyword, place, value, report))
            }
        }
    }

    /// Checks a keyword that depends only on the value itself.
    fn assertion(&mut self, keyword: &Keyword, value: &Json) -> Verdict {
        use std::cmp::Ordering::{Greater, Less};
        Ok(match (keyword, value) {
            (Keyword::Type(types), _) => types.fit(value),
            (Keyword::Enum { set, .. }, _) => {
                self.steps.spend_bytes(size(value))?;
                set.contains(value)
            }
            (Keyword::Const(constant), _) => equal(constant, value),
            (Keyword::Minimum(limit), Json::Number(number)) => compare(number, limit) != Less,
            (Keyword::Maximum(limit), Json::Number(number)) => compare(number, limit) != Greater,
            (Keyword::ExclusiveMinimum(limit), Json::Number(number)) => compare(number, limit) == Greater,
            (Keyword::ExclusiveMaximum(limit), Json::Number(number)) => compare(number, limit) == Less,
            (Keyword::MultipleOf(divisor), Json::Number(number)) => is_multiple_of(number, divisor),
            (Keyword::MinLength(limit), Json::String(text)) => self.length(text)? >= *limit,
            (Keyword::MaxLength(limit), Json::String(text)) => self.length(text)? <= *limit,
            (Keyword::Pattern(pattern), Json::String(text)) => {
                self.steps.spend(pattern.steps(text))?;
                pattern.is_match(text)
            }
            (Keyword::MinItems(limit), Json::Array(items)) => items.len() as u64 >= *limit,
            (Keyword::MaxItems(limit), Json::Array(items)) => items.len() as u64 <= *limit,
            (Keyword::UniqueItems, Json::Array(items)) => {
                self.steps.spend(items.len() as u64)?;
                self.steps.spend_bytes(size(value))?;
                let mut seen = JsonSet::new();
                items.iter().all(|item| seen.insert(item))
            }
            (Keyword::MinProperties(limit), Json::Object(fields)) => fields.len() as u64 >= *limit,
            (Keyword::MaxProperties(limit), Json::Object(fields)) => fields.len() as u64 <= *limit,
            _ => true,
        })
    }

    /// Returns the length of a text in code points.
    fn length(&mut self, text: &str) -> Result<u64, Exhausted> {
        self.steps.spend_bytes(text.len())?;
        Ok(text.chars().count() as u64)
    }

    /// Reports a violation if the keyword failed.
    fn verdict(
        &self,
        fits: bool,
        keyword: &Keyword,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
    ) -> bool {
        let discriminates = match keyword {
            Keyword::Type(_) => Discriminates::ByType,
            Keyword::Const(_) | Keyword::Enum { .. } => Discriminates::ByConstant,
            _ => Discriminates::No,
        };
        if !fits {
            add(report, place, discriminates, || self.program.expected(keyword), value);
        }
        fits
    }

    fn all_of<'i>(
        &mut self,
        ids: impl IntoIterator<Item = &'i NodeId>,
        place: &InstanceLocation<'_>,
        value: &Json,
        mut report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut is_valid = true;
        for id in ids {
            is_valid &= self.node(*id, place, value, report.as_deref_mut(), evaluated.as_deref_mut())?;
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    /// Applies a schema that may fail. What it evaluates counts only if it succeeds.
    fn branch(
        &mut self,
        id: NodeId,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let Some(evaluated) = evaluated else { return self.node(id, place, value, report, None) };
        let mut own = self.evaluated(value)?;
        let fits = self.node(id, place, value, report, Some(&mut own))?;
        if fits {
            evaluated.merge(&own);
        }
        Ok(fits)
    }

    fn alternatives(
        &mut self,
        keyword: &Keyword,
        ids: &[NodeId],
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut fitting = 0;
        let mut reports = Vec::new();
        for id in ids {
            let mut own = report.is_some().then(|| ViolationReport::new(place));
            let fits = self.branch(*id, place, value, own.as_mut(), evaluated.as_deref_mut())?;
            fitting += usize::from(fits);
            reports.extend(own);
        }
        if fitting == 0 {
            if let Some(report) = report {
                report.add_alternatives(place, value, reports);
            }
            return Ok(false);
        }
        let fits = fitting == 1 || matches!(keyword, Keyword::AnyOf(_));
        Ok(self.verdict(fits, keyword, place, value, report))
    }

    fn conditional(
        &mut self,
        keyword: &Keyword,
        place: &InstanceLocation<'_>,
        value: &Json,
        report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let Keyword::If { condition, then, otherwise } = keyword else { return Ok(true) };
        let holds = self.branch(*condition, place, value, None, evaluated.as_deref_mut())?;
        match if holds { then } else { otherwise } {
            Some(id) => self.node(*id, place, value, report, evaluated),
            None => Ok(true),
        }
    }

    /// Returns the outermost schema on the dynamic path that has this anchor.
    fn dynamic(&mut self, anchor: &str, target: NodeId) -> Result<NodeId, Exhausted> {
        self.steps.spend(self.scope.len() as u64 / 8)?;
        let anchors = self.program.dynamic_anchors.get(anchor);
        let found = anchors.and_then(|anchors| self.scope.iter().find_map(|resource| anchors.get(resource)));
        Ok(found.copied().unwrap_or(target))
    }

    fn required(
        &self,
        names: &[RequiredField],
        place: &InstanceLocation<'_>,
        fields: &Map<String, Json>,
        mut report: Option<&mut ViolationReport>,
    ) -> bool {
        let mut is_valid = true;
        for RequiredField { name, schema } in names.iter().filter(|field| !fields.contains_key(&field.name)) {
            is_valid = false;
            let Some(report) = report.as_deref_mut() else { break };
            let expected = || schema.map_or_else(|| "a value".to_owned(), |id| self.program.describe(id));
            report.add(&place.missing_field(name), Discriminates::No, expected, || "nothing".to_owned());
        }
        is_valid
    }

    fn dependent_required(
        &self,
        rows: &[(String, Vec<RequiredField>)],
        place: &InstanceLocation<'_>,
        fields: &Map<String, Json>,
        mut report: Option<&mut ViolationReport>,
    ) -> bool {
        let needed = rows.iter().filter(|(name, _)| fields.contains_key(name));
        needed.fold(true, |is_valid, (_, names)| {
            self.required(names, place, fields, report.as_deref_mut()) && is_valid
        })
    }
}

/// Adds a violation to the report, if there is one.
fn add(
    report: Option<&mut ViolationReport>,
    place: &InstanceLocation<'_>,
    discriminates: Discriminates,
    expected: impl Fn() -> String,
    value: &Json,
) {
    if let Some(report) = report {
        report.add(place, discriminates, expected, || shown(value));
    }
}

impl TypeSet {
    fn fit(&self, value: &Json) -> bool {
        let is = |name: &str| match (name, value) {
            ("string", Json::String(_))
            | ("number", Json::Number(_))
            | ("boolean", Json::Bool(_))
            | ("object", Json::Object(_))
            | ("array", Json::Array(_))
            | ("null", Json::Null) => true,
            ("integer", Json::Number(number)) if self.whole_is_integer => is_integer(number),
            // An integer of more than 64 bits is parsed as a float.
            ("integer", Json::Number(number)) => {
                !number.is_f64() || number.as_f64().is_some_and(|float| float.abs() > u64::MAX as f64)
            }
            _ => false,
        };
        self.names.iter().any(|name| is(name))
    }
}
