//! `require`: loads modules from the spell's own folder, and from nowhere else.
//!
//! A path is relative to the requiring file and begins with `./` or `../`. Without an ending, `.luau`, `.lua` and
//! `/init.luau` are tried in this order. Each file runs once in a session; the prelude stores its value.

use std::rc::Rc;

use llmspell_core::{Error, Result, Source, StackFrame};
use mlua::{Function, Lua, Table, Value as LuaValue};

use super::compile;
use super::errors::{frames, raise};
use super::vm_state::LuauVmState;
use crate::module_path::{MAX_PATH, normalise};

/// Finds the file of a required path. Returns its name, and its main function unless `loaded` has the file already.
///
/// # Errors
/// When the path leads out of the spell's folder, no file is found, the file does not compile, or the modules require
/// each other in a circle.
pub(super) fn resolve(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    path: &LuaValue,
    loaded: &Table,
) -> mlua::Result<(String, Option<Function>)> {
    let is_loaded = |file: &str| loaded.contains_key(file).unwrap_or(false);
    let path = match path {
        LuaValue::String(path) if path.as_bytes().len() > MAX_PATH => {
            Err(Error::load(format!("a module's path has at most {MAX_PATH} bytes")))
        }
        LuaValue::String(path) => Ok(path.to_string_lossy()),
        other => {
            Err(Error::argument(format!("argument 1 (`path`): expected string, found {}", other.type_name())))
        }
    };
    path.and_then(|path| find(host, lua, &path, is_loaded)).map_err(|error| raise(host, lua, error))
}

fn find(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    path: &str,
    is_loaded: impl Fn(&str) -> bool,
) -> Result<(String, Option<Function>)> {
    let stack = frames(lua);
    let stem = normalise("require", folder_of(&stack), path)?;
    let named = (stem.ends_with(".luau") || stem.ends_with(".lua")).then(|| stem.clone());
    let looked = [format!("{stem}.luau"), format!("{stem}.lua"), format!("{stem}/init.luau")];
    for file in named.iter().chain(&looked) {
        if is_loaded(file) {
            return Ok((file.clone(), None));
        }
        let Some(text) = host.run().cx.modules().read(file)? else { continue };
        refuse_cycle(host, lua, file)?;
        let chunk = compile::load(host, lua, &Source::new(file.as_str(), text))?;
        host.run().modules.borrow_mut().insert(file.clone(), chunk.to_pointer().addr());
        return Ok((file.clone(), Some(chunk)));
    }
    Err(Error::load(format!("there is no module `{path}`"))
        .hint(format!("looked for {} in the spell's folder", looked.join(", "))))
}

/// Returns the folder of the requiring file, which the path is relative to.
fn folder_of(stack: &[StackFrame]) -> &str {
    let file = stack.first().map(|frame| frame.place.file.as_str());
    file.and_then(|file| file.rsplit_once('/')).map_or("", |(folder, _)| folder)
}

/// Rejects a file that is being loaded: its main function is on the stack.
fn refuse_cycle(host: &LuauVmState, lua: &Lua, file: &str) -> Result<()> {
    let run = host.run();
    let modules = run.modules.borrow();
    let running =
        (0..).map_while(|level| lua.inspect_stack(level, |debug| debug.function().to_pointer().addr()));
    let mut chain = vec![file];
    for chunk in running {
        let Some((loading, _)) = modules.iter().find(|(_, known)| **known == chunk) else { continue };
        chain.push(loading);
        if loading == file {
            chain.reverse();
            return Err(Error::load(format!(
                "modules require each other in a circle: {}",
                chain.join(" -> ")
            )));
        }
    }
    Ok(())
}
