//! A session: one JavaScript VM with its globals, from opening to drop.
//!
//! A session runs one script at a time; a second `eval` or `call` meanwhile is a conflict. `get` and `call` look up a
//! name among the exports of the last script first, and then among the globals. A VM serves one run only.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use llmspell_core::{Bridge, Context, Error, ErrorKind, Method, Result, Session, Source, Value};
use rquickjs::object::Property;
use rquickjs::{Ctx, Object, Runtime, Value as JsValue};

use super::errors::from_js_error;
use super::schedule::{JsEntryPoint, JsRun};
use super::vm_state::{HeldValue, JsVmState};
use super::{bridges, sandbox, values};

pub(super) struct JsSession {
    // Fields drop in this order. Before them, `drop` lets go of the values that the host holds of the VM.
    context: rquickjs::Context,
    runtime: Runtime,
    host: Rc<JsVmState>,
    /// The module namespace of the last script.
    exports: RefCell<Option<HeldValue<Object<'static>>>>,
    /// Whether a script runs.
    busy: Cell<bool>,
}

/// A guard that marks the session as busy while it lives.
struct JsBusyGuard<'a>(&'a Cell<bool>);

impl Drop for JsBusyGuard<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Drop for JsSession {
    fn drop(&mut self) {
        self.exports.take();
        self.host.let_go();
    }
}

impl JsSession {
    pub(super) fn open(given: &[Arc<Bridge>], cx: Context) -> Result<Self> {
        let host = JsVmState::new(cx);
        let (runtime, context) = sandbox::open(&host, given)?;
        Ok(Self { context, runtime, host, exports: RefCell::default(), busy: Cell::new(false) })
    }

    fn begin(&self) -> Result<JsBusyGuard<'_>> {
        if self.busy.replace(true) {
            return Err(Error::new(ErrorKind::Conflict, "the session is running a script already"));
        }
        Ok(JsBusyGuard(&self.busy))
    }

    async fn run(&self, start: JsEntryPoint<'_>) -> Result<Value> {
        self.host.state()?;
        let _turn = self.begin()?;
        JsRun::new(&self.host, &self.runtime, &self.context, &self.exports, start).await
    }

    /// Returns the value of a name among the script's exports, or else among the globals.
    fn look_up<'js>(&self, ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<JsValue<'js>> {
        let exports = self.exports.borrow().clone();
        if let Some(exports) = exports {
            let exports = exports.restore(ctx)?;
            if exports.contains_key(name)? {
                return exports.get(name);
            }
        }
        ctx.globals().get(name)
    }
}

impl Session for JsSession {
    fn eval<'a>(&'a self, source: &'a Source) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(self.run(JsEntryPoint::Module(source)))
    }

    fn set(&self, name: &str, value: Value) -> Result<()> {
        if self.host.reserved.borrow().contains(name) {
            return Err(Error::new(ErrorKind::Conflict, format!("the global `{name}` belongs to the host")));
        }
        self.context.with(|ctx| {
            let value = values::to_js(&self.host, &ctx, value)?;
            let property = Property::from(value).configurable().enumerable().writable();
            ctx.globals().prop(name, property).map_err(|error| from_js_error(&self.host, &ctx, error))
        })
    }

    fn get(&self, name: &str) -> Result<Value> {
        self.context.with(|ctx| {
            let value = self.look_up(&ctx, name).map_err(|error| from_js_error(&self.host, &ctx, error))?;
            values::from_js(&self.host, &ctx, value, &mut 0, || format!("the global `{name}`"))
        })
    }

    fn call<'a>(&'a self, name: &'a str, arguments: Vec<Value>) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            self.host.state()?;
            let function = self.context.with(|ctx| {
                let found =
                    self.look_up(&ctx, name).map_err(|error| from_js_error(&self.host, &ctx, error))?;
                match found.as_function() {
                    Some(function) => Ok(HeldValue::save(&ctx, function.clone())),
                    None if found.is_undefined() => {
                        Err(Error::new(ErrorKind::NotFound, format!("the script has no function `{name}`")))
                    }
                    None => {
                        Err(Error::argument(format!("`{name}` is a {}, not a function", found.type_name())))
                    }
                }
            })?;
            self.run(JsEntryPoint::Function(function, arguments)).await
        })
    }

    fn register(&self, method: Method) -> Result<()> {
        self.context.with(|ctx| bridges::register(&self.host, &ctx, &method))
    }

    /// Refuses: a run can change built-ins, and QuickJS cannot undo that. Another run needs another VM.
    fn renew(&mut self, _: Context) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a VM of JavaScript serves one run"))
    }

    fn memory(&self) -> u64 {
        u64::try_from(self.runtime.memory_usage().malloc_size).unwrap_or_default()
    }
}
