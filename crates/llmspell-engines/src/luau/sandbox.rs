//! Opens a Luau VM and closes its sandbox.
//!
//! Luau itself has no `io`; `os` and `debug` are not loaded. [`REMOVED`] names the built-ins that are taken out.
//! `prelude.luau` replaces those that could break a promise of the sandbox: `pcall` must pass limits on, coroutines
//! must let host calls wait, and some natives would run long without an interrupt. `promise.luau` adds promises.
//! Everything is then frozen, bridges included, and the script gets a table of its own for its globals.
//!
//! A VM can serve several runs of the same spell. [`renew`] removes everything that a run left behind: its globals,
//! modules, promises and callbacks. Built-ins, preludes and bridges are frozen and stay.
//!
//! The preludes are loaded as checked-in bytecode. After a change of `prelude.luau` or `promise.luau` the test below
//! writes it again with `UPDATE=1`.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Field};
use llmspell_core::{Bridge, Context, Error, ErrorKind, Result};
use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, LightUserData, Lua, LuaOptions, LuaString, StdLib, Table, Value as LuaValue};

use super::errors::{beginning, caught, from_lua_error, raise, raised, to_lua_error};
use super::vm_state::{LuauPreludeRefs, LuauVmState, pending};
use super::{functions, limits, promise, values};

/// The chunk name of the preludes. Their frames are removed from tracebacks by it.
pub(super) const PRELUDE: &str = "[llmspell]";

/// The libraries to load. `os` and `debug` are missing on purpose; `io` does not exist in Luau.
const LIBRARIES: [StdLib; 8] = [
    StdLib::COROUTINE,
    StdLib::TABLE,
    StdLib::STRING,
    StdLib::UTF8,
    StdLib::BIT,
    StdLib::BUFFER,
    StdLib::VECTOR,
    StdLib::MATH,
];

/// Globals of the base library and of mlua that a spell must not have. The prelude replaces `print` and `require`.
const REMOVED: [&str; 8] =
    ["collectgarbage", "gcinfo", "getfenv", "loadstring", "newproxy", "print", "require", "setfenv"];

/// The seed of `math.random`. It is fixed, so that a spell draws the same numbers in each run.
const SEED: u32 = 1;

/// How much more memory than when it was opened a VM may use before it is collected for its next run, in bytes.
const GARBAGE: usize = 256 * 1024;

/// The prelude as bytecode. It is checked in because compiling it would take a tenth of a start. A test fails when it
/// is stale.
const BYTECODE: &[u8] = include_bytes!("prelude.bytecode");

/// Opens a VM with the bridges as read-only globals.
///
/// # Errors
/// When the VM cannot be opened, or a bridge has the name of a built-in.
pub(super) fn open(host: &Rc<LuauVmState>, bridges: &[Arc<Bridge>]) -> Result<Lua> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    let libraries = LIBRARIES.into_iter().fold(StdLib::NONE, |all, library| all | library);
    let lua = Lua::new_with(libraries, LuaOptions::new()).map_err(failed)?;
    prepare(&lua, host).map_err(failed)?;
    for bridge in bridges {
        install(&lua, host, bridge)?;
    }
    close(&lua, host).map_err(failed)?;
    // Garbage from opening the VM would count against the spell's memory.
    lua.gc_collect().map_err(failed)?;
    host.fresh_memory.set(lua.used_memory());
    limits::arm(&lua, host).map_err(failed)?;
    Ok(lua)
}

/// Prepares a VM in which a run has ended for another run. Only built-ins, preludes and bridges stay; constants of a
/// bridge that belong to the run are read again.
pub(super) fn renew(lua: &Lua, host: &Rc<LuauVmState>, bridges: &[Arc<Bridge>], cx: Context) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    // The memory limit of the ended run must not stop the work below; `limits::arm` sets the new one.
    lua.set_memory_limit(0).map_err(failed)?;
    let had_tasks = host.renew(cx);
    host.prelude_refs()?.forget.call::<()>(()).map_err(failed)?;
    // Leaving the sandbox drops the script's globals; `close` makes a new table for them.
    lua.sandbox(false).map_err(failed)?;
    for bridge in bridges.iter().filter(|bridge| bridge.constants.iter().any(|it| it.of_run)) {
        let table: Table = lua.globals().raw_get(&*bridge.name).map_err(failed)?;
        table.set_readonly(false);
        constants(lua, host, bridge.constants.iter().filter(|it| it.of_run), &table)?;
        table.set_readonly(true);
    }
    forget(lua, host, had_tasks).map_err(failed)?;
    limits::arm(lua, host).map_err(failed)
}

/// Gives a [renewed](renew) VM in which nothing has run since to another run. Only the run's constants and limits are
/// set again.
pub(super) fn hand_over(
    lua: &Lua,
    host: &Rc<LuauVmState>,
    bridges: &[Arc<Bridge>],
    cx: Context,
) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    lua.set_memory_limit(0).map_err(failed)?;
    host.renew(cx);
    let base = base(lua)?;
    for bridge in bridges.iter().filter(|bridge| bridge.constants.iter().any(|it| it.of_run)) {
        let table: Table = base.raw_get(&*bridge.name).map_err(failed)?;
        table.set_readonly(false);
        constants(lua, host, bridge.constants.iter().filter(|it| it.of_run), &table)?;
        table.set_readonly(true);
    }
    limits::arm(lua, host).map_err(failed)
}

/// Returns the frozen table behind the script's own globals. It holds the built-ins and the bridges.
pub(super) fn base(lua: &Lua) -> Result<Table> {
    let behind = lua.globals().metatable().and_then(|behind| behind.raw_get("__index").ok());
    behind.ok_or_else(|| Error::internal("the globals lost their metatable"))
}

/// Closes the sandbox again after a run and collects garbage where that is needed.
fn forget(lua: &Lua, host: &LuauVmState, had_tasks: bool) -> mlua::Result<()> {
    let prelude_refs = host.prelude_refs().map_err(to_lua_error)?;
    seed(&lua.globals())?;
    close(lua, host)?;
    // Host objects, and the contexts that handles of scopes hold, must not outlive their run.
    let garbage = lua.used_memory().saturating_sub(host.fresh_memory.get());
    if had_tasks || garbage > GARBAGE || !prelude_refs.objects.is_empty() {
        lua.gc_collect()?;
    }
    Ok(())
}

fn seed(globals: &Table) -> mlua::Result<()> {
    globals.get::<Table>("math")?.get::<mlua::Function>("randomseed")?.call(SEED)
}

fn prepare(lua: &Lua, host: &Rc<LuauVmState>) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in REMOVED {
        globals.raw_remove(name)?;
    }
    seed(&globals)?;
    let prelude = lua.load(BYTECODE).set_mode(ChunkMode::Binary).set_name(format!("={PRELUDE}"));
    let primitives = primitives(lua, host)?;
    let prelude_refs: Table = prelude.call(&primitives)?;
    promise::install(lua, host, &primitives, &prelude_refs)?;
    let prelude_refs = LuauPreludeRefs {
        guard: prelude_refs.get("guard")?,
        waiting: prelude_refs.get("waiting")?,
        waiting_for_nothing: prelude_refs.get("waiting_for_nothing")?,
        stepping: prelude_refs.get("stepping")?,
        run_jobs: prelude_refs.get("run_jobs")?,
        cancel_abandoned: prelude_refs.get("cancel_abandoned")?,
        unhandled: prelude_refs.get("unhandled")?,
        forget: prelude_refs.get("forget")?,
        assign_global: prelude_refs.get("assign_global")?,
        list: prelude_refs.get("list")?,
        failure: prelude_refs.get("failure")?,
        promise: prelude_refs.get("promise")?,
        null: prelude_refs.get("null")?,
        causes: prelude_refs.get("causes")?,
        objects: prelude_refs.get("objects")?,
        reserved: prelude_refs.get("reserved")?,
    };
    lua.set_type_metatable::<LightUserData>(Some(prelude_refs.null.clone()));
    if let Some(strings) = lua.type_metatable::<LuaString>() {
        strings.raw_set("__metatable", "the metatable of strings is locked")?;
    }
    host.set_kit(prelude_refs);
    Ok(())
}

/// Creates the functions, written in Rust, that the prelude is built on.
fn primitives(lua: &Lua, host: &Rc<LuauVmState>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pending", pending())?;
    let shared = Rc::clone(host);
    table.raw_set("caught", lua.create_function(move |lua, value: LuaValue| caught(&shared, lua, value))?)?;
    let shared = Rc::clone(host);
    table.raw_set("check", lua.create_function(move |_, ()| shared.state().map_err(to_lua_error))?)?;
    let shared = Rc::clone(host);
    let go_on = move |_: &Lua, ()| {
        shared.run().cx.meter().go_on();
        Ok(())
    };
    table.raw_set("go_on", lua.create_function(go_on)?)?;
    let shared = Rc::clone(host);
    table.raw_set(
        "report",
        lua.create_function(
            move |lua, (value, shown, known): (LuaValue, Option<LuaString>, Option<AnyUserData>)| {
                let known = known.and_then(|known| known.borrow::<Error>().ok().map(|error| error.clone()));
                let shown = shown.map(|text| beginning(&text));
                shared.raise(known.unwrap_or_else(|| raised(&shared, lua, value, shown.as_deref())));
                Ok(())
            },
        )?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "poll",
        lua.create_function(move |lua, number: u64| functions::poll(&shared, lua, number))?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "resolve",
        lua.create_function(move |lua, (path, loaded): (LuaValue, Table)| {
            super::require::resolve(&shared, lua, &path, &loaded)
        })?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "write",
        lua.create_function(move |lua, text: LuaString| {
            let mut line = text.to_string_lossy();
            line.push('\n');
            shared.scope().cx.console().write(line).map_err(|error| raise(&shared, lua, error))
        })?,
    )?;
    let shared = Rc::clone(host);
    table.raw_set(
        "make_room",
        lua.create_function(move |lua, bytes: f64| {
            // The built-in itself rejects NaN and infinity.
            let bytes = if bytes.is_finite() { bytes as usize } else { 0 };
            shared
                .run()
                .memory
                .allow(lua, shared.run().cx.meter(), bytes)
                .map_err(|error| raise(&shared, lua, error))
        })?,
    )?;
    table.raw_set("find_plain", lua.create_function(find_plain)?)?;
    Ok(table)
}

/// Finds a plain text like `string.find(…, true)`, in time linear in the length of the text.
fn find_plain(
    _: &Lua,
    (text, wanted, init): (LuaString, LuaString, Option<f64>),
) -> mlua::Result<(Option<usize>, Option<usize>)> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    let init = init.unwrap_or(1.0);
    let start = if init < 0.0 { (text.len() as f64 + init).max(0.0) } else { (init - 1.0).max(0.0) };
    let start = start as usize;
    let found = text.get(start..).and_then(|rest| memchr::memmem::find(rest, &wanted));
    Ok(found.map_or((None, None), |at| (Some(start + at + 1), Some(start + at + wanted.len()))))
}

/// Adds a bridge as a read-only global.
fn install(lua: &Lua, host: &Rc<LuauVmState>, bridge: &Bridge) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    let globals = lua.globals();
    if globals.contains_key(&*bridge.name).map_err(failed)? {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the bridge `{}` has the name of a built-in of Luau", bridge.name),
        ));
    }
    let table =
        lua.create_table_with_capacity(0, bridge.methods.len() + bridge.constants.len()).map_err(failed)?;
    for method in &bridge.methods {
        let function = functions::function(host, lua, method, 0).map_err(failed)?;
        table.raw_set(&*method.name, function).map_err(failed)?;
    }
    constants(lua, host, &bridge.constants, &table)?;
    table.set_readonly(true);
    globals.raw_set(&*bridge.name, table).map_err(failed)?;
    host.prelude_refs()?.reserved.raw_set(&*bridge.name, true).map_err(failed)
}

/// Sets constants of a bridge.
fn constants<'a>(
    lua: &Lua,
    host: &Rc<LuauVmState>,
    constants: impl IntoIterator<Item = &'a Field>,
    table: &Table,
) -> Result<()> {
    for constant in constants {
        let value = (constant.get)(&host.run().cx, Arguments::new(Vec::new()))?;
        // A constant that only some runs have, such as a version, is nil in the others. One that is null in every run
        // becomes `json.null`, because a field that is nil would not exist.
        let value = if constant.of_run {
            values::to_lua(host, lua, value)?
        } else {
            values::constant(host, lua, value)?
        };
        freeze(&value);
        table.raw_set(&*constant.name, value).map_err(|error| from_lua_error(host, &error))?;
    }
    Ok(())
}

/// Makes a constant read-only, nested tables included. Values of the host have no cycles.
fn freeze(value: &LuaValue) {
    if let LuaValue::Table(table) = value {
        table.set_readonly(true);
        for (_, value) in table.pairs::<LuaValue, LuaValue>().flatten() {
            freeze(&value);
        }
    }
}

/// Freezes all globals, and gives the script a table of its own for the globals that it assigns.
fn close(lua: &Lua, host: &LuauVmState) -> mlua::Result<()> {
    lua.sandbox(true)?;
    let globals = lua.globals();
    // Scripts written for Lua 5.1 reach their own globals through `_G`.
    globals.raw_set("_G", &globals)?;
    if let Some(behind) = globals.metatable() {
        let prelude_refs = host.prelude_refs().map_err(to_lua_error)?;
        behind.set_readonly(false);
        behind.raw_set("__newindex", &prelude_refs.assign_global)?;
        behind.raw_set("__metatable", "the metatable of the globals is locked")?;
        behind.set_readonly(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{compile, promise};
    use super::BYTECODE;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test writes the files that it checks, when it is asked to"
    )]
    fn the_checked_in_bytecode_is_the_preludes_compiled() {
        // Without line numbers, a built-in that fails inside a prelude puts no position before its message.
        let compiler = compile::compiler().set_optimization_level(2).set_debug_level(0);
        for (name, source, checked_in) in [
            ("prelude", include_str!("prelude.luau"), BYTECODE),
            ("promise", include_str!("promise.luau"), promise::BYTECODE),
        ] {
            let bytecode = compiler.compile(source).unwrap();
            if std::env::var_os("UPDATE").is_some() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/luau");
                std::fs::write(format!("{folder}/{name}.bytecode"), bytecode).unwrap();
            } else {
                let how = "UPDATE=1 cargo test -p llmspell-engines --lib bytecode";
                assert!(bytecode == checked_in, "{name}.bytecode is stale: {how}");
            }
        }
    }
}
