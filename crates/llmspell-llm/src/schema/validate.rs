//! Validates a value with a compiled schema.
//!
//! A first pass only decides whether the value fits, and stops at the first violation. If the value does not fit, a
//! second pass finds all violations and reports the first one in the order of the value.
//!
//! Both passes are bounded in steps (`cost.rs`) and in depth: a value has at most 64 levels, and each level has a chain
//! of at most 32 schemas. All alternatives are tried even if one fits, so the cost does not depend on their order.

use serde_json::{Map, Value as Json};

use super::bounds::size;
use super::compile::{
    Contains, ItemsKeyword, Keyword, NodeId, Program, Properties, ROOT, RequiredField, TypeSet,
};
use super::cost::{Exhausted, StepBudget};
use super::equality::{JsonSet, equal};
use super::number::{compare, is_integer, is_multiple_of};
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

    fn properties(
        &mut self,
        keyword: &Keyword,
        properties: &Properties,
        place: &InstanceLocation<'_>,
        fields: &Map<String, Json>,
        mut report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let Properties { named, patterns, additional } = properties;
        let is_closed = additional.is_some_and(|id| self.program.nodes[id].is_never);
        let (mut is_valid, mut has_unexpected) = (true, false);
        for (index, (name, value)) in fields.iter().enumerate() {
            self.steps.spend(1)?;
            let place = place.field(index, name);
            let mut is_known = false;
            if let Some(id) = named.get(name) {
                is_known = true;
                is_valid &= self.node(*id, &place, value, report.as_deref_mut(), None)?;
            }
            for (pattern, id) in patterns {
                self.steps.spend(1 + pattern.steps(name))?;
                if pattern.is_match(name) {
                    is_known = true;
                    is_valid &= self.node(*id, &place, value, report.as_deref_mut(), None)?;
                }
            }
            match additional {
                Some(_) if !is_known && is_closed => {
                    is_valid = false;
                    // One violation, regardless of the number of unexpected fields.
                    if !has_unexpected {
                        let expected = || self.program.expected(keyword);
                        add(report.as_deref_mut(), &place, Discriminates::No, expected, value);
                    }
                    has_unexpected = true;
                }
                Some(id) if !is_known => {
                    is_known = true;
                    is_valid &= self.node(*id, &place, value, report.as_deref_mut(), None)?;
                }
                _ => {}
            }
            if let Some(evaluated) = evaluated.as_deref_mut().filter(|_| is_known || is_closed) {
                evaluated.mark(index);
            }
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    #[expect(clippy::too_many_arguments, reason = "the list is in the value, which is shown as a whole")]
    fn items(
        &mut self,
        keyword: &Keyword,
        items: &ItemsKeyword,
        place: &InstanceLocation<'_>,
        list: &[Json],
        value: &Json,
        mut report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let is_closed =
            items.rest_is_additional && items.rest.is_some_and(|id| self.program.nodes[id].is_never);
        let mut is_valid = true;
        for (index, item) in list.iter().enumerate() {
            let id = match (items.prefix.get(index), items.rest) {
                (Some(id), _) => *id,
                (None, Some(_)) if is_closed => {
                    is_valid = self.verdict(false, keyword, place, value, report);
                    break;
                }
                (None, Some(id)) => id,
                (None, None) => break,
            };
            is_valid &= self.node(id, &place.item(index), item, report.as_deref_mut(), None)?;
            if let Some(evaluated) = evaluated.as_deref_mut() {
                evaluated.mark(index);
            }
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    fn contains(
        &mut self,
        contains: &Contains,
        place: &InstanceLocation<'_>,
        list: &[Json],
        value: &Json,
        report: Option<&mut ViolationReport>,
        mut evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let mut found = 0;
        for (index, item) in list.iter().enumerate() {
            if self.node(contains.item, &place.item(index), item, None, None)? {
                found += 1;
                if let Some(evaluated) = evaluated.as_deref_mut().filter(|_| contains.evaluates) {
                    evaluated.mark(index);
                }
            }
        }
        let expected = match contains {
            Contains { least: 1, .. } if found < 1 => "an item that fits `contains`".to_owned(),
            Contains { least, .. } if found < *least => format!("at least {least} items that fit `contains`"),
            Contains { most: Some(most), .. } if found > *most => {
                format!("at most {most} item{} that fit `contains`", if *most == 1 { "" } else { "s" })
            }
            _ => return Ok(true),
        };
        add(report, place, Discriminates::No, || expected.clone(), value);
        Ok(false)
    }

    fn unevaluated_properties(
        &mut self,
        id: NodeId,
        keyword: &Keyword,
        place: &InstanceLocation<'_>,
        fields: &Map<String, Json>,
        mut report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let Some(evaluated) = evaluated else { return Ok(true) };
        let is_closed = self.program.nodes[id].is_never;
        let mut is_valid = true;
        for (index, (name, value)) in fields.iter().enumerate() {
            self.steps.spend(1)?;
            if evaluated.0.get(index) == Some(&true) {
                continue;
            }
            let place = place.field(index, name);
            if is_closed {
                add(
                    report.as_deref_mut(),
                    &place,
                    Discriminates::No,
                    || self.program.expected(keyword),
                    value,
                );
                return Ok(false);
            }
            is_valid &= self.node(id, &place, value, report.as_deref_mut(), None)?;
            evaluated.mark(index);
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    #[expect(clippy::too_many_arguments, reason = "the list is in the value, which is shown as a whole")]
    fn unevaluated_items(
        &mut self,
        id: NodeId,
        keyword: &Keyword,
        place: &InstanceLocation<'_>,
        list: &[Json],
        value: &Json,
        mut report: Option<&mut ViolationReport>,
        evaluated: Option<&mut Evaluated>,
    ) -> Verdict {
        let Some(evaluated) = evaluated else { return Ok(true) };
        let is_closed = self.program.nodes[id].is_never;
        let mut is_valid = true;
        for (index, item) in list.iter().enumerate() {
            self.steps.spend(1)?;
            if evaluated.0.get(index) == Some(&true) {
                continue;
            }
            if is_closed {
                return Ok(self.verdict(false, keyword, place, value, report));
            }
            is_valid &= self.node(id, &place.item(index), item, report.as_deref_mut(), None)?;
            evaluated.mark(index);
            if !is_valid && report.is_none() {
                break;
            }
        }
        Ok(is_valid)
    }

    fn property_names(
        &mut self,
        id: NodeId,
        place: &InstanceLocation<'_>,
        fields: &Map<String, Json>,
        value: &Json,
        report: Option<&mut ViolationReport>,
    ) -> Verdict {
        for name in fields.keys() {
            let mut own = report.is_some().then(|| ViolationReport::new(place));
            if !self.node(id, place, &Json::from(name.as_str()), own.as_mut(), None)? {
                let expected = own.and_then(ViolationReport::into_first).map(Violation::into_expected);
                let expected = format!("other names of fields: {}", expected.unwrap_or_default());
                add(report, place, Discriminates::No, || expected.clone(), value);
                return Ok(false);
            }
        }
        Ok(true)
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
