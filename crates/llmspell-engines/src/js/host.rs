//! What the VM's host functions share. It holds no handle to the VM itself, which owns those functions; the values of
//! the VM that it keeps are let go of before the VM is.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Bridge, Context, Error, Object as HostObject, Result};
use rquickjs::{Ctx, Function, Object, Persistent, Value};

use super::calls::Calls;
use super::errors;
use super::limits::Memory;
use super::modules::Modules;
use crate::callbacks::Callbacks;

/// A value of the VM that the host keeps.
pub(super) type Kept<T> = Persistent<T>;

/// What the prelude hands to Rust.
pub(super) struct Kit {
    /// Makes the error that scripts catch.
    pub(super) failure: Kept<Function<'static>>,
    /// Makes a host object, or finds the one that the script holds already.
    pub(super) thing: Kept<Function<'static>>,
    /// Makes what loops over the objects of a class.
    pub(super) iterate: Kept<Function<'static>>,
    /// The sealed thing of the host behind a value.
    pub(super) seal_of: Kept<Function<'static>>,
    /// The word for an object that is no plain one.
    pub(super) kind: Kept<Function<'static>>,
    /// What stands for a value in the message of an error.
    pub(super) describe: Kept<Function<'static>>,
    /// A text without lone surrogates.
    pub(super) well_formed: Kept<Function<'static>>,
    /// The bytes of an array as a text of one letter a byte.
    pub(super) letters: Kept<Function<'static>>,
    /// Makes an object read-only with all that it holds.
    pub(super) harden: Kept<Function<'static>>,
    /// Runs until the interrupt ends it, which no script can catch.
    pub(super) halt: Kept<Function<'static>>,
    /// Where the script is: its stack as a text.
    pub(super) here: Kept<Function<'static>>,
    /// Makes a global of a bridge, which is asked for what it holds when a script first touches it.
    pub(super) announce: Kept<Function<'static>>,
    pub(super) object_prototype: Kept<Object<'static>>,
    /// Keeps the shape of an error for want of memory, which is made when there is none left.
    pub(super) _spare: Kept<Object<'static>>,
}

/// A thing of the host that the VM holds in a function, which nobody but the host can open.
#[derive(Clone)]
pub(super) enum Sealed {
    Error(Error),
    Object(HostObject),
}

/// A promise that was rejected, and that nobody has asked about so far.
pub(super) struct Rejection {
    pub(super) promise: Kept<Value<'static>>,
    pub(super) reason: Kept<Value<'static>>,
}

/// See the module.
pub(super) struct Host {
    pub(super) cx: Context,
    pub(super) callbacks: Callbacks<Kept<Function<'static>>, Kept<Object<'static>>>,
    pub(super) calls: Calls,
    pub(super) memory: Memory,
    pub(super) modules: Modules,
    kit: RefCell<Option<Rc<Kit>>>,
    /// The prototypes of the classes that the script has used, by the class's address.
    pub(super) classes: RefCell<HashMap<usize, Kept<Object<'static>>>>,
    /// The bridges by their names.
    pub(super) bridges: RefCell<HashMap<&'static str, Arc<Bridge>>>,
    /// Names of globals that belong to the host.
    pub(super) reserved: RefCell<HashSet<String>>,
    pub(super) rejections: RefCell<Vec<Rejection>>,
    /// What the seal that was just opened held.
    opened: RefCell<Option<Sealed>>,
    /// How the script at work looks at the world.
    scope: RefCell<Context>,
    /// The limit or cancellation that ended the run, with where it did.
    ending: RefCell<Option<Error>>,
    /// The VM is being taken apart.
    over: Cell<bool>,
}

impl Host {
    pub(super) fn new(cx: Context) -> Rc<Self> {
        Rc::new(Self {
            callbacks: Callbacks::default(),
            calls: Calls::default(),
            memory: Memory::new(cx.meter().limits().memory),
            modules: Modules::default(),
            kit: RefCell::default(),
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

    pub(super) fn set_kit(&self, kit: Kit) {
        *self.kit.borrow_mut() = Some(Rc::new(kit));
    }

    /// What the prelude left. There from the moment the session is open.
    pub(super) fn kit(&self) -> Result<Rc<Kit>> {
        self.kit.borrow().clone().ok_or_else(|| Error::internal("the prelude has not run"))
    }

    /// How the script at work looks at the world.
    pub(super) fn scope(&self) -> Context {
        self.scope.borrow().clone()
    }

    /// Sets how what is at work from now on looks at the world: who waits for an answer goes on as whoever asked.
    pub(super) fn enter(&self, cx: Context) {
        *self.scope.borrow_mut() = cx;
    }

    /// Puts a thing of the host where only [`open`](Self::open) finds it again.
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

    /// The thing behind a value, when there is one.
    pub(super) fn open<'js>(&self, ctx: &Ctx<'js>, value: &Value<'js>) -> Option<Sealed> {
        let kit = self.kit().ok()?;
        let seal: Value = kit.seal_of.clone().restore(ctx).ok()?.call((value.clone(),)).ok()?;
        self.unseal(&seal)
    }

    /// The thing in a seal.
    pub(super) fn unseal(&self, seal: &Value<'_>) -> Option<Sealed> {
        seal.as_function()?.call::<_, ()>(()).ok()?;
        self.opened.borrow_mut().take()
    }

    /// Says whether the script may go on.
    ///
    /// # Errors
    /// The limit or cancellation that ended the run.
    pub(super) fn state(&self) -> Result<()> {
        self.cx.meter().state().map_err(|error| self.ending.borrow().clone().unwrap_or(error))
    }

    /// Ends the run by this error: the first one stays, with the place of the script at that moment.
    pub(super) fn end(&self, ctx: &Ctx<'_>, error: Error) -> Error {
        let known = self.ending.borrow().clone();
        known.unwrap_or_else(|| self.end_at(errors::locate(self, ctx, error)))
    }

    /// The same with a place that is known already.
    pub(super) fn end_at(&self, error: Error) -> Error {
        self.ending.borrow_mut().get_or_insert(error).clone()
    }

    /// Whether the VM is being taken apart.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Lets go of all values of the VM, which must not outlive it.
    pub(super) fn let_go(&self) {
        self.over.set(true);
        self.calls.clear();
        self.callbacks.forget();
        self.rejections.take();
        self.classes.take();
        self.kit.take();
    }
}
