//! `--dry-run` shows what would run, without running it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use llmspell::capability::ModelRef;
use llmspell::{LIMITS, LimitField, Limits, Map, Permissions, Result, Runtime, Spell};
use serde::Serialize;
use serde_json::Value as Json;

use super::grants::{GrantSource, Grants, lines};
use crate::exit::Exit;
use crate::report::Reporter;
use crate::run_view::Output;
use crate::stdout::{print, print_json};
use crate::terminal::escape_name;

/// The description of a run.
#[derive(Debug, Serialize)]
pub(super) struct Preview<'a> {
    spell: &'a str,
    version: Option<&'a str>,
    engine: String,
    entry: &'a str,
    params: Map,
    permissions: PermissionPreview<'a>,
    limits: LimitsPreview,
    /// The model of requests that name none. Absent if finding it needs the network.
    model: Option<String>,
    /// The fallback models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallback: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct PermissionPreview<'a> {
    asked: &'a Permissions,
    /// The permissions that were asked for and are granted, by their source.
    granted_by: BTreeMap<GrantSource, &'a Permissions>,
    not_granted: &'a Permissions,
    /// All permissions of the run, including those that flags grant without being asked for.
    effective: Permissions,
}

/// The limits, with units in their names for JSON.
#[derive(Debug, Serialize)]
struct LimitsPreview {
    #[serde(flatten)]
    values: BTreeMap<&'static str, Json>,
    #[serde(skip)]
    text: String,
}

impl From<&Limits> for LimitsPreview {
    fn from(limits: &Limits) -> Self {
        let mut copy = limits.clone();
        let mut value = |field| match field {
            LimitField::Time(of) => of(&mut copy).as_secs_f64().into(),
            LimitField::Size(of) => (*of(&mut copy)).into(),
            LimitField::Count(of) => (*of(&mut copy)).into(),
            LimitField::OptionalCount(of) => (*of(&mut copy)).into(),
            LimitField::Dollars(of) => (*of(&mut copy)).into(),
        };
        let values = LIMITS.iter().map(|row| (row.json, value(row.field))).collect();
        Self { values, text: limits.to_string() }
    }
}

impl<'a> Preview<'a> {
    /// Collects the description. `note` says why the model may not be the expected one.
    ///
    /// # Errors
    /// When there is no engine for the spell, or a parameter is invalid.
    pub(super) fn new(
        spell: &'a Spell,
        params: Map,
        grants: &'a Grants,
        limits: &Limits,
        model: Option<ModelRef>,
        fallback: Vec<String>,
        note: Option<String>,
    ) -> Result<Self> {
        let engine = Runtime::builder().build()?.engine_for(spell)?.descriptor().name;
        Ok(Self {
            spell: spell.name(),
            version: spell.manifest().version.as_deref(),
            engine,
            entry: &spell.source().name,
            params: spell.params(params)?,
            permissions: PermissionPreview {
                asked: spell.asked(),
                granted_by: grants.settled().collect(),
                not_granted: grants.open(),
                effective: grants.effective(),
            },
            limits: limits.into(),
            model: model.map(|model| model.to_string()),
            fallback,
            note,
        })
    }

    /// Writes the description to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn show(&self, output: Output, report: &Reporter) -> Result<Exit> {
        match output {
            Output::Text => print(&report.safe_out(&self.text())),
            Output::Json | Output::StreamJson => print_json(self),
        }
    }

    fn text(&self) -> String {
        let mut rows = vec![("spell", escape_name(self.spell))];
        rows.extend(self.version.map(|version| ("version", escape_name(version))));
        rows.push(("engine", self.engine.clone()));
        rows.push(("entry", escape_name(self.entry)));
        // JSON keeps a value on one line, and distinguishes texts from numbers.
        rows.extend(self.params.iter().map(|(name, value)| {
            ("parameter", format!("{} = {}", escape_name(name), serde_json::json!(value)))
        }));
        let asked = &self.permissions;
        let told = |granted: &Permissions, by: &'static str| {
            lines(granted).into_iter().map(move |line| ("asks to", format!("{line}: {by}")))
        };
        for (by, granted) in &asked.granted_by {
            rows.extend(told(granted, by.told()));
        }
        rows.extend(told(asked.not_granted, "not granted"));
        rows.extend(lines(&asked.effective).into_iter().map(|line| ("may", line)));
        rows.push(("limits", self.limits.text.clone()));
        rows.extend(self.model.iter().map(|model| ("model", escape_name(model))));
        rows.extend(self.fallback.iter().map(|model| ("fallback", escape_name(model))));
        rows.extend(self.note.iter().map(|note| ("note", note.clone())));
        let mut text = String::new();
        let mut last = "";
        for (name, value) in rows {
            let name_shown = if name == last { "" } else { name };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name_shown:<9}  {value}");
            last = name;
        }
        text
    }
}
