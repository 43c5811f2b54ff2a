//! Opens a JavaScript VM with a closed sandbox.
//!
//! The VM is made of chosen intrinsics only, so `performance` does not exist. `prelude/core.js` removes `eval`, shared
//! memory and weak references. It replaces `Function`, `Date`, `Math.random` and natives that would run long without an
//! interrupt. Bridges become read-only globals. A script can change other built-ins; the prelude keeps its own
//! references to those that it needs.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::{Bridge, Limit, LogLevel, Map, Result};
use rquickjs::context::intrinsic;
use rquickjs::{Context, Ctx, Function, Object, Runtime, Value as JsValue};

use super::errors::{from_js_error, throw};
use super::modules::Finder;
use super::vm_state::{HeldValue, JsPreludeRefs, JsVmState};
use super::{bridges, limits, prelude};

/// Globals of the prelude that a bridge of the same name adds its members to.
pub(super) const SHARED: [&str; 2] = ["console", "crypto"];

/// The intrinsics of a VM. None of them measures time; weak references are for the prelude only, which removes them.
type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
    intrinsic::WeakRef,
);

/// Opens a VM with the bridges as read-only globals.
///
/// # Errors
/// When the VM cannot be opened, or a bridge has the name of a built-in.
pub(super) fn open(host: &Rc<JsVmState>, given: &[Arc<Bridge>]) -> Result<(Runtime, Context)> {
    let no_vm = |error: rquickjs::Error| llmspell_core::Error::internal(format!("cannot make a VM: {error}"));
    let runtime = Runtime::new().map_err(no_vm)?;
    let context = Context::custom::<Intrinsics>(&runtime).map_err(no_vm)?;
    runtime.set_loader(Finder(Rc::clone(host)), Finder(Rc::clone(host)));
    let noting = Rc::clone(host);
    runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, is_handled| {
        note_rejection(&noting, &ctx, promise, reason, is_handled);
    })));
    let prepared = context.with(|ctx| {
        prepare(host, &ctx).map_err(|error| from_js_error(host, &ctx, error))?;
        given.iter().try_for_each(|bridge| bridges::install(host, &ctx, bridge))?;
        host.memory.put_canary(host, &ctx);
        Ok(())
    });
    if let Err(error) = prepared {
        host.let_go();
        return Err(error);
    }
    limits::arm(&runtime, host);
    Ok((runtime, context))
}

/// Records a rejection without a handler, or removes it when it gets one.
fn note_rejection<'js>(
    host: &JsVmState,
    ctx: &Ctx<'js>,
    promise: JsValue<'js>,
    reason: JsValue<'js>,
    is_handled: bool,
) {
    let promise = HeldValue::save(ctx, promise);
    let mut rejections = host.rejections.borrow_mut();
    if is_handled {
        rejections.retain(|known| known.promise != promise);
    } else {
        let reason = HeldValue::save(ctx, reason);
        rejections.push(super::vm_state::Rejection { promise, reason });
    }
}

fn prepare(host: &Rc<JsVmState>, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let core: Function = prelude::load(ctx, "core")?;
    let prelude_refs: Object = core.call((primitives(host, ctx)?,))?;
    let keep =
        |name: &str| Ok::<_, rquickjs::Error>(HeldValue::save(ctx, prelude_refs.get::<_, Function>(name)?));
    let keep_object =
        |name: &str| Ok::<_, rquickjs::Error>(HeldValue::save(ctx, prelude_refs.get::<_, Object>(name)?));
    host.set_kit(JsPreludeRefs {
        failure: keep("failure")?,
        thing: keep("thing")?,
        iterate: keep("iterate")?,
        seal_of: keep("sealOf")?,
        kind: keep("kind")?,
        describe: keep("describe")?,
        well_formed: keep("wellFormed")?,
        letters: keep("letters")?,
        harden: keep("harden")?,
        halt: keep("halt")?,
        here: keep("here")?,
        announce: keep("announce")?,
        object_prototype: keep_object("objectPrototype")?,
        _spare: keep_object("spare")?,
    });
    Ok(())
}

/// Creates the functions, written in Rust, that the prelude is built on.
fn primitives<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("prelude", prelude::NAME)?;
    let load = |ctx: Ctx<'js>, name: String| prelude::load(&ctx, &name);
    object.set("load", Function::new(ctx.clone(), load)?)?;
    let shared = Rc::clone(host);
    let bridge = move |ctx: Ctx<'js>, name: String| {
        bridges::members(&shared, &ctx, &name).map_err(|error| throw(&shared, &ctx, error))
    };
    object.set("bridge", Function::new(ctx.clone(), bridge)?)?;
    let shared = Rc::clone(host);
    let out_of_memory = move || {
        shared.cx.meter().trip(Limit::Memory);
    };
    object.set("outOfMemory", Function::new(ctx.clone(), out_of_memory)?)?;
    let shared = Rc::clone(host);
    object.set("isOver", Function::new(ctx.clone(), move || shared.state().is_err())?)?;
    let shared = Rc::clone(host);
    let poll = move |ctx: Ctx<'js>| {
        let meter = shared.cx.meter();
        if meter.must_check() { meter.check().map_err(|error| throw(&shared, &ctx, error)) } else { Ok(()) }
    };
    object.set("poll", Function::new(ctx.clone(), poll)?)?;
    let shared = Rc::clone(host);
    let write = move |ctx: Ctx<'js>, text: JsValue<'js>| {
        let mut line =
            text.as_string().map(|text| super::values::string(&shared, &ctx, text)).unwrap_or_default();
        line.push('\n');
        shared.scope().console().write(line).map_err(|error| throw(&shared, &ctx, error))
    };
    object.set("write", Function::new(ctx.clone(), write)?)?;
    let shared = Rc::clone(host);
    let log = move |ctx: Ctx<'js>, level: String, text: JsValue<'js>| {
        let text =
            text.as_string().map(|text| super::values::string(&shared, &ctx, text)).unwrap_or_default();
        let level = match level.as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            _ => LogLevel::Info,
        };
        shared.scope().log(level, text, Map::new()).map_err(|error| throw(&shared, &ctx, error))
    };
    object.set("log", Function::new(ctx.clone(), log)?)?;
    let shared = Rc::clone(host);
    let now = move |ctx: Ctx<'js>| {
        let now = shared.scope().clock().now().map_err(|error| throw(&shared, &ctx, error))?;
        Ok::<_, rquickjs::Error>((now.as_secs_f64() * 1000.0).floor())
    };
    object.set("now", Function::new(ctx.clone(), now)?)?;
    super::web::add(host, ctx, &object)?;
    Ok(object)
}
