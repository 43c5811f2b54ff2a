//! The Rust side of promises: the primitives that `promise.luau` builds on, and the functions that the session calls.

use std::rc::Rc;
use std::time::Duration;

use llmspell_core::{Error, Result, Value};
use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, Lua, LuaString, MultiValue, Table, Thread, Value as LuaValue};

use super::errors::{beginning, from_lua_error, raise, raised};
use super::failures;
use super::functions::start;
use super::sandbox::PRELUDE;
use super::scope::Scope;
use super::vm_state::LuauVmState;

/// `promise.luau` as bytecode. See the bytecode of the prelude in `sandbox.rs`.
pub(super) const BYTECODE: &[u8] = include_bytes!("promise.bytecode");

/// A scope as userdata, for `promise.luau`.
struct Handle(Rc<Scope>);

/// Adds `promise` to the globals, and the functions that the session calls to `prelude_refs`.
pub(super) fn install(
    lua: &Lua,
    host: &Rc<LuauVmState>,
    primitives: &Table,
    prelude_refs: &Table,
) -> mlua::Result<()> {
    add_primitives(lua, host, primitives)?;
    let chunk = lua.load(BYTECODE).set_mode(ChunkMode::Binary).set_name(format!("={PRELUDE}"));
    let promise: Table = chunk.call((primitives, prelude_refs))?;
    lua.globals().raw_set("promise", promise)
}

fn add_primitives(lua: &Lua, host: &Rc<LuauVmState>, table: &Table) -> mlua::Result<()> {
    let shared = Rc::clone(host);
    let child_scope = move |lua: &Lua, ()| {
        let scope = shared.child_scope();
        let id = scope.id as f64;
        Ok((lua.create_any_userdata(Handle(scope))?, id))
    };
    table.raw_set("child_scope", lua.create_function(child_scope)?)?;
    let shared = Rc::clone(host);
    let current_scope = move |lua: &Lua, ()| lua.create_any_userdata(Handle(shared.scope()));
    table.raw_set("current_scope", lua.create_function(current_scope)?)?;
    let shared = Rc::clone(host);
    let resume_as = move |_: &Lua, (scope, thread, arguments): (AnyUserData, Thread, MultiValue)| {
        let outer = shared.enter(Rc::clone(&scope.borrow::<Handle>()?.0));
        let left = thread.resume::<MultiValue>(arguments);
        shared.enter(outer);
        left
    };
    table.raw_set("resume_as", lua.create_function(resume_as)?)?;
    let shared = Rc::clone(host);
    let adopt = move |_: &Lua, (scope, thread): (AnyUserData, Thread)| {
        shared.run().adopted.borrow_mut().push((Rc::clone(&scope.borrow::<Handle>()?.0), thread));
        Ok(())
    };
    table.raw_set("adopt", lua.create_function(adopt)?)?;
    let unpark = |_: &Lua, scope: AnyUserData| {
        scope.borrow::<Handle>()?.0.wake();
        Ok(())
    };
    table.raw_set("unpark", lua.create_function(unpark)?)?;
    let abandon = |_: &Lua, scope: AnyUserData| {
        let mut ended = Vec::new();
        scope.borrow::<Handle>()?.0.end(&mut |id| ended.push(id as f64));
        Ok(mlua::Variadic::from_iter(ended))
    };
    table.raw_set("abandon", lua.create_function(abandon)?)?;
    let shared = Rc::clone(host);
    let wake_jobs = move |_: &Lua, ()| {
        shared.run().has_jobs.set(true);
        Ok(())
    };
    table.raw_set("wake_jobs", lua.create_function(wake_jobs)?)?;
    let shared = Rc::clone(host);
    let trace = move |lua: &Lua, (value, shown): (LuaValue, Option<LuaString>)| {
        let shown = shown.map(|text| beginning(&text));
        lua.create_any_userdata(raised(&shared, lua, value, shown.as_deref()))
    };
    table.raw_set("trace", lua.create_function(trace)?)?;
    let shared = Rc::clone(host);
    let sleep = move |lua: &Lua, seconds: f64| {
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| {
            let error = Error::argument(format!("{seconds} is no number of seconds that can be waited for"));
            raise(&shared, lua, error)
        })?;
        start(&shared, lua, None, |cx| {
            Box::pin(async move { cx.clock().sleep(time).await.map(|()| Value::Nil) })
        })
    };
    table.raw_set("sleep", lua.create_function(sleep)?)?;
    let shared = Rc::clone(host);
    let await_has_room = move |lua: &Lua, ()| Ok(failures::await_has_room(&shared, lua));
    table.raw_set("await_has_room", lua.create_function(await_has_room)?)
}

/// Cancels the pending promises whose every consumer has settled. Called when the script has returned.
pub(super) fn cancel_abandoned(host: &LuauVmState) -> Result<()> {
    host.prelude_refs()?.cancel_abandoned.call::<()>(()).map_err(|error| from_lua_error(host, &error))
}

/// Returns the first rejection that was not handled.
pub(super) fn unhandled(host: &LuauVmState) -> Result<Option<Error>> {
    let trace: Option<AnyUserData> =
        host.prelude_refs()?.unhandled.call(()).map_err(|error| from_lua_error(host, &error))?;
    let error = trace.and_then(|trace| trace.borrow::<Error>().ok().map(|error| error.clone()));
    Ok(error.map(|error| {
        error.hint("the promise was rejected and nobody asked: end it with `:catch(…)` or `:await()`")
    }))
}
