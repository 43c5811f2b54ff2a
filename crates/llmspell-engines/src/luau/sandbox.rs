//! Makes a VM that touches nothing: what is dangerous is taken out, what can be abused is replaced, the rest is frozen.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Field};
use llmspell_core::{Bridge, Context, Error, ErrorKind, Result};
use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, LightUserData, Lua, LuaOptions, LuaString, StdLib, Table, Value as LuaValue};

use super::errors::{beginning, caught, from_lua_error, raise, raised, to_lua_error};
use super::host::{Host, Kit, pending};
use super::{functions, limits, promise, values};

/// The name that the prelude goes by in stack traces, from which it is removed.
pub(super) const PRELUDE: &str = "[llmspell]";

/// `io` does not exist in Luau; `os` and `debug` are not loaded.
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

/// What the base library and mlua bring and a spell must not have. `print` and `require` are replaced.
const REMOVED: [&str; 8] =
    ["collectgarbage", "gcinfo", "getfenv", "loadstring", "newproxy", "print", "require", "setfenv"];

/// Where `math.random` begins, so that a spell runs the same each time.
const SEED: u32 = 1;

/// The bytes beyond those of a VM that was just opened at which it is collected before its next run.
const GARBAGE: usize = 256 * 1024;

/// The prelude as bytecode, checked in because compiling it is a tenth of a start. A test says when it is stale.
const BYTECODE: &[u8] = include_bytes!("prelude.bytecode");

/// Makes the VM, with the bridges as read-only globals.
///
/// # Errors
/// When it cannot be made, or a bridge is named like a built-in.
pub(super) fn open(host: &Rc<Host>, bridges: &[Arc<Bridge>]) -> Result<Lua> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    let libraries = LIBRARIES.into_iter().fold(StdLib::NONE, |all, library| all | library);
    let lua = Lua::new_with(libraries, LuaOptions::new()).map_err(failed)?;
    prepare(&lua, host).map_err(failed)?;
    for bridge in bridges {
        install(&lua, host, bridge)?;
    }
    close(&lua, host).map_err(failed)?;
    // What opening left behind would count against the spell's memory.
    lua.gc_collect().map_err(failed)?;
    host.fresh_memory.set(lua.used_memory());
    limits::arm(&lua, host).map_err(failed)?;
    Ok(lua)
}

/// Makes a VM in which a run has ended as new for another one, but for what both share: built-ins, the prelude, bridges.
pub(super) fn renew(lua: &Lua, host: &Rc<Host>, bridges: &[Arc<Bridge>], cx: Context) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    // The limit of the run that ended would be in the way.
    lua.set_memory_limit(0).map_err(failed)?;
    let had_tasks = host.renew(cx);
    host.kit()?.forget.call::<()>(()).map_err(failed)?;
    // The script's own globals go with the sandbox, and `close` makes others.
    lua.sandbox(false).map_err(failed)?;
    for bridge in bridges.iter().filter(|bridge| bridge.constants.iter().any(|it| it.of_run)) {
        let table: Table = lua.globals().raw_get(bridge.name).map_err(failed)?;
        table.set_readonly(false);
        constants(lua, host, bridge.constants.iter().filter(|it| it.of_run), &table)?;
        table.set_readonly(true);
    }
    forget(lua, host, had_tasks).map_err(failed)?;
    limits::arm(lua, host).map_err(failed)
}

/// Gives a VM that is as new, and in which nothing has run since, to another run.
pub(super) fn hand_over(lua: &Lua, host: &Rc<Host>, bridges: &[Arc<Bridge>], cx: Context) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    lua.set_memory_limit(0).map_err(failed)?;
    host.renew(cx);
    let base = base(lua)?;
    for bridge in bridges.iter().filter(|bridge| bridge.constants.iter().any(|it| it.of_run)) {
        let table: Table = base.raw_get(bridge.name).map_err(failed)?;
        table.set_readonly(false);
        constants(lua, host, bridge.constants.iter().filter(|it| it.of_run), &table)?;
        table.set_readonly(true);
    }
    limits::arm(lua, host).map_err(failed)
}

/// The frozen table behind the script's own globals, with built-ins and bridges.
pub(super) fn base(lua: &Lua) -> Result<Table> {
    let behind = lua.globals().metatable().and_then(|behind| behind.raw_get("__index").ok());
    behind.ok_or_else(|| Error::internal("the globals lost their metatable"))
}

fn forget(lua: &Lua, host: &Host, had_tasks: bool) -> mlua::Result<()> {
    let kit = host.kit().map_err(to_lua_error)?;
    seed(&lua.globals())?;
    close(lua, host)?;
    // Host objects and what tasks hold of the context end with their run.
    let garbage = lua.used_memory().saturating_sub(host.fresh_memory.get());
    if had_tasks || garbage > GARBAGE || !kit.objects.is_empty() {
        lua.gc_collect()?;
    }
    Ok(())
}

fn seed(globals: &Table) -> mlua::Result<()> {
    globals.get::<Table>("math")?.get::<mlua::Function>("randomseed")?.call(SEED)
}

fn prepare(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in REMOVED {
        globals.raw_remove(name)?;
    }
    seed(&globals)?;
    let prelude = lua.load(BYTECODE).set_mode(ChunkMode::Binary).set_name(format!("={PRELUDE}"));
    let primitives = primitives(lua, host)?;
    let kit: Table = prelude.call(&primitives)?;
    promise::install(lua, host, &primitives, &kit)?;
    let kit = Kit {
        guard: kit.get("guard")?,
        waiting: kit.get("waiting")?,
        waiting_for_nothing: kit.get("waiting_for_nothing")?,
        stepping: kit.get("stepping")?,
        run_jobs: kit.get("run_jobs")?,
        cancel_abandoned: kit.get("cancel_abandoned")?,
        unhandled: kit.get("unhandled")?,
        forget: kit.get("forget")?,
        assign_global: kit.get("assign_global")?,
        list: kit.get("list")?,
        failure: kit.get("failure")?,
        promise: kit.get("promise")?,
        null: kit.get("null")?,
        causes: kit.get("causes")?,
        objects: kit.get("objects")?,
        reserved: kit.get("reserved")?,
    };
    lua.set_type_metatable::<LightUserData>(Some(kit.null.clone()));
    if let Some(strings) = lua.type_metatable::<LuaString>() {
        strings.raw_set("__metatable", "the metatable of strings is locked")?;
    }
    host.set_kit(kit);
    Ok(())
}

/// The functions that the prelude is built on.
fn primitives(lua: &Lua, host: &Rc<Host>) -> mlua::Result<Table> {
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
            // A count that is no number of bytes is the native's to refuse.
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

/// `string.find` without patterns, in time linear in the text.
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

fn install(lua: &Lua, host: &Rc<Host>, bridge: &Bridge) -> Result<()> {
    let failed = |error: mlua::Error| from_lua_error(host, &error);
    let globals = lua.globals();
    if globals.contains_key(bridge.name).map_err(failed)? {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the bridge `{}` has the name of a built-in of Luau", bridge.name),
        ));
    }
    let table =
        lua.create_table_with_capacity(0, bridge.methods.len() + bridge.constants.len()).map_err(failed)?;
    for method in &bridge.methods {
        let function = functions::function(host, lua, method, 0).map_err(failed)?;
        table.raw_set(method.name, function).map_err(failed)?;
    }
    constants(lua, host, &bridge.constants, &table)?;
    table.set_readonly(true);
    globals.raw_set(bridge.name, table).map_err(failed)?;
    host.kit()?.reserved.raw_set(bridge.name, true).map_err(failed)
}

/// Sets what a bridge has that is no function.
fn constants<'a>(
    lua: &Lua,
    host: &Rc<Host>,
    constants: impl IntoIterator<Item = &'a Field>,
    table: &Table,
) -> Result<()> {
    for constant in constants {
        let value = (constant.get)(&host.run().cx, Arguments::new(Vec::new()))?;
        // What a run may lack, as its version, is nil; what is nothing for all of them is `json.null`.
        let value = if constant.of_run {
            values::to_lua(host, lua, value)?
        } else {
            values::constant(host, lua, value)?
        };
        freeze(&value);
        table.raw_set(constant.name, value).map_err(|error| from_lua_error(host, &error))?;
    }
    Ok(())
}

/// Makes a constant read-only, with all that it holds. Values of the host have no cycles.
fn freeze(value: &LuaValue) {
    if let LuaValue::Table(table) = value {
        table.set_readonly(true);
        for (_, value) in table.pairs::<LuaValue, LuaValue>().flatten() {
            freeze(&value);
        }
    }
}

/// Freezes all there is, and gives the script a table of its own for its globals.
fn close(lua: &Lua, host: &Host) -> mlua::Result<()> {
    lua.sandbox(true)?;
    let globals = lua.globals();
    // Scripts in the manner of Lua 5.1 reach their own globals through `_G`.
    globals.raw_set("_G", &globals)?;
    if let Some(behind) = globals.metatable() {
        let kit = host.kit().map_err(to_lua_error)?;
        behind.set_readonly(false);
        behind.raw_set("__newindex", &kit.assign_global)?;
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
        // Without line numbers: a built-in that fails inside a prelude then puts no place before its message.
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
