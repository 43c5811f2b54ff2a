//! `import`: loads modules from the spell's own folder, and from nowhere else.
//!
//! A path is relative to the importing file and begins with `./` or `../`. Its ending may be left out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use llmspell_core::{Error, Result, Source};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module};

use super::compile;
use super::errors::throw;
use super::vm_state::JsVmState;
use crate::module_path::{MAX_PATH, normalise};

/// The endings that may be left out of a module's path, in the order in which they are tried.
const ENDINGS: [&str; 6] = [".js", ".mjs", ".ts", ".mts", "/index.js", "/index.ts"];

/// The modules that were found so far.
#[derive(Default)]
pub(super) struct JsModules {
    /// The text of each file by its path; `None` after the file was loaded.
    found: RefCell<HashMap<String, Option<String>>>,
}

impl JsModules {
    /// Returns the file of an imported path, and reads its text if it is new.
    fn find(&self, host: &JsVmState, importer: &str, path: &str) -> Result<String> {
        if path.len() > MAX_PATH {
            return Err(Error::load(format!("a module's path has at most {MAX_PATH} bytes")));
        }
        let folder = importer.rsplit_once('/').map_or("", |(folder, _)| folder);
        let stem = normalise("import", folder, path)?;
        let named = ENDINGS[..4].iter().any(|ending| stem.ends_with(ending));
        // TypeScript imports `a.ts` under the name of its output, `a.js`.
        let typed = stem.strip_suffix(".js").map(|stem| format!("{stem}.ts"));
        let looked: Vec<_> = match named {
            true => std::iter::once(stem).chain(typed).collect(),
            false => ENDINGS.iter().map(|ending| format!("{stem}{ending}")).collect(),
        };
        for file in &looked {
            if self.found.borrow().contains_key(file) {
                return Ok(file.clone());
            }
            if let Some(text) = host.cx.modules().read(file)? {
                self.found.borrow_mut().insert(file.clone(), Some(text));
                return Ok(file.clone());
            }
        }
        Err(Error::load(format!("there is no module `{path}`"))
            .hint(format!("looked for {} in the spell's folder", looked.join(", "))))
    }

    /// Takes the text of a file that was found.
    fn take(&self, file: &str) -> Result<Source> {
        let text = self.found.borrow_mut().get_mut(file).and_then(Option::take);
        let text = text.ok_or_else(|| Error::load(format!("there is no module `{file}`")))?;
        Ok(Source::new(file, text))
    }
}

/// Resolves and loads modules for the VM.
pub(super) struct Finder(pub(super) Rc<JsVmState>);

impl Resolver for Finder {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        self.0.modules.find(&self.0, base, name).map_err(|error| throw(&self.0, ctx, error))
    }
}

impl Loader for Finder {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let source = self.0.modules.take(name).map_err(|error| throw(&self.0, ctx, error))?;
        compile::declare(&self.0, ctx, &source).map_err(|error| throw(&self.0, ctx, error))
    }
}
