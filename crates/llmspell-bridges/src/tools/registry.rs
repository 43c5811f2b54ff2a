//! The registry of a run's tools.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use llmspell_core::{Context, Error, ErrorKind, Result};
use llmspell_llm::Tool;

use super::{builtin, method};
use crate::names::near;

/// The tools of a run by name. The built-in ones are added at the first access.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Option<IndexMap<String, Tool>>>);

impl Registry {
    /// Adds a tool.
    ///
    /// # Errors
    /// Returns a `conflict` error when the name is taken.
    pub(crate) fn add(&self, tool: Tool) -> Result<()> {
        let mut tools = self.lock()?;
        let tools = tools.get_or_insert_default();
        if tools.contains_key(tool.name()) {
            let message = format!("there is a tool named `{}` already", tool.name());
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("`tools.remove(\"{}\")` makes its name free", tool.name())));
        }
        tools.insert(tool.name().to_owned(), tool);
        Ok(())
    }

    /// Returns the tool with this name, or a tool for the method that a name such as `fs.read` denotes.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none.
    pub(crate) fn find(&self, cx: &Context, name: &str) -> Result<Tool> {
        if let Some(tool) = self.lock()?.as_ref().and_then(|tools| tools.get(name)) {
            return Ok(tool.clone());
        }
        match name.split_once('.') {
            Some((bridge, method)) => method::tool(cx, bridge, method),
            None => Err(self.missing(name)?),
        }
    }

    /// Removes a tool.
    ///
    /// # Errors
    /// Returns a `not_found` error when there is none with this name.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let removed = self.lock()?.as_mut().and_then(|tools| tools.shift_remove(name));
        removed.map_or_else(|| Err(self.missing(name)?), |_| Ok(()))
    }

    /// Returns all tools, in order of registration.
    pub(crate) fn list(&self) -> Result<Vec<Tool>> {
        Ok(self.lock()?.iter().flat_map(IndexMap::values).cloned().collect())
    }

    fn missing(&self, name: &str) -> Result<Error> {
        let tools = self.lock()?;
        let known = tools.iter().flat_map(IndexMap::keys).map(String::as_str);
        Ok(Error::new(ErrorKind::NotFound, format!("there is no tool named `{name}`"))
            .hint(near(name, known)))
    }

    /// Locks the registry, and adds the built-in tools first if they are missing.
    fn lock(&self) -> Result<MutexGuard<'_, Option<IndexMap<String, Tool>>>> {
        let mut tools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tools.is_none() {
            let built_in = builtin::tools()?;
            *tools = Some(built_in.into_iter().map(|tool| (tool.name().to_owned(), tool)).collect());
        }
        Ok(tools)
    }
}
