//! Marshalling between Luau values and [`Value`].
//!
//! | Luau | `Value` |
//! |---|---|
//! | `nil`, null | `Nil` |
//! | a number | `Int` if it is whole and at most 2^53, else `Num` |
//! | a string | `Str` if it is UTF-8, else `Bytes` |
//! | a buffer | `Bytes` |
//! | a table with the keys 1 to n, or an empty one with the list metatable | `List` |
//! | any other table with string keys | `Map` |
//! | a function | `Callback` |
//! | userdata of the host | `Object` |
//!
//! Tables are read without metamethods, so no script code runs meanwhile. Promises, cycles, tables that mix items and
//! named fields, and tables nested deeper than [`MAX_DEPTH`] are errors. The copy counts against the memory limit.
//!
//! On the way in, `Nil` becomes `nil` where it is the whole value and null where it is nested, since a table cannot
//! hold `nil`. Lists get the list metatable, so that an empty list stays a list.

use std::ffi::c_void;
use std::rc::Rc;

use llmspell_core::{Callback, MAX_DEPTH, Map, Method, Result, Value};
use mlua::{Lua, LuaString, Table, Value as LuaValue};

use super::errors::from_lua_error;
use super::functions;
use super::objects;
use super::vm_state::LuauVmState;
use crate::callbacks::HeldFunction;
use crate::marshal::{CHARGE, ConversionError, ConversionResult, MAX_INTEGER, ValueStep, weight};

/// The bytes of a list or map besides its items: its own block, and spare capacity.
const TABLE: usize = 96;
/// The bytes that the host uses for a function that it holds.
const TICKET: usize = 224;

/// Copies a value out of the VM. `bytes` adds up the bytes of several values, such as all arguments of a call. `what`
/// names the value in errors, for example "argument 1 (`url`)".
///
/// # Errors
/// When the value holds something that cannot leave the VM, or is larger than the memory limit allows.
pub(super) fn from_lua(
    host: &Rc<LuauVmState>,
    lua: &Lua,
    value: LuaValue,
    bytes: &mut usize,
    what: impl FnOnce() -> String,
) -> Result<Value> {
    let mut reader = LuauValueReader { host, lua, bytes: *bytes, ancestors: Vec::new() };
    let read = reader.read(value);
    *bytes = reader.bytes;
    read.map_err(|trouble| trouble.into_error(&what()))
}

/// Moves a value into the VM.
///
/// # Errors
/// When the value holds an integer beyond 2^53, nests too deep, or exceeds the memory limit.
pub(super) fn to_lua(host: &Rc<LuauVmState>, lua: &Lua, value: Value) -> Result<LuaValue> {
    match value {
        Value::Nil => Ok(LuaValue::Nil),
        Value::Bool(value) => Ok(LuaValue::Boolean(value)),
        Value::Num(value) => Ok(LuaValue::Number(value)),
        value => {
            let run = host.run();
            run.memory.allow(lua, run.cx.meter(), weight(&value, 0))?;
            run.memory
                .unchecked(lua, || write(host, lua, value, 0))
                .map_err(|error| from_lua_error(host, &error))?
                .map_err(|trouble| trouble.into_error("the value"))
        }
    }
}

/// Moves a bridge's constant into the VM. `Nil` becomes null, because a field that is nil would not exist.
///
/// # Errors
/// As [`to_lua`].
pub(super) fn constant(host: &Rc<LuauVmState>, lua: &Lua, value: Value) -> Result<LuaValue> {
    write(host, lua, value, 0).map_err(|trouble| trouble.into_error("the constant"))
}

struct LuauValueReader<'a> {
    host: &'a Rc<LuauVmState>,
    lua: &'a Lua,
    /// The bytes of host memory that the value takes so far.
    bytes: usize,
    /// The tables that enclose the current one, outermost first.
    ancestors: Vec<*const c_void>,
}

impl LuauValueReader<'_> {
    fn read(&mut self, value: LuaValue) -> ConversionResult<Value> {
        self.read_in(None, value)
    }

    /// Reads a value. `owner` is the table that holds it under a name; a callback is called as its method.
    fn read_in(&mut self, owner: Option<&Table>, value: LuaValue) -> ConversionResult<Value> {
        Ok(match value {
            LuaValue::Nil => Value::Nil,
            LuaValue::Boolean(value) => Value::Bool(value),
            LuaValue::Integer(value) if value.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => {
                Value::Int(value)
            }
            LuaValue::Integer(value) => Value::Num(value as f64),
            LuaValue::Number(value) => Value::Num(value),
            LuaValue::String(text) => self.text(&text)?,
            LuaValue::Table(table) => self.table(&table)?,
            LuaValue::Function(function) => {
                self.charge(TICKET)?;
                let (owner, cx) = (owner.cloned(), self.host.scope().cx.spawn());
                Value::Callback(self.host.run().callbacks.ticket(HeldFunction { function, owner, cx }))
            }
            LuaValue::UserData(data) => match objects::object_of(&data) {
                Some(object) => Value::Object(object),
                None => return Err(ConversionError::misfit("a userdata cannot leave the script")),
            },
            LuaValue::Buffer(buffer) => {
                self.charge(buffer.len())?;
                Value::Bytes(buffer.to_vec())
            }
            LuaValue::LightUserData(pointer) if pointer.0.is_null() => Value::Nil,
            other => {
                return Err(ConversionError::misfit(format!(
                    "a {} cannot leave the script",
                    other.type_name()
                )));
            }
        })
    }

    fn text(&mut self, text: &LuaString) -> ConversionResult<Value> {
        let bytes = text.as_bytes();
        self.charge(bytes.len())?;
        Ok(match std::str::from_utf8(&bytes) {
            Ok(text) => Value::Str(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        })
    }

    fn table(&mut self, table: &Table) -> ConversionResult<Value> {
        let pointer = table.to_pointer();
        if self.ancestors.contains(&pointer) {
            return Err(ConversionError::misfit("the table contains itself"));
        }
        if self.ancestors.len() == MAX_DEPTH {
            return Err(ConversionError::too_deep("tables"));
        }
        self.ancestors.push(pointer);
        let mut entries = TableEntries::default();
        if table.raw_len() == 0 && self.is_promise(table) {
            return Err(ConversionError::misfit(
                "a promise cannot leave the script: `:await()` gives its value",
            ));
        }
        self.charge(TABLE)?;
        let mut trouble = None;
        let walked = table.for_each::<LuaValue, LuaValue>(|key, value| {
            self.entry(table, &mut entries, key, value).map_err(|found| {
                trouble = Some(found);
                mlua::Error::runtime("")
            })
        });
        self.ancestors.pop();
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        walked.map_err(|error| ConversionError::Failed(from_lua_error(self.host, &error)))?;
        entries.finish(|| {
            self.host
                .prelude_refs()
                .is_ok_and(|prelude_refs| table.metatable().is_some_and(|mark| mark == prelude_refs.list))
        })
    }

    fn is_promise(&self, table: &Table) -> bool {
        self.host
            .prelude_refs()
            .is_ok_and(|prelude_refs| table.metatable().is_some_and(|known| known == prelude_refs.promise))
    }

    fn entry(
        &mut self,
        table: &Table,
        entries: &mut TableEntries,
        key: LuaValue,
        value: LuaValue,
    ) -> ConversionResult<()> {
        match key {
            LuaValue::Integer(index) => {
                let index = usize::try_from(index).ok().filter(|index| *index > 0).ok_or_else(|| {
                    ConversionError::misfit(format!("{index} cannot be a key: lists begin at 1"))
                })?;
                let value = self.read(value).map_err(|trouble| trouble.within(|| ValueStep::Index(index)))?;
                // No capacity is reserved: `table.create(n)` with one item at its end claims the length `n`.
                if index == entries.list.len() + 1 {
                    self.charge(size_of::<Value>())?;
                    entries.list.push(value);
                } else {
                    self.charge(size_of::<(usize, Value)>())?;
                    entries.strays.push((index, value));
                }
            }
            LuaValue::String(name) => {
                let name = name
                    .to_str()
                    .map(|name| name.to_owned())
                    .map_err(|_| ConversionError::misfit("a key is not UTF-8 text"))?;
                self.charge(name.len() + size_of::<(String, Value, usize)>())?;
                let value = self
                    .read_in(Some(table), value)
                    .map_err(|trouble| trouble.within(|| ValueStep::Name(name.clone())))?;
                entries.fields.push((name, value));
            }
            other => {
                return Err(ConversionError::misfit(format!("a {} cannot be a key", other.type_name())));
            }
        }
        Ok(())
    }

    /// Counts bytes that are about to be copied. Checks the limits once per [`CHARGE`] bytes.
    fn charge(&mut self, bytes: usize) -> ConversionResult<()> {
        let before = self.bytes / CHARGE;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes / CHARGE == before {
            return Ok(());
        }
        let run = self.host.run();
        let meter = run.cx.meter();
        if meter.must_check() {
            meter.check().map_err(ConversionError::Failed)?;
        }
        run.memory.allow(self.lua, meter, self.bytes).map_err(ConversionError::Failed)
    }
}

#[derive(Default)]
struct TableEntries {
    list: Vec<Value>,
    /// List items whose index did not follow the previous one.
    strays: Vec<(usize, Value)>,
    fields: Vec<(String, Value)>,
}

impl TableEntries {
    fn finish(mut self, marked: impl FnOnce() -> bool) -> ConversionResult<Value> {
        self.strays.sort_unstable_by_key(|(index, _)| *index);
        for (index, value) in self.strays {
            if index != self.list.len() + 1 {
                return Err(ConversionError::misfit(format!(
                    "the list has a hole: there is an item {index}, and none at {}",
                    self.list.len() + 1
                )));
            }
            self.list.push(value);
        }
        match (self.list.is_empty(), self.fields.is_empty()) {
            (false, true) => Ok(Value::List(self.list)),
            (true, true) if marked() => Ok(Value::List(Vec::new())),
            (true, _) => {
                // Luau's own order depends on addresses.
                self.fields.sort_unstable_by(|left, right| left.0.cmp(&right.0));
                Ok(Value::Map(Map::from_iter(self.fields)))
            }
            (false, false) => {
                self.fields.sort_unstable_by(|left, right| left.0.cmp(&right.0));
                Err(ConversionError::misfit(format!(
                    "the table mixes list items and named fields such as `{}`",
                    self.fields[0].0
                )))
            }
        }
    }
}

fn write(host: &Rc<LuauVmState>, lua: &Lua, value: Value, depth: usize) -> ConversionResult<LuaValue> {
    let failed = |error: mlua::Error| ConversionError::Failed(from_lua_error(host, &error));
    Ok(match value {
        Value::Nil => LuaValue::NULL,
        Value::Bool(value) => LuaValue::Boolean(value),
        Value::Int(value) if value.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => {
            LuaValue::Number(value as f64)
        }
        Value::Int(value) => {
            return Err(ConversionError::misfit(format!(
                "the integer {value} is past 2^53, the largest that Luau can hold"
            )));
        }
        Value::Num(value) => LuaValue::Number(value),
        Value::Str(text) => LuaValue::String(lua.create_string(text).map_err(failed)?),
        Value::Bytes(bytes) => LuaValue::String(lua.create_string(bytes).map_err(failed)?),
        Value::List(_) | Value::Map(_) if depth == MAX_DEPTH => {
            return Err(ConversionError::too_deep("tables"));
        }
        Value::List(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0).map_err(failed)?;
            for (at, item) in items.into_iter().enumerate() {
                let item = write(host, lua, item, depth + 1)
                    .map_err(|trouble| trouble.within(|| ValueStep::Index(at + 1)))?;
                table.raw_push(item).map_err(failed)?;
            }
            let mark = host.prelude_refs().map_err(ConversionError::Failed)?.list.clone();
            table.set_metatable(Some(mark)).map_err(failed)?;
            LuaValue::Table(table)
        }
        Value::Map(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len()).map_err(failed)?;
            for (name, value) in fields {
                match write(host, lua, value, depth + 1) {
                    Ok(value) => table.raw_set(name, value).map_err(failed)?,
                    Err(trouble) => return Err(trouble.within(|| ValueStep::Name(name))),
                }
            }
            LuaValue::Table(table)
        }
        Value::Callback(callback) => function(host, lua, callback).map_err(failed)?,
        Value::Object(object) => LuaValue::UserData(objects::userdata(host, lua, object).map_err(failed)?),
    })
}

/// Converts a callback to a function. A callback of this session becomes the function itself; a callback of another
/// session becomes a function that calls it there.
fn function(host: &Rc<LuauVmState>, lua: &Lua, callback: Callback) -> mlua::Result<LuaValue> {
    if let Some(held) = host.run().callbacks.function(callback.number()) {
        return Ok(LuaValue::Function(held.function));
    }
    let method = Method::future("callback", move |_, mut arguments| {
        let callback = callback.clone();
        async move { callback.call(arguments.rest().0).await }
    });
    functions::function(host, lua, &method, 0).map(LuaValue::Function)
}
