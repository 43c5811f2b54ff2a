//! Host objects as objects of the VM. Their prototypes hold the methods and fields of their classes.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Field};
use llmspell_core::{Class, Error, Object as HostObject, Value};
use rquickjs::function::This;
use rquickjs::object::{Accessor, Property};
use rquickjs::{Ctx, Function, Object, Symbol, Value as JsValue};

use super::errors::{self, throw};
use super::functions;
use super::names::camel_case;
use super::values::to_js;
use super::vm_state::{HeldValue, JsUsedClass, JsVmState, Sealed};

/// Returns the VM's object for a host object. It is the same one as long as the script holds it.
pub(super) fn thing<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    object: HostObject,
) -> rquickjs::Result<JsValue<'js>> {
    let prelude_refs = host.prelude_refs().map_err(|error| throw(host, ctx, error))?;
    let prototype = prototype(host, ctx, object.class())?;
    let entries = entries(host, ctx, &object)?;
    // A double holds 53 bits. Systems hand out addresses of at most 48 bits unless a program asks for more.
    let address = object.address() as f64;
    let seal = host.seal(ctx, Sealed::Object(object))?;
    prelude_refs.thing.clone().restore(ctx)?.call((address, prototype, seal, entries))
}

/// Returns the prototype of a class, which is made when the script first uses the class.
fn prototype<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, class: &Arc<Class>) -> rquickjs::Result<Object<'js>> {
    let address = Arc::as_ptr(class).addr();
    let known = host.classes.borrow().get(&address).cloned();
    if let Some(known) = known {
        return known.prototype.restore(ctx);
    }
    let prototype = Object::new(ctx.clone())?;
    for method in &class.methods {
        let function = functions::function(host, ctx, method, true)?;
        prototype.prop(camel_case(&method.name), Property::from(function))?;
    }
    for field in &class.fields {
        let (host, of) = (Rc::clone(host), field.clone());
        let get = move |ctx: Ctx<'js>, this: This<JsValue<'js>>| read_from(&host, &ctx, &of, &this.0);
        prototype.prop(camel_case(&field.name), Accessor::new_get(get).enumerable())?;
    }
    if let Some(items) = &class.items {
        let next = functions::function(host, ctx, &items.next, true)?;
        let stop = items.stop.as_ref().map(|stop| functions::function(host, ctx, stop, true)).transpose()?;
        let prelude_refs = host.prelude_refs().map_err(|error| throw(host, ctx, error))?;
        let iterate: Function = prelude_refs.iterate.clone().restore(ctx)?.call((next, stop))?;
        prototype.prop(Symbol::async_iterator(ctx.clone()), Property::from(iterate))?;
    }
    let used = JsUsedClass { _class: Arc::clone(class), prototype: HeldValue::save(ctx, prototype.clone()) };
    host.classes.borrow_mut().insert(address, used);
    Ok(prototype)
}

/// Reads a field of `this`, which must be a host object.
fn read_from<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    field: &Field,
    this: &JsValue<'js>,
) -> rquickjs::Result<JsValue<'js>> {
    match host.open(ctx, this) {
        Some(Sealed::Object(object)) => read(host, ctx, field, &object),
        _ => {
            let name = camel_case(&field.name);
            let error = Error::argument(format!("`{name}` is read from what does not have it"));
            Err(throw(host, ctx, error))
        }
    }
}

fn read<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    field: &Field,
    object: &HostObject,
) -> rquickjs::Result<JsValue<'js>> {
    let arguments = Arguments::new(vec![Value::Object(object.clone())]);
    (field.get)(&host.scope(), arguments)
        .and_then(|value| to_js(host, ctx, value))
        .map_err(|error| errors::throw(host, ctx, error))
}

/// Returns the entries of an object, if its class has any. Scripts look them up by name in any case.
fn entries<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    object: &HostObject,
) -> rquickjs::Result<Option<JsValue<'js>>> {
    object.class().entries.as_ref().map(|field| read(host, ctx, field, object)).transpose()
}
