//! The state that the VM's host functions share.
//!
//! The VM owns the host functions, and they own the [`JsVmState`], so the `JsVmState` holds no handle to the VM. It
//! does hold values of the VM ([`HeldValue`]). QuickJS requires that these are dropped before the VM;
//! [`JsVmState::let_go`] drops them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Bridge, Class, Context, Error, Object as HostObject, Result};
use rquickjs::{Ctx, Function, Object, Persistent, Value};

use super::calls::Calls;
use super::errors;
use super::limits::JsMemoryLimit;
use super::modules::JsModules;
use crate::callbacks::Callbacks;

/// A value of the VM that the host holds.
pub(super) type HeldValue<T> = Persistent<T>;

/// A host class that the script has used.
#[derive(Clone)]
pub(super) struct JsUsedClass {
    /// Keeps the class alive, and so its address.
    pub(super) _class: Arc<Class>,
    pub(super) prototype: HeldValue<Object<'static>>,
}

/// The functions and objects that the prelude hands to Rust.
pub(super) struct JsPreludeRefs {
    /// Creates the `SpellError` of a host error.
    pub(super) failure: HeldValue<Function<'static>>,
    /// Creates the VM's object for a host object, or finds the one that the script already holds.
    pub(super) thing: HeldValue<Function<'static>>,
    /// Creates the `Symbol.asyncIterator` method of a class.
    pub(super) iterate: HeldValue<Function<'static>>,
    /// Returns the seal of a value, if it has one.
    pub(super) seal_of: HeldValue<Function<'static>>,
    /// Names the built-in class of an object that cannot leave the VM, such as `Map`.
    pub(super) kind: HeldValue<Function<'static>>,
    /// Converts a value to text for the message of an error.
    pub(super) describe: HeldValue<Function<'static>>,
    /// Replaces lone surrogates in a string.
    pub(super) well_formed: HeldValue<Function<'static>>,
    /// Converts bytes to a string of one character per byte.
    pub(super) letters: HeldValue<Function<'static>>,
    /// Freezes an object, nested objects included.
    pub(super) harden: HeldValue<Function<'static>>,
    /// Loops until the interrupt ends it. No script can catch that.
    pub(super) halt: HeldValue<Function<'static>>,
    /// Returns the stack of the script as text.
    pub(super) here: HeldValue<Function<'static>>,
    /// Creates the global of a bridge. Its members are made when a script first reads it.
    pub(super) announce: HeldValue<Function<'static>>,
    pub(super) object_prototype: HeldValue<Object<'static>>,
    /// Keeps the hidden class of an out-of-memory error alive, so that such an error can be made without memory.
    pub(super) _spare: HeldValue<Object<'static>>,
}

/// A host value that the VM holds inside a native function. Only the host can open that function, the **seal**.
#[derive(Clone)]
pub(super) enum Sealed {
    Error(Error),
    Object(HostObject),
}

/// A promise that was rejected and has no handler so far.
pub(super) struct Rejection {
    pub(super) promise: HeldValue<Value<'static>>,
    pub(super) reason: HeldValue<Value<'static>>,
}

/// The state of a session.
pub(super) struct JsVmState {
    pub(super) cx: Context,
    pub(super) callbacks: Callbacks<HeldValue<Function<'static>>, HeldValue<Object<'static>>>,
    pub(super) calls: Calls,
    pub(super) memory: JsMemoryLimit,
    pub(super) modules: JsModules,
    prelude_refs: RefCell<Option<Rc<JsPreludeRefs>>>,
    /// The host classes that the script has used, by the address of the class.
    pub(super) classes: RefCell<HashMap<usize, JsUsedClass>>,
    /// The bridges by name.
    pub(super) bridges: RefCell<HashMap<Cow<'static, str>, Arc<Bridge>>>,
    /// The names of globals that belong to the host.
    pub(super) reserved: RefCell<HashSet<String>>,
    /// The unhandled rejections, oldest first.
    pub(super) rejections: RefCell<Vec<Rejection>>,
    /// The content of the seal that was just called.
    opened: RefCell<Option<Sealed>>,
    /// The context of the running code.
    scope: RefCell<Context>,
    /// The limit or cancellation that ended the run, with its position in the script.
    ending: RefCell<Option<Error>>,
    /// Whether the session is being dropped.
    over: Cell<bool>,
}

impl JsVmState {
    pub(super) fn new(cx: Context) -> Rc<Self> {
        Rc::new(Self {
            callbacks: Callbacks::default(),
            calls: Calls::default(),
            memory: JsMemoryLimit::new(cx.meter().limits().memory),
            modules: JsModules::default(),
            prelude_refs: RefCell::default(),
            classes: RefCell::default(),
            bridges: RefCell::default(),
            reserved: RefCell::default(),
            rejections: RefCell::default(),
            opened: RefCell::default(),
            scope: RefCell::new(cx.clone()),
            ending: RefCell::default(),
            over: Cell::new(false),
            cx,
        })
    }

    pub(super) fn set_kit(&self, prelude_refs: JsPreludeRefs) {
        *self.prelude_refs.borrow_mut() = Some(Rc::new(prelude_refs));
    }

    /// Returns the handles of the prelude. They are set once the session is open.
    pub(super) fn prelude_refs(&self) -> Result<Rc<JsPreludeRefs>> {
        self.prelude_refs.borrow().clone().ok_or_else(|| Error::internal("the prelude has not run"))
    }

    /// Returns the context of the running code.
    pub(super) fn scope(&self) -> Context {
        self.scope.borrow().clone()
    }

    /// Sets the context of the code that runs next. Code that waited for an answer continues in the context of the
    /// call.
    pub(super) fn enter(&self, cx: Context) {
        *self.scope.borrow_mut() = cx;
    }

    /// Creates a seal: a native function that holds a host value, which only [`open`](Self::open) and
    /// [`unseal`](Self::unseal) can read.
    pub(super) fn seal<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        thing: Sealed,
    ) -> rquickjs::Result<Function<'js>> {
        let host = Rc::clone(self);
        Function::new(ctx.clone(), move || {
            *host.opened.borrow_mut() = Some(thing.clone());
        })
    }

    /// Returns the host value behind an object of the VM, if there is one.
    pub(super) fn open<'js>(&self, ctx: &Ctx<'js>, value: &Value<'js>) -> Option<Sealed> {
        let prelude_refs = self.prelude_refs().ok()?;
        let seal: Value = prelude_refs.seal_of.clone().restore(ctx).ok()?.call((value.clone(),)).ok()?;
        self.unseal(&seal)
    }

    /// Returns the host value in a seal.
    pub(super) fn unseal(&self, seal: &Value<'_>) -> Option<Sealed> {
        seal.as_function()?.call::<_, ()>(()).ok()?;
        self.opened.borrow_mut().take()
    }

    /// Checks that the script may go on.
    ///
    /// # Errors
    /// The limit or cancellation that ended the run.
    pub(super) fn state(&self) -> Result<()> {
        self.cx.meter().state().map_err(|error| self.ending.borrow().clone().unwrap_or(error))
    }

    /// Ends the run with this error and returns the error that ended it. The first error stays, with the position of
    /// the script at that moment.
    pub(super) fn end(&self, ctx: &Ctx<'_>, error: Error) -> Error {
        let known = self.ending.borrow().clone();
        known.unwrap_or_else(|| self.end_at(errors::locate(self, ctx, error)))
    }

    /// Ends the run like [`end`](Self::end), with an error that already has its position.
    pub(super) fn end_at(&self, error: Error) -> Error {
        self.ending.borrow_mut().get_or_insert(error).clone()
    }

    /// Returns whether the session is being dropped.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Drops all values of the VM, which must not outlive it.
    pub(super) fn let_go(&self) {
        self.over.set(true);
        self.calls.clear();
        self.callbacks.forget();
        self.rejections.take();
        self.classes.take();
        self.prelude_refs.take();
    }
}
