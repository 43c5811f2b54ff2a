//! The state that the VM's host functions share.
//!
//! [`LuauVmState`] lives as long as the VM, and [`LuauRunState`] as long as one run; [`LuauVmState::renew`] replaces it
//! when the VM serves another run. The VM owns the host functions, and they own the [`LuauVmState`]. So the
//! `LuauVmState` holds no strong handle to the VM, which would keep both alive for ever.

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Context, Error, Result};
use mlua::{Function, LightUserData, Lua, Table, Thread};

use super::compile::ChunkCache;
use super::errors;
use super::failures::LoadedSources;
use super::limits::LuauMemoryLimit;
use super::objects::Classes;
use super::scope::Scope;
use crate::callbacks::Callbacks;

/// The mark that a coroutine yields while it waits. Scripts never see it.
pub(super) fn pending() -> LightUserData {
    static MARK: u8 = 0;
    LightUserData((&raw const MARK).cast_mut().cast())
}

/// The functions and tables that the preludes hand to Rust.
pub(super) struct LuauPreludeRefs {
    /// Runs a function and records its error.
    pub(super) guard: Function,
    /// Makes the script's function for an async method that returns a value.
    pub(super) waiting: Function,
    /// Makes the script's function for an async method that returns nothing.
    pub(super) waiting_for_nothing: Function,
    /// Makes the function that a `for` loop calls for the next item of a host object.
    pub(super) stepping: Function,
    /// Runs the queued handlers of promises.
    pub(super) run_jobs: Function,
    /// Cancels pending promises whose every consumer has settled.
    pub(super) cancel_abandoned: Function,
    /// Finds the first unhandled rejection.
    pub(super) unhandled: Function,
    /// Clears what the run left in the preludes: modules, promises.
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
    /// Maps `err` tables to their host errors. Its keys are weak.
    pub(super) causes: Table,
    /// Maps addresses of host objects to their userdata. Its values are weak.
    pub(super) objects: Table,
    /// The names of globals that a script may not assign.
    pub(super) reserved: Table,
}

/// The state that lives as long as the VM.
pub(super) struct LuauVmState {
    pub(super) chunks: Arc<ChunkCache>,
    pub(super) classes: Classes,
    prelude_refs: OnceCell<LuauPreludeRefs>,
    /// The bytes that the VM used when it was opened.
    pub(super) fresh_memory: Cell<usize>,
    run: RefCell<LuauRunState>,
}

/// The state of one run.
pub(super) struct LuauRunState {
    pub(super) cx: Context,
    pub(super) callbacks: Callbacks<Function, Table>,
    pub(super) memory: LuauMemoryLimit,
    /// The loaded sources. Luau puts the name before a message, and errors recognise it there.
    pub(super) sources: RefCell<LoadedSources>,
    /// The files loaded by `require`, with the addresses of their main functions.
    pub(super) modules: RefCell<HashMap<String, usize>>,
    /// The task that the interrupt stopped, by the address of its coroutine. No other task of the session may run
    /// before it goes on, because that task would see half-done work.
    pub(super) stopped: Cell<Option<usize>>,
    /// How many tasks gave way to a stopped task and have not been polled since.
    pub(super) behind: Cell<usize>,
    /// Waiting coroutines of promises, with their scopes, which the scheduler has not taken in yet.
    pub(super) adopted: RefCell<Vec<(Rc<Scope>, Thread)>>,
    /// Whether handlers of promises are queued.
    pub(super) has_jobs: Cell<bool>,
    /// The scope of the running task.
    scope: RefCell<Rc<Scope>>,
    /// The number of scopes made so far, which numbers the next one.
    scopes: Cell<u64>,
    /// The limit or cancellation that ended the run, with its position in the script.
    ending: RefCell<Option<Error>>,
    /// The error that the running task's guard recorded.
    raised: RefCell<Option<Error>>,
}

impl LuauRunState {
    fn new(cx: Context) -> Self {
        Self {
            callbacks: Callbacks::default(),
            memory: LuauMemoryLimit::new(cx.meter().limits().memory),
            sources: RefCell::default(),
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

impl LuauVmState {
    pub(super) fn new(cx: Context, chunks: Arc<ChunkCache>) -> Rc<Self> {
        let run = RefCell::new(LuauRunState::new(cx));
        Rc::new(Self {
            chunks,
            classes: Classes::default(),
            prelude_refs: OnceCell::new(),
            fresh_memory: Cell::new(0),
            run,
        })
    }

    /// Returns the state of the current run.
    pub(super) fn run(&self) -> Ref<'_, LuauRunState> {
        self.run.borrow()
    }

    /// Replaces the state of the run by that of another run, while no script runs. Returns whether the old run had
    /// tasks besides the script itself. Their handles are now garbage in the VM.
    pub(super) fn renew(&self, cx: Context) -> bool {
        self.run.replace(LuauRunState::new(cx)).scopes.get() > 1
    }

    pub(super) fn set_kit(&self, prelude_refs: LuauPreludeRefs) {
        let _ = self.prelude_refs.set(prelude_refs);
    }

    /// Returns the handles of the preludes. They are set once the session is open.
    pub(super) fn prelude_refs(&self) -> Result<&LuauPreludeRefs> {
        self.prelude_refs.get().ok_or_else(|| Error::internal("the prelude has not run"))
    }

    /// Returns the scope of the running task.
    pub(super) fn scope(&self) -> Rc<Scope> {
        Rc::clone(&self.run().scope.borrow())
    }

    /// Makes `scope` that of the running task, and returns the previous one.
    pub(super) fn enter(&self, scope: Rc<Scope>) -> Rc<Scope> {
        self.run().scope.replace(scope)
    }

    /// Creates a scope without a parent that uses this context.
    pub(super) fn begin_scope(&self, cx: Context) -> Rc<Scope> {
        Scope::new(self.next_scope(), cx)
    }

    /// Creates the scope of a task that the running task starts.
    pub(super) fn child_scope(&self) -> Rc<Scope> {
        self.scope().child(self.next_scope())
    }

    fn next_scope(&self) -> u64 {
        let run = self.run();
        run.scopes.set(run.scopes.get() + 1);
        run.scopes.get()
    }

    /// Checks that the script may go on.
    ///
    /// # Errors
    /// The limit or cancellation that ended the run.
    pub(super) fn state(&self) -> Result<()> {
        let run = self.run();
        run.cx.meter().state().map_err(|error| run.ending.borrow().clone().unwrap_or(error))
    }

    /// Ends the run with this error and returns the error that ended it. The first error stays, with the position of
    /// the script at that moment.
    pub(super) fn end(&self, lua: &Lua, error: Error) -> Error {
        let run = self.run();
        let mut ending = run.ending.borrow_mut();
        ending.get_or_insert_with(|| errors::locate(lua, error)).clone()
    }

    /// Returns whether the run was [ended](Self::end).
    pub(super) fn has_ended(&self) -> bool {
        self.run().ending.borrow().is_some()
    }

    /// Records the error of the running task.
    pub(super) fn raise(&self, error: Error) {
        *self.run().raised.borrow_mut() = Some(error);
    }

    /// Takes the recorded error.
    pub(super) fn take_raised(&self) -> Option<Error> {
        self.run().raised.borrow_mut().take()
    }
}
