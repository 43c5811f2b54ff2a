//! Marshalling between JavaScript values and [`Value`].
//!
//! | JavaScript | `Value` |
//! |---|---|
//! | `undefined`, `null` | `Nil` |
//! | a number | `Int` if it is whole and at most 2^53, else `Num`; `-0` is a `Num` |
//! | a bigint | `Int`, an error past 2^63 - 1 |
//! | a string | `Str`; lone surrogates become U+FFFD |
//! | a `Uint8Array`, an `ArrayBuffer` | `Bytes` |
//! | an array | `List` |
//! | any other object | `Map` of its own enumerable fields, without those that are `undefined` |
//! | a function | `Callback` |
//! | an object of the host | `Object` |
//!
//! An error becomes a `Map` with its name, message and own fields. Promises, symbols, cycles, objects such as `Map` and
//! `Date`, and objects nested deeper than [`MAX_DEPTH`] are errors. The copy counts against the memory limit.
//!
//! On the way in, `Nil` becomes `undefined` where it is the whole value and `null` where it is nested.

use std::rc::Rc;

use llmspell_core::{Callback, MAX_DEPTH, Map, Method, Result, Value};
use rquickjs::atom::PredefinedAtom;
use rquickjs::object::{Filter, Property};
use rquickjs::{Array, Ctx, Object, String as JsString, TypedArray, Value as JsValue};

use super::errors::from_js_error;
use super::vm_state::{HeldValue, JsVmState, Sealed};
use super::{functions, objects};
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
pub(super) fn from_js<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    value: JsValue<'js>,
    bytes: &mut usize,
    what: impl FnOnce() -> String,
) -> Result<Value> {
    let mut reader = JsValueReader { host, ctx, bytes: *bytes, ancestors: Vec::new() };
    let read = reader.read(value);
    *bytes = reader.bytes;
    read.map_err(|trouble| trouble.into_error(&what()))
}

/// Returns the fields that a script added to an error, if there are any and all of them are data.
pub(super) fn own_fields<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, object: &Object<'js>) -> Option<Value> {
    let mut reader = JsValueReader { host, ctx, bytes: 0, ancestors: Vec::new() };
    let fields = reader.fields(object).ok()?;
    let value = Value::Map(fields);
    (value.is_data() && value != Value::Map(Map::new())).then_some(value)
}

/// Copies a string out of the VM. Lone surrogates become U+FFFD.
pub(super) fn string<'js>(host: &JsVmState, ctx: &Ctx<'js>, text: &JsString<'js>) -> String {
    text.to_string().unwrap_or_else(|_| {
        let well_formed = || {
            let prelude_refs = host.prelude_refs().ok()?;
            prelude_refs.well_formed.clone().restore(ctx).ok()?.call::<_, String>((text.clone(),)).ok()
        };
        well_formed().unwrap_or_default()
    })
}

struct JsValueReader<'a, 'js> {
    host: &'a Rc<JsVmState>,
    ctx: &'a Ctx<'js>,
    /// The bytes of host memory that the value takes so far.
    bytes: usize,
    /// The objects that enclose the current one, outermost first.
    ancestors: Vec<Object<'js>>,
}

impl<'js> JsValueReader<'_, 'js> {
    fn read(&mut self, value: JsValue<'js>) -> ConversionResult<Value> {
        self.read_in(None, value)
    }

    /// Reads a value. `owner` is the object that holds it as a field; a callback is called as its method.
    fn read_in(&mut self, owner: Option<&Object<'js>>, value: JsValue<'js>) -> ConversionResult<Value> {
        if let Some(number) = value.as_int() {
            return Ok(Value::Int(number.into()));
        }
        if let Some(number) = value.as_float() {
            return Ok(number_value(number));
        }
        if let Some(truth) = value.as_bool() {
            return Ok(Value::Bool(truth));
        }
        if let Some(text) = value.as_string() {
            let text = string(self.host, self.ctx, text);
            self.charge(text.len())?;
            return Ok(Value::Str(text));
        }
        if value.is_null() || value.is_undefined() {
            return Ok(Value::Nil);
        }
        if value.is_big_int() {
            // Converted to a number, it would lose the digits that do not fit. So it is read as text.
            let written = super::errors::describe(self.host, self.ctx, &value).unwrap_or_default();
            return written.parse().map(Value::Int).map_err(|_| {
                ConversionError::misfit("the integer is too large: at most 2^63 - 1 can leave the script")
            });
        }
        match value.into_object() {
            Some(object) => self.object(owner, object),
            None => Err(ConversionError::misfit("a symbol cannot leave the script")),
        }
    }

    fn object(&mut self, owner: Option<&Object<'js>>, object: Object<'js>) -> ConversionResult<Value> {
        if let Some(function) = object.as_function() {
            self.charge(TICKET)?;
            let function = HeldValue::save(self.ctx, function.clone());
            let owner = owner.map(|owner| HeldValue::save(self.ctx, owner.clone()));
            let held = HeldFunction { function, owner, cx: self.host.scope().spawn() };
            return Ok(Value::Callback(self.host.callbacks.ticket(held)));
        }
        if self.ancestors.contains(&object) {
            return Err(ConversionError::misfit("the object contains itself"));
        }
        if self.ancestors.len() == MAX_DEPTH {
            return Err(ConversionError::too_deep("objects"));
        }
        if let Some(array) = object.as_array().cloned() {
            return self.within(object, |reader| reader.list(&array));
        }
        if object.is_promise() {
            return Err(ConversionError::misfit(
                "a promise cannot leave the script: `await` gives its value",
            ));
        }
        if !self.is_plain(&object)
            && let Some(value) = self.special(&object)?
        {
            return Ok(value);
        }
        self.within(object.clone(), |reader| reader.fields(&object).map(Value::Map))
    }

    /// Reads the items or fields of an object, which is an ancestor meanwhile.
    fn within(
        &mut self,
        object: Object<'js>,
        read: impl FnOnce(&mut Self) -> ConversionResult<Value>,
    ) -> ConversionResult<Value> {
        self.ancestors.push(object);
        let value = read(self);
        self.ancestors.pop();
        value
    }

    /// Returns whether the object is a plain one, as `{}` makes it.
    fn is_plain(&self, object: &Object<'js>) -> bool {
        let plain = || {
            let known = self.host.prelude_refs().ok()?.object_prototype.clone().restore(self.ctx).ok()?;
            Some(!object.is_proxy() && object.get_prototype()? == known)
        };
        plain().unwrap_or(false)
    }

    /// Reads an object that is not plain: bytes, an object of the host or an error. Returns `None` if it can be read
    /// like a plain one, such as an instance of a class of the script.
    fn special(&mut self, object: &Object<'js>) -> ConversionResult<Option<Value>> {
        if object.is_typed_array::<u8>() || object.is_array_buffer() {
            return self.bytes(object).map(|bytes| Some(Value::Bytes(bytes)));
        }
        if let Some(Sealed::Object(thing)) = self.host.open(self.ctx, object.as_value()) {
            return Ok(Some(Value::Object(thing)));
        }
        if object.is_error() {
            return self.error(object).map(Some);
        }
        let prelude_refs = self.host.prelude_refs().map_err(ConversionError::Failed)?;
        let kind: Option<String> = prelude_refs
            .kind
            .clone()
            .restore(self.ctx)
            .and_then(|kind| kind.call((object.clone(),)))
            .map_err(|error| self.failed(error))?;
        match kind {
            Some(kind) => Err(ConversionError::misfit(format!("a {kind} cannot leave the script"))),
            None => Ok(None),
        }
    }

    /// Reads the bytes of a `Uint8Array` or an `ArrayBuffer`.
    ///
    /// The prelude copies them to a string of one character per byte. Direct access to the VM's buffer would need
    /// `unsafe` code, which has to guarantee that no script runs meanwhile.
    fn bytes(&mut self, object: &Object<'js>) -> ConversionResult<Vec<u8>> {
        let prelude_refs = self.host.prelude_refs().map_err(ConversionError::Failed)?;
        let read = || {
            let letters: JsString =
                prelude_refs.letters.clone().restore(self.ctx)?.call((object.clone(),))?;
            letters.to_string()
        };
        let letters = read().map_err(|error| self.failed(error))?;
        self.charge(letters.len())?;
        Ok(letters.chars().map(|letter| letter as u8).collect())
    }

    /// Reads an error as a map of its name, its message and its own fields.
    fn error(&mut self, object: &Object<'js>) -> ConversionResult<Value> {
        let mut fields = Map::new();
        for name in ["name", "message"] {
            if let Some(text) = super::errors::text(self.ctx, object, name) {
                self.charge(text.len())?;
                fields.insert(name.to_owned(), Value::Str(text));
            }
        }
        fields.extend(self.fields(object)?);
        Ok(Value::Map(fields))
    }

    fn list(&mut self, array: &Array<'js>) -> ConversionResult<Value> {
        let length = self.length(array)?;
        self.charge(TABLE)?;
        // No capacity is reserved, because a script can set the length of an array without any items.
        let mut items = Vec::new();
        for at in 0..length {
            self.charge(size_of::<Value>())?;
            let item = array.get(at).map_err(|error| self.failed(error))?;
            items.push(self.read(item).map_err(|trouble| trouble.within(|| ValueStep::Index(at)))?);
        }
        Ok(Value::List(items))
    }

    /// Returns the length that an array claims. Reads the property, because `Array::len` panics past `i32::MAX`.
    fn length(&self, array: &Array<'js>) -> ConversionResult<usize> {
        // The bytes that an item takes in the VM at least. Holes take none.
        const ITEM: u64 = 16;
        let most = (self.host.cx.meter().limits().memory / ITEM) as f64;
        let length: f64 =
            array.as_object().get(PredefinedAtom::Length).map_err(|error| self.failed(error))?;
        if length > most {
            return Err(ConversionError::misfit(format!(
                "the array claims {length} items, more than the memory limit allows"
            )));
        }
        Ok(length as usize)
    }

    /// Reads the own enumerable fields of an object, without those that are `undefined`.
    fn fields(&mut self, object: &Object<'js>) -> ConversionResult<Map> {
        self.charge(TABLE)?;
        let mut fields = Map::new();
        for entry in object.own_props::<JsString, JsValue>(Filter::new().string().enum_only()) {
            let (name, value) = entry.map_err(|error| self.failed(error))?;
            if value.is_undefined() {
                continue;
            }
            let name = string(self.host, self.ctx, &name);
            self.charge(name.len() + size_of::<(String, Value, usize)>())?;
            let value = self
                .read_in(Some(object), value)
                .map_err(|trouble| trouble.within(|| ValueStep::Name(name.clone())))?;
            fields.insert(name, value);
        }
        Ok(fields)
    }

    fn failed(&self, error: rquickjs::Error) -> ConversionError {
        ConversionError::Failed(from_js_error(self.host, self.ctx, error))
    }

    /// Counts bytes that are about to be copied. Checks the limits once per [`CHARGE`] bytes.
    fn charge(&mut self, bytes: usize) -> ConversionResult<()> {
        let before = self.bytes / CHARGE;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes / CHARGE == before {
            return Ok(());
        }
        let meter = self.host.cx.meter();
        if meter.must_check() {
            meter.check().map_err(ConversionError::Failed)?;
        }
        meter.allow_memory(self.bytes as u64).map_err(ConversionError::Failed)
    }
}

fn number_value(number: f64) -> Value {
    let whole = number as i64;
    let is_whole = whole as f64 == number && whole.unsigned_abs() <= MAX_INTEGER.unsigned_abs();
    if is_whole && (number != 0.0 || number.is_sign_positive()) {
        Value::Int(whole)
    } else {
        Value::Num(number)
    }
}

/// Moves a value into the VM.
///
/// # Errors
/// When the value holds an integer beyond 2^53, nests too deep, or exceeds the memory limit.
pub(super) fn to_js<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, value: Value) -> Result<JsValue<'js>> {
    if value.is_nil() {
        return Ok(JsValue::new_undefined(ctx.clone()));
    }
    inner(host, ctx, value, "the value")
}

/// Moves a bridge's constant into the VM. `Nil` becomes `null`, so that scripts can tell it from a missing name.
///
/// # Errors
/// As [`to_js`].
pub(super) fn constant<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, value: Value) -> Result<JsValue<'js>> {
    inner(host, ctx, value, "the constant")
}

fn inner<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, value: Value, what: &str) -> Result<JsValue<'js>> {
    host.memory.allow(host, weight(&value, 0))?;
    write(host, ctx, value, 0).map_err(|trouble| trouble.into_error(what))
}

fn write<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    value: Value,
    depth: usize,
) -> ConversionResult<JsValue<'js>> {
    let failed = |error| ConversionError::Failed(from_js_error(host, ctx, error));
    Ok(match value {
        Value::Nil => JsValue::new_null(ctx.clone()),
        Value::Bool(value) => JsValue::new_bool(ctx.clone(), value),
        Value::Int(value) if value.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => {
            JsValue::new_number(ctx.clone(), value as f64)
        }
        Value::Int(value) => {
            return Err(ConversionError::misfit(format!(
                "the integer {value} is past 2^53, the largest that JavaScript can hold"
            )));
        }
        // `new_number` would make zero an integer, and -0 would lose its sign.
        Value::Num(value) if value == 0.0 => JsValue::new_float(ctx.clone(), value),
        Value::Num(value) => JsValue::new_number(ctx.clone(), value),
        Value::Str(text) => JsString::from_str(ctx.clone(), &text).map_err(failed)?.into_value(),
        Value::Bytes(bytes) => TypedArray::new_copy(ctx.clone(), bytes).map_err(failed)?.into_value(),
        Value::List(_) | Value::Map(_) if depth == MAX_DEPTH => {
            return Err(ConversionError::too_deep("objects"));
        }
        Value::List(items) => {
            let array = Array::new(ctx.clone()).map_err(failed)?;
            for (at, item) in items.into_iter().enumerate() {
                let item = write(host, ctx, item, depth + 1)
                    .map_err(|trouble| trouble.within(|| ValueStep::Index(at)))?;
                define(&array, at as u32, item).map_err(failed)?;
            }
            array.into_value()
        }
        Value::Map(fields) => {
            let object = Object::new(ctx.clone()).map_err(failed)?;
            for (name, value) in fields {
                match write(host, ctx, value, depth + 1) {
                    Ok(value) => define(&object, name.as_str(), value).map_err(failed)?,
                    Err(trouble) => return Err(trouble.within(|| ValueStep::Name(name))),
                }
            }
            object.into_value()
        }
        Value::Callback(callback) => function(host, ctx, callback).map_err(failed)?,
        Value::Object(object) => objects::thing(host, ctx, object).map_err(failed)?,
    })
}

/// Defines an own property. An assignment would run setters of the prototypes, which a script can change.
fn define<'js, K: rquickjs::IntoAtom<'js>>(
    object: &Object<'js>,
    name: K,
    value: JsValue<'js>,
) -> rquickjs::Result<()> {
    object.prop(name, Property::from(value).configurable().enumerable().writable())
}

/// Converts a callback to a function. A callback of this session becomes the function itself; a callback of another
/// session becomes a function that calls it there.
fn function<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, callback: Callback) -> rquickjs::Result<JsValue<'js>> {
    if let Some(held) = host.callbacks.function(callback.number()) {
        return Ok(held.function.restore(ctx)?.into_value());
    }
    let method = Method::future("callback", move |_, mut arguments| {
        let callback = callback.clone();
        async move { callback.call(arguments.rest().0).await }
    });
    Ok(functions::function(host, ctx, &method, false)?.into_value())
}
