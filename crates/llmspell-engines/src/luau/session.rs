//! A session: one Luau VM with its globals, from opening to drop.
//!
//! A session runs one script at a time; a second `eval` or `call` meanwhile is a conflict. After a run the VM can be
//! renewed for another run of the same spell, which is cheaper than opening one.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Bridge, Context, Error, ErrorKind, Method, Result, Session, Source, Value};
use mlua::{Function, Lua, Value as LuaValue};

use super::compile::{self, ChunkCache};
use super::errors::from_lua_error;
use super::schedule::LuauRun;
use super::vm_state::LuauVmState;
use super::{functions, sandbox, values};

pub(super) struct LuauSession {
    lua: Lua,
    host: Rc<LuauVmState>,
    bridges: Vec<Arc<Bridge>>,
    /// Whether a script runs.
    busy: Cell<bool>,
    /// Whether the VM was renewed, and since then no script ran and no global was set.
    renewed: Cell<bool>,
}

/// A guard that marks the session as busy while it lives.
struct LuauBusyGuard<'a>(&'a Cell<bool>);

impl Drop for LuauBusyGuard<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl LuauSession {
    pub(super) fn open(bridges: &[Arc<Bridge>], cx: Context, chunks: Arc<ChunkCache>) -> Result<Self> {
        let host = LuauVmState::new(cx, chunks);
        let lua = sandbox::open(&host, bridges)?;
        Ok(Self { lua, host, bridges: bridges.to_vec(), busy: Cell::new(false), renewed: Cell::new(false) })
    }

    fn failed(&self, error: &mlua::Error) -> Error {
        from_lua_error(&self.host, error)
    }

    fn begin(&self) -> Result<LuauBusyGuard<'_>> {
        self.renewed.set(false);
        if self.busy.replace(true) {
            return Err(Error::new(ErrorKind::Conflict, "the session is running a script already"));
        }
        Ok(LuauBusyGuard(&self.busy))
    }

    async fn run(&self, function: Function, arguments: Vec<Value>) -> Result<Value> {
        let _turn = self.begin()?;
        LuauRun::new(&self.host, &self.lua, function, arguments)?.await
    }

    fn is_reserved(&self, name: &str) -> Result<bool> {
        self.host.prelude_refs()?.reserved.contains_key(name).map_err(|error| self.failed(&error))
    }
}

impl Session for LuauSession {
    fn eval<'a>(&'a self, source: &'a Source) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            self.host.state()?;
            let function = compile::load(&self.host, &self.lua, source)?;
            self.run(function, Vec::new()).await
        })
    }

    fn set(&self, name: &str, value: Value) -> Result<()> {
        if self.is_reserved(name)? {
            return Err(Error::new(ErrorKind::Conflict, format!("the global `{name}` belongs to the host")));
        }
        self.renewed.set(false);
        let value = values::to_lua(&self.host, &self.lua, value)?;
        self.lua.globals().raw_set(name, value).map_err(|error| self.failed(&error))
    }

    fn get(&self, name: &str) -> Result<Value> {
        let value: LuaValue = self.lua.globals().raw_get(name).map_err(|error| self.failed(&error))?;
        values::from_lua(&self.host, &self.lua, value, &mut 0, || format!("the global `{name}`"))
    }

    fn call<'a>(&'a self, name: &'a str, arguments: Vec<Value>) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            self.host.state()?;
            match self.lua.globals().raw_get(name).map_err(|error| self.failed(&error))? {
                LuaValue::Function(function) => self.run(function, arguments).await,
                LuaValue::Nil => {
                    Err(Error::new(ErrorKind::NotFound, format!("the script has no function `{name}`")))
                }
                other => Err(Error::argument(format!("`{name}` is a {}, not a function", other.type_name()))),
            }
        })
    }

    fn register(&self, method: Method) -> Result<()> {
        let failed = |error: mlua::Error| self.failed(&error);
        let globals = self.lua.globals();
        if globals.contains_key(&*method.name).map_err(failed)? {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("there is a global named `{}` already", method.name),
            ));
        }
        let function = functions::function(&self.host, &self.lua, &method, 0).map_err(failed)?;
        let base = sandbox::base(&self.lua)?;
        base.set_readonly(false);
        let added = base.raw_set(&*method.name, function);
        base.set_readonly(true);
        added.map_err(failed)?;
        self.host.prelude_refs()?.reserved.raw_set(&*method.name, true).map_err(failed)
    }

    fn renew(&mut self, cx: Context) -> Result<()> {
        let renew = if self.renewed.replace(true) { sandbox::hand_over } else { sandbox::renew };
        renew(&self.lua, &self.host, &self.bridges, cx)
    }

    fn memory(&self) -> u64 {
        self.lua.used_memory() as u64
    }
}
