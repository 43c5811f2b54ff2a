//! What the VM's host functions share. It holds no strong handle to the VM, which owns those functions.

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Context, Error, Result};
use mlua::{Function, LightUserData, Lua, Table, Thread};

use super::compile::Chunks;
use super::errors;
use super::limits::Memory;
use super::objects::Classes;
use super::scope::Scope;
use crate::callbacks::Callbacks;

/// The mark that a coroutine yields while it waits for the host. Scripts never see it.
pub(super) fn pending() -> LightUserData {
    static MARK: u8 = 0;
    LightUserData((&raw const MARK).cast_mut().cast())
}

/// What the prelude hands to Rust.
pub(super) struct Kit {
    /// Runs a function and writes down its error.
    pub(super) guard: Function,
    /// Makes a function that waits and then returns a value.
    pub(super) waiting: Function,
    /// Makes a function that waits and then returns nothing.
    pub(super) waiting_for_nothing: Function,
    /// The same for the next item of a loop.
    pub(super) stepping: Function,
    /// Runs the handlers of promises that are due.
    pub(super) run_jobs: Function,
    /// Cancels the promises that nobody waits for any more.
    pub(super) cancel_abandoned: Function,
    /// Finds a rejection that nobody asked about.
    pub(super) unhandled: Function,
    /// Forgets what the run left: modules, promises.
    pub(super) forget: Function,
    /// Refuses assignments to reserved globals.
    pub(super) assign_global: Function,
    /// The metatable that marks a list.
    pub(super) list: Table,
    /// The metatable of `err` tables.
    pub(super) failure: Table,
    /// The metatable of promises.
    pub(super) promise: Table,
    /// The metatable of null.
    pub(super) null: Table,
    /// `err` tables to the errors they show; weak.
    pub(super) causes: Table,
    /// Addresses of host objects to their userdata; weak.
    pub(super) objects: Table,
    /// Names of globals that a script may not assign.
    pub(super) reserved: Table,
}

/// See the module. What belongs to one run is apart, so that the VM can be made as new for another.
pub(super) struct Host {
    pub(super) chunks: Arc<Chunks>,
    pub(super) classes: Classes,
    kit: OnceCell<Kit>,
    /// Bytes that the VM used when it was opened.
    pub(super) fresh_memory: Cell<usize>,
    run: RefCell<PerRun>,
}

/// What one run has of its own. Another run gets another one.
pub(super) struct PerRun {
    pub(super) cx: Context,
    pub(super) callbacks: Callbacks<Function, Table>,
    pub(super) memory: Memory,
    /// The names of the chunks that were loaded, as error messages begin with them.
    pub(super) files: RefCell<HashSet<String>>,
    /// Those of them that were required, with the addresses of their functions.
    pub(super) modules: RefCell<HashMap<String, usize>>,
    /// The task that the interrupt stopped, by the address of its coroutine. No other one of the session may run
    /// before it has gone on: the script would see half of what it does.
    pub(super) stopped: Cell<Option<usize>>,
    /// How many tasks had to let it go first, and have not been polled since.
    pub(super) behind: Cell<usize>,
    /// Coroutines that wait, on their way to the schedule, with their scopes.
    pub(super) adopted: RefCell<Vec<(Rc<Scope>, Thread)>>,
    /// Handlers of promises are due.
    pub(super) has_jobs: Cell<bool>,
    /// The scope of the task at work.
    scope: RefCell<Rc<Scope>>,
    scopes: Cell<u64>,
    /// The limit or cancellation that ended the run, with where it did.
    ending: RefCell<Option<Error>>,
    /// The error that the guard of the task at work wrote down.
    raised: RefCell<Option<Error>>,
}

impl PerRun {
    fn new(cx: Context) -> Self {
        Self {
            callbacks: Callbacks::default(),
            memory: Memory::new(cx.meter().limits().memory),
            files: RefCell::default(),
            modules: RefCell::default(),
            stopped: Cell::new(None),
            behind: Cell::new(0),
            adopted: RefCell::default(),
            has_jobs: Cell::new(false),
            scope: RefCell::new(Scope::new(0, cx.clone())),
            scopes: Cell::new(0),
            ending: RefCell::default(),
            raised: RefCell::default(),
            cx,
        }
    }
}

impl Host {
    pub(super) fn new(cx: Context, chunks: Arc<Chunks>) -> Rc<Self> {
        let run = RefCell::new(PerRun::new(cx));
        Rc::new(Self {
            chunks,
            classes: Classes::default(),
            kit: OnceCell::new(),
            fresh_memory: Cell::new(0),
            run,
        })
    }

    /// What the run has of its own.
    pub(super) fn run(&self) -> Ref<'_, PerRun> {
        self.run.borrow()
    }

    /// Lets go of the run for another one, while no script is at work. Says whether it had tasks beside the script's
    /// own, whose handles are garbage of the VM now.
    pub(super) fn renew(&self, cx: Context) -> bool {
        self.run.replace(PerRun::new(cx)).scopes.get() > 1
    }

    pub(super) fn set_kit(&self, kit: Kit) {
        let _ = self.kit.set(kit);
    }

    /// What the prelude left. There from the moment the session is open.
    pub(super) fn kit(&self) -> Result<&Kit> {
        self.kit.get().ok_or_else(|| Error::internal("the prelude has not run"))
    }

    /// The scope of the task at work.
    pub(super) fn scope(&self) -> Rc<Scope> {
        Rc::clone(&self.run().scope.borrow())
    }

    /// Puts another task to work and returns the scope of the one before.
    pub(super) fn enter(&self, scope: Rc<Scope>) -> Rc<Scope> {
        self.run().scope.replace(scope)
    }

    /// A scope that looks at the world through this context.
    pub(super) fn begin_scope(&self, cx: Context) -> Rc<Scope> {
        Scope::new(self.next_scope(), cx)
    }

    /// The scope of a task that the one at work starts.
    pub(super) fn child_scope(&self) -> Rc<Scope> {
        self.scope().child(self.next_scope())
    }

    fn next_scope(&self) -> u64 {
        let run = self.run();
        run.scopes.set(run.scopes.get() + 1);
        run.scopes.get()
    }

    /// Says whether the script may go on.
    ///
    /// # Errors
    /// The limit or cancellation that ended the run.
    pub(super) fn state(&self) -> Result<()> {
        let run = self.run();
        run.cx.meter().state().map_err(|error| run.ending.borrow().clone().unwrap_or(error))
    }

    /// Ends the run by this error: the first one stays, with the place of the script at that moment.
    pub(super) fn end(&self, lua: &Lua, error: Error) -> Error {
        let run = self.run();
        let mut ending = run.ending.borrow_mut();
        ending.get_or_insert_with(|| errors::locate(lua, error)).clone()
    }

    /// Whether the run was [ended](Self::end).
    pub(super) fn has_ended(&self) -> bool {
        self.run().ending.borrow().is_some()
    }

    /// Writes down the error of the task at work.
    pub(super) fn raise(&self, error: Error) {
        *self.run().raised.borrow_mut() = Some(error);
    }

    /// Takes what was written down.
    pub(super) fn take_raised(&self) -> Option<Error> {
        self.run().raised.borrow_mut().take()
    }
}
