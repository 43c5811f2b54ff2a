//! Host objects as userdata, whose metamethods look up the methods and fields of their class.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Field};
use llmspell_core::{Class, Error, Items, Object, Value};
use mlua::{AnyUserData, Function, Lua, MetaMethod, UserData, UserDataMethods, Value as LuaValue};

use super::errors::{beginning, raise, to_lua_error};
use super::functions;
use super::values::to_lua;
use super::vm_state::LuauVmState;

/// The Luau functions for methods that scripts have used, by the address of the class.
#[derive(Default)]
pub(super) struct Classes(RefCell<HashMap<usize, UsedClass>>);

/// A class with the functions for its methods, by their names.
struct UsedClass {
    /// Keeps the class alive, and so its address.
    _class: Arc<Class>,
    functions: HashMap<Cow<'static, str>, Function>,
}

impl Classes {
    fn method(
        &self,
        host: &Rc<LuauVmState>,
        lua: &Lua,
        class: &Arc<Class>,
        name: &str,
    ) -> mlua::Result<Option<Function>> {
        let address = Arc::as_ptr(class).addr();
        if let Some(known) = self.0.borrow().get(&address).and_then(|used| used.functions.get(name)) {
            return Ok(Some(known.clone()));
        }
        let Some(method) = class.methods.iter().find(|method| method.name == name) else {
            return Ok(None);
        };
        let function = functions::function(host, lua, method, 1)?;
        self.keep(class, method.name.clone(), &function);
        Ok(Some(function))
    }

    /// Returns the function that a `for` loop over an object of the class calls for the next item.
    fn step(
        &self,
        host: &Rc<LuauVmState>,
        lua: &Lua,
        class: &Arc<Class>,
        items: &Items,
    ) -> mlua::Result<Function> {
        // The loop function is stored under a name that no method can have.
        const STEP: &str = "";
        let address = Arc::as_ptr(class).addr();
        if let Some(known) = self.0.borrow().get(&address).and_then(|used| used.functions.get(STEP)) {
            return Ok(known.clone());
        }
        let function = functions::step(host, lua, &items.next)?;
        self.keep(class, STEP.into(), &function);
        Ok(function)
    }

    fn keep(&self, class: &Arc<Class>, name: Cow<'static, str>, function: &Function) {
        let mut classes = self.0.borrow_mut();
        let used = classes
            .entry(Arc::as_ptr(class).addr())
            .or_insert_with(|| UsedClass { _class: Arc::clone(class), functions: HashMap::new() });
        used.functions.insert(name, function.clone());
    }
}

/// The userdata of a host object.
struct Thing {
    object: Object,
    host: Rc<LuauVmState>,
}

impl UserData for Thing {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, this, key: LuaValue| this.index(lua, &key));
        methods.add_meta_method(MetaMethod::NewIndex, |lua, this, (_, _): (LuaValue, LuaValue)| {
            let class = &this.object.class().name;
            Err::<(), _>(raise(&this.host, lua, Error::argument(format!("a {class} cannot be changed"))))
        });
        methods.add_meta_method(MetaMethod::Iter, |lua, this, ()| this.iterate(lua));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.object.class().name.to_string()));
    }
}

impl Thing {
    fn index(&self, lua: &Lua, key: &LuaValue) -> mlua::Result<LuaValue> {
        let (host, class) = (&self.host, self.object.class());
        let key = key.as_string().map(beginning).unwrap_or_default();
        if let Some(method) = host.classes.method(host, lua, class, &key)? {
            return Ok(LuaValue::Function(method));
        }
        let Some(field) = class.fields.iter().find(|field| field.name == key) else {
            if let Some(entries) = &class.entries {
                let found = self.read(lua, entries)?;
                let found = found.as_table().map(|table| table.raw_get(key.to_ascii_lowercase()));
                return found.unwrap_or(Ok(LuaValue::Nil));
            }
            let known = class.fields.iter().map(|field| field.name.to_string());
            let methods = class.methods.iter().map(|method| format!(":{}()", method.name));
            let known: Vec<_> = known.chain(methods).collect();
            let message = format!("a {} has no `{key}`; it has {}", class.name, known.join(", "));
            return Err(raise(host, lua, Error::argument(message)));
        };
        self.read(lua, field)
    }

    fn read(&self, lua: &Lua, field: &Field) -> mlua::Result<LuaValue> {
        let arguments = Arguments::new(vec![Value::Object(self.object.clone())]);
        (field.get)(&self.host.scope().cx, arguments)
            .and_then(|value| to_lua(&self.host, lua, value))
            .map_err(|error| raise(&self.host, lua, error))
    }

    /// Returns the function that a `for` loop calls for the next item, or the next name and value, and its argument.
    fn iterate(&self, lua: &Lua) -> mlua::Result<(Function, Option<AnyUserData>)> {
        let class = self.object.class();
        if let Some(items) = &class.items {
            let step = self.host.classes.step(&self.host, lua, class, items)?;
            return Ok((step, Some(userdata(&self.host, lua, self.object.clone())?)));
        }
        let Some(entries) = &class.entries else {
            let message = format!("a {} cannot be iterated", class.name);
            return Err(raise(&self.host, lua, Error::argument(message)));
        };
        let entries = self.read(lua, entries)?;
        let pairs = entries.as_table().map(|table| table.pairs::<LuaValue, LuaValue>().collect());
        let pairs: Vec<_> = pairs.unwrap_or(Ok(Vec::new()))?;
        let mut pairs = pairs.into_iter();
        let step =
            lua.create_function_mut(move |_, ()| Ok(pairs.next().unwrap_or((LuaValue::Nil, LuaValue::Nil))))?;
        Ok((step, None))
    }
}

/// Returns the userdata of an object. It is the same userdata as long as the script holds it.
pub(super) fn userdata(host: &Rc<LuauVmState>, lua: &Lua, object: Object) -> mlua::Result<AnyUserData> {
    let objects = &host.prelude_refs().map_err(to_lua_error)?.objects;
    // A double holds 53 bits. Systems hand out addresses of at most 48 bits unless a program asks for more.
    let address = object.address() as f64;
    if let Some(known) = objects.raw_get::<Option<AnyUserData>>(address)? {
        return Ok(known);
    }
    let data = lua.create_userdata(Thing { object, host: Rc::clone(host) })?;
    objects.raw_set(address, &data)?;
    Ok(data)
}

/// Returns the object inside a userdata, or `None` if the userdata is not a host object.
pub(super) fn object_of(data: &AnyUserData) -> Option<Object> {
    data.borrow::<Thing>().ok().map(|thing| thing.object.clone())
}
