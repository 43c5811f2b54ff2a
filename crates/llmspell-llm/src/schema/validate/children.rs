//! The keywords that apply schemas to the fields and items of a value.

use serde_json::{Map, Value as Json};

use super::super::program::{Contains, ItemsKeyword, Keyword, NodeId, Properties};
use super::super::validation_error::{Discriminates, InstanceLocation, Violation, ViolationReport};
use super::{Evaluated, Validation, Verdict, add};

impl Validation<'_> {
    pub(super) fn properties(
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
    pub(super) fn items(
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

    pub(super) fn contains(
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

    pub(super) fn unevaluated_properties(
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
    pub(super) fn unevaluated_items(
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

    pub(super) fn property_names(
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
}
