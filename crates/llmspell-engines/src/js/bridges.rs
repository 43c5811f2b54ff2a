//! Bridges as read-only globals. A bridge's members are created when a script first reads the global, because most
//! scripts use few bridges.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::bridge::Arguments;
use llmspell_core::{Bridge, Error, ErrorKind, Method, Result};
use rquickjs::object::Property;
use rquickjs::{Ctx, Object};

use super::errors::from_js_error;
use super::functions;
use super::names::camel_case;
use super::sandbox::SHARED;
use super::values;
use super::vm_state::JsVmState;

/// Installs a bridge as a global whose members are created later, by [`members`].
///
/// # Errors
/// When the bridge has the name of a built-in.
pub(super) fn install(host: &Rc<JsVmState>, ctx: &Ctx<'_>, bridge: &Arc<Bridge>) -> Result<()> {
    let failed = |error| from_js_error(host, ctx, error);
    let name = &*bridge.name;
    let is_shared = SHARED.contains(&name);
    if !is_shared && ctx.globals().contains_key(name).map_err(failed)? {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the bridge `{name}` has the name of a built-in of JavaScript"),
        ));
    }
    host.reserved.borrow_mut().insert(name.to_owned());
    host.bridges.borrow_mut().insert(bridge.name.clone(), Arc::clone(bridge));
    // The prelude's global of this name takes in the members when it is first read.
    if is_shared {
        return Ok(());
    }
    let announce = host.prelude_refs()?.announce.clone().restore(ctx).map_err(failed)?;
    announce.call((name,)).map_err(failed)
}

/// Creates the frozen members of a bridge: methods and constants. Returns `None` if there is no bridge of this name.
///
/// # Errors
/// When memory runs out, or reading a constant fails.
pub(super) fn members<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, name: &str) -> Result<Option<Object<'js>>> {
    let failed = |error| from_js_error(host, ctx, error);
    let Some(bridge) = host.bridges.borrow().get(name).cloned() else { return Ok(None) };
    let members = Object::new(ctx.clone()).map_err(failed)?;
    for method in &bridge.methods {
        let function = functions::function(host, ctx, method, false).map_err(failed)?;
        members.prop(camel_case(&method.name), Property::from(function).enumerable()).map_err(failed)?;
    }
    for constant in &bridge.constants {
        let value = (constant.get)(&host.cx, Arguments::new(Vec::new()))?;
        let value = values::constant(host, ctx, value)?;
        members.prop(camel_case(&constant.name), Property::from(value).enumerable()).map_err(failed)?;
    }
    let harden = host.prelude_refs()?.harden.clone().restore(ctx).map_err(failed)?;
    harden.call((members,)).map(Some).map_err(failed)
}

/// Adds a host function as a read-only global.
///
/// # Errors
/// When a global of this name exists.
pub(super) fn register(host: &Rc<JsVmState>, ctx: &Ctx<'_>, method: &Method) -> Result<()> {
    let failed = |error| from_js_error(host, ctx, error);
    let name = camel_case(&method.name);
    if ctx.globals().contains_key(name.as_str()).map_err(failed)? {
        return Err(Error::new(ErrorKind::Conflict, format!("there is a global named `{name}` already")));
    }
    let function = functions::function(host, ctx, method, false).map_err(failed)?;
    ctx.globals().prop(name.as_str(), Property::from(function).enumerable()).map_err(failed)?;
    host.reserved.borrow_mut().insert(name);
    Ok(())
}
