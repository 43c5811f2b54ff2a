//! Decides whether the failure of a host function is returned or raised.
//!
//! A failure is returned where the call site takes it, and raised everywhere else, so that no failure is silent.
//! `call_sites.rs` answers for one place in a source. This module finds that place: it walks the stack from the host
//! function outwards. If the calling function returns what it gets (`return fs.read(path)`), its own caller decides, and
//! so on, up to what always has room: `pcall`, a coroutine, the function of a promise, a callback of the host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Error, ErrorKind};
use mlua::{Lua, Table, Value as LuaValue};

use super::call_sites::{CallSites, FailedCall, FailureResults, MAX_NESTING, Room};
use super::sandbox;
use super::vm_state::LuauVmState;

/// The maximum number of stack levels that are searched for a call site.
const MAX_LEVELS: usize = 256;

/// A host function, as far as its failures need it.
#[derive(Debug, Clone)]
pub(super) struct FailingFunction {
    pub(super) name: Cow<'static, str>,
    pub(super) results: FailureResults,
}

/// Where a failure goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FailureRoute {
    /// The call site takes it.
    Returned,
    /// It leaves the coroutine, or reaches `pcall`. No frame of the script will know its place later.
    Boundary,
    /// It is raised, with a hint perhaps.
    Raised(Option<String>),
}

/// The sources that a run has loaded, by name, each with its calls once a call in it has failed.
#[derive(Default)]
pub(super) struct LoadedSources(HashMap<String, Vec<LoadedSource>>);

struct LoadedSource {
    text: Arc<str>,
    /// `None` inside if the source nests too deep.
    calls: Option<Option<Rc<CallSites>>>,
}

impl LoadedSources {
    pub(super) fn add(&mut self, name: &str, text: Arc<str>) {
        let known = self.0.entry(name.to_owned()).or_default();
        if !known.iter().any(|known| known.text == text) {
            known.push(LoadedSource { text, calls: None });
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Returns the calls of the sources of a name. There are several if a session runs them one after the other.
    fn calls(&mut self, name: &str) -> Option<Vec<Rc<CallSites>>> {
        let known = self.0.get_mut(name)?;
        let calls = known.iter_mut().map(|source| {
            source.calls.get_or_insert_with(|| CallSites::read(&source.text).map(Rc::new)).clone()
        });
        calls.collect()
    }
}

/// One level of the stack.
enum Frame {
    /// A function of Luau itself or of the host, by name.
    Native(String),
    Prelude,
    Script {
        file: String,
        line: u32,
        function: Option<String>,
    },
}

fn frame(lua: &Lua, level: usize) -> Option<Frame> {
    lua.inspect_stack(level, |debug| {
        let name = || debug.names().name.filter(|name| !name.is_empty()).map(|name| name.into_owned());
        let source = debug.source();
        let file = source.source.as_deref().and_then(|file| file.strip_prefix('=')).unwrap_or_default();
        if source.what == "C" {
            Frame::Native(name().unwrap_or_default())
        } else if file == sandbox::PRELUDE {
            Frame::Prelude
        } else {
            let line = debug.current_line().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
            Frame::Script { file: file.to_owned(), line, function: name() }
        }
    })
}

/// Returns the first level from `level` on that is not the prelude's.
fn past_prelude(lua: &Lua, level: usize) -> usize {
    (level..).find(|level| !matches!(frame(lua, *level), Some(Frame::Prelude))).unwrap_or(level)
}

/// Decides where the failure of the running host function goes.
pub(super) fn route(
    host: &LuauVmState,
    lua: &Lua,
    function: &FailingFunction,
    error: &Error,
) -> FailureRoute {
    walk(host, lua, function, error.kind() != ErrorKind::PermissionDenied)
}

/// Returns whether the caller of a promise's `await` takes the reason of the rejection as a second value.
pub(super) fn await_has_room(host: &LuauVmState, lua: &Lua) -> bool {
    let function =
        FailingFunction { name: Cow::Borrowed("await"), results: FailureResults::NilAndErrorForTargets };
    walk(host, lua, &function, false) == FailureRoute::Returned
}

fn walk(host: &LuauVmState, lua: &Lua, function: &FailingFunction, has_default: bool) -> FailureRoute {
    let results = function.results;
    let mut name = Some(function.name.to_string());
    let mut before = 0;
    // Level 0 is the host function. The prelude's part of an async one is above it.
    let mut level = past_prelude(lua, 1);
    while level < MAX_LEVELS {
        let (file, line, caller) = match frame(lua, level) {
            Some(Frame::Script { file, line, function }) => (file, line, function),
            Some(Frame::Native(name)) if name != "pcall" && name != "xpcall" => break,
            _ if results == FailureResults::NilAndError && before == 0 => return FailureRoute::Boundary,
            _ => break,
        };
        let failed = FailedCall { name: name.as_deref(), results, before, has_default };
        match room(host, lua, &file, line, failed) {
            Some(Room::Yes) => return FailureRoute::Returned,
            Some(Room::No) => break,
            // The VM calls a metamethod, and there is no call on the line of the caller.
            Some(Room::Caller(_)) if caller.as_deref().is_some_and(|name| name.starts_with("__")) => break,
            Some(Room::Caller(values)) => (name, before) = (caller, values),
            Some(Room::Unclear) => return FailureRoute::Raised(Some(split_the_line(failed.name, line))),
            None => return FailureRoute::Raised(Some(too_deep(&file))),
        }
        level += 1;
        let outer = past_prelude(lua, level);
        if outer > level {
            // The prelude called a module, of which it keeps one value. It runs everything else by `xpcall`.
            break;
        }
        level = outer;
    }
    FailureRoute::Raised(None)
}

/// Returns `None` if a source of this name nests too deep to be read.
fn room(host: &LuauVmState, lua: &Lua, file: &str, line: u32, failed: FailedCall<'_>) -> Option<Room> {
    let own = lua.globals();
    let base = sandbox::base(lua).ok();
    let is_native = |name: &str| {
        let is_in = |table: &Table| table.raw_get::<LuaValue>(name).is_ok_and(|value| !value.is_nil());
        !is_in(&own) && base.as_ref().is_some_and(is_in)
    };
    let calls = host.run().sources.borrow_mut().calls(file)?;
    let mut rooms = calls.iter().map(|calls| calls.room(line, failed, &is_native));
    let first = rooms.next().unwrap_or(Room::No);
    Some(if rooms.all(|room| room == first) { first } else { Room::No })
}

fn split_the_line(name: Option<&str>, line: u32) -> String {
    let name = name.map_or("a function".to_owned(), |name| format!("`{name}`"));
    format!(
        "line {line} calls {name} more than once, and not all of the calls take an error: \
         put each call on a line of its own"
    )
}

fn too_deep(file: &str) -> String {
    format!(
        "{file} nests more than {MAX_NESTING} levels deep, so all failures are raised; `pcall` catches them"
    )
}
