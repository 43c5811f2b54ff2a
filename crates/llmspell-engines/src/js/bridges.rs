//! Bridges as read-only globals.

use std::rc::Rc;

use llmspell_core::bridge::Arguments;
use llmspell_core::{Bridge, Error, ErrorKind, Method, Result};
use rquickjs::object::Property;
use rquickjs::{Ctx, Function, Object};

use super::errors::from_js_error;
use super::functions;
use super::host::Host;
use super::names::camel_case;
use super::sandbox::SHARED;
use super::values;

/// Installs a bridge.
///
/// # Errors
/// When it is named like a built-in.
pub(super) fn install(host: &Rc<Host>, ctx: &Ctx<'_>, bridge: &Bridge) -> Result<()> {
    let failed = |error| from_js_error(host, ctx, error);
    let is_shared = SHARED.contains(&bridge.name);
    if !is_shared && ctx.globals().contains_key(bridge.name).map_err(failed)? {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the bridge `{}` has the name of a built-in of JavaScript", bridge.name),
        ));
    }
    let members = Object::new(ctx.clone()).map_err(failed)?;
    for method in &bridge.methods {
        let function = functions::function(host, ctx, method, false).map_err(failed)?;
        members.prop(camel_case(method.name), Property::from(function).enumerable()).map_err(failed)?;
    }
    for constant in &bridge.constants {
        let value = (constant.get)(&host.cx, Arguments::new(Vec::new()))?;
        let value = values::constant(host, ctx, value)?;
        members.prop(camel_case(constant.name), Property::from(value).enumerable()).map_err(failed)?;
    }
    let kit = host.kit()?;
    let harden: Function = kit.harden.clone().restore(ctx).map_err(failed)?;
    harden.call::<_, ()>((members.clone(),)).map_err(failed)?;
    host.reserved.borrow_mut().insert(bridge.name.to_owned());
    if is_shared {
        let shared = kit.shared.clone().restore(ctx).map_err(failed)?;
        return shared.set(bridge.name, members).map_err(failed);
    }
    ctx.globals().prop(bridge.name, Property::from(members).enumerable()).map_err(failed)
}

/// Adds a host function as a read-only global.
///
/// # Errors
/// When the name is taken.
pub(super) fn register(host: &Rc<Host>, ctx: &Ctx<'_>, method: &Method) -> Result<()> {
    let failed = |error| from_js_error(host, ctx, error);
    let name = camel_case(method.name);
    if ctx.globals().contains_key(name.as_str()).map_err(failed)? {
        return Err(Error::new(ErrorKind::Conflict, format!("there is a global named `{name}` already")));
    }
    let function = functions::function(host, ctx, method, false).map_err(failed)?;
    ctx.globals().prop(name.as_str(), Property::from(function).enumerable()).map_err(failed)?;
    host.reserved.borrow_mut().insert(name);
    Ok(())
}
