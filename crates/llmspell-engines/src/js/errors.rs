//! Converts errors between the host and JavaScript scripts.
//!
//! A host [`Error`] reaches a script as a `SpellError`, with argument, field and method names in camelCase. The VM
//! keeps the host error behind it in a seal, so a `SpellError` that a script throws again is that same error. An error
//! that ends the run (a limit or a cancellation) is never thrown: the script stops where it is.

use std::rc::Rc;

use llmspell_core::{Error, ErrorKind, Limit, StackFrame, Value};
use rquickjs::{Ctx, Object, Value as JsValue};

use super::names::spoken;
use super::vm_state::{JsVmState, Sealed};
use super::{trace, values};

/// Throws a host error in the VM, with the script's position. An error that ends the run stops the script for good
/// instead.
pub(super) fn throw(host: &Rc<JsVmState>, ctx: &Ctx<'_>, error: Error) -> rquickjs::Error {
    if error.is_final() {
        host.end(ctx, error);
        let halt = || host.prelude_refs().ok()?.halt.clone().restore(ctx).ok()?.call::<_, ()>(()).err();
        return halt().unwrap_or(rquickjs::Error::Unknown);
    }
    let error = locate(host, ctx, error);
    match failure(host, ctx, &error, None) {
        Ok(failure) => ctx.throw(failure),
        Err(error) => error,
    }
}

/// Adds the running script's position and traceback, unless the error has them already.
pub(super) fn locate(host: &JsVmState, ctx: &Ctx<'_>, error: Error) -> Error {
    located(error, trace::frames(&trace::here(host, ctx)))
}

/// Adds a position and a traceback, unless the error has them already.
pub(super) fn located(error: Error, frames: Vec<StackFrame>) -> Error {
    let error = match frames.first() {
        Some(frame) => error.at(frame.place.clone()),
        None => error,
    };
    if error.traceback().is_empty() { error.with_traceback(frames) } else { error }
}

/// Creates the `SpellError` of an error, with names as JavaScript spells them. `stack` is the script's stack at the
/// failed call, if that differs from the current one.
pub(super) fn failure<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    error: &Error,
    stack: Option<&str>,
) -> rquickjs::Result<JsValue<'js>> {
    let bridges = host.bridges.borrow();
    let is_method = |bridge: &str, name: &str| {
        bridges.get(bridge).is_some_and(|bridge| bridge.methods.iter().any(|method| method.name == name))
    };
    let error = error.clone().reworded(|text| spoken(text, is_method));
    drop(bridges);
    let fields = Object::new(ctx.clone())?;
    fields.set("message", error.message())?;
    fields.set("kind", error.kind().as_str())?;
    fields.set("retryable", error.is_retryable())?;
    if !error.hints().is_empty() {
        fields.set("hint", error.hints().join("\n"))?;
    }
    if let Some(call) = error.call() {
        fields.set("provider", call.provider.as_deref())?;
        fields.set("status", call.status)?;
        fields.set("requestId", call.request_id.as_deref())?;
        fields.set("attempts", call.attempts)?;
        fields.set("retryAfter", call.retry_after)?;
        fields.set("limitTokens", call.limit_tokens)?;
        fields.set("promptTokens", call.prompt_tokens)?;
        fields.set("body", call.body.as_deref())?;
        fields.set("partial", call.partial.as_deref())?;
        let usage = call.usage.as_ref().and_then(|usage| llmspell_core::to_value(usage).ok());
        if let Some(usage) = usage.and_then(|usage| values::to_js(host, ctx, usage).ok()) {
            fields.set("usage", usage)?;
        }
    }
    if let Some(output) = error.output() {
        fields.set("path", output.path.as_str())?;
        fields.set("expected", output.expected.as_str())?;
        fields.set("got", output.got.as_str())?;
        fields.set("raw", output.raw.as_str())?;
    }
    let prelude_refs = host.prelude_refs().map_err(|_| rquickjs::Error::Unknown)?;
    let seal = host.seal(ctx, Sealed::Error(error))?;
    prelude_refs.failure.clone().restore(ctx)?.call((fields, stack, seal))
}

/// Converts an error that came out of the VM.
pub(super) fn from_js_error(host: &Rc<JsVmState>, ctx: &Ctx<'_>, error: rquickjs::Error) -> Error {
    match error {
        rquickjs::Error::Exception => raised(host, ctx, &ctx.catch()),
        rquickjs::Error::Allocation => host.cx.meter().trip(Limit::Memory),
        other => host.state().err().unwrap_or_else(|| Error::runtime(other.to_string())),
    }
}

/// Returns the error behind a value that a script threw, or rejected a promise with.
pub(super) fn raised<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, value: &JsValue<'js>) -> Error {
    let object = value.as_object();
    // After the run has ended, nothing is read that could run the script's code, such as a getter.
    if let Err(error) = host.state() {
        let stack =
            object.filter(|_| value.is_uncatchable_error()).and_then(|object| text(ctx, object, "stack"));
        return host.end_at(located(error, trace::frames(&stack.unwrap_or_default())));
    }
    let Some(object) = object else { return thrown_value(host, ctx, value) };
    let known = match host.open(ctx, value) {
        Some(Sealed::Error(error)) => Some(error),
        _ => None,
    };
    if known.is_none() && !value.is_error() {
        return thrown_value(host, ctx, value);
    }
    let message = text(ctx, object, "message").unwrap_or_default();
    let error = match known {
        Some(error) if error.message() == message => error,
        Some(error) => renamed(&error, message),
        None => thrown_error(host, ctx, object, message),
    };
    let stack = text(ctx, object, "stack").unwrap_or_default();
    // A getter that the reads above called may have reached a limit.
    host.state().err().unwrap_or_else(|| located(error, trace::frames(&stack)))
}

/// Converts an `Error` of the script: its message, its name unless it is `Error`, its cause as a hint, and its own
/// fields as the value.
fn thrown_error<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, object: &Object<'js>, message: String) -> Error {
    let name = text(ctx, object, "name").filter(|name| !name.is_empty() && name != "Error");
    if name.as_deref() == Some("SpellError") {
        let kind = text(ctx, object, "kind").and_then(|kind| ErrorKind::from_name(&kind));
        let error = Error::new(kind.unwrap_or(ErrorKind::Runtime), message.as_str());
        // A script cannot end the run by an error of its own.
        return if error.is_final() { Error::runtime(message) } else { error };
    }
    let shown = match name {
        Some(name) if message.is_empty() => name,
        Some(name) => format!("{name}: {message}"),
        None if message.is_empty() => "Error".to_owned(),
        None => message,
    };
    let cause = get(ctx, object, "cause").and_then(|cause| describe(host, ctx, &cause));
    let error = match cause {
        Some(cause) if cause != "undefined" => {
            Error::runtime(shown).hint(format!("it was caused by: {cause}"))
        }
        _ => Error::runtime(shown),
    };
    match values::own_fields(host, ctx, object) {
        Some(fields) => error.with_value(fields),
        None => error,
    }
}

/// Converts a thrown value that is not an `Error`.
fn thrown_value<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, value: &JsValue<'js>) -> Error {
    let message = value.as_object().and_then(|object| text(ctx, object, "message"));
    let shown = message
        .or_else(|| describe(host, ctx, value))
        .filter(|text| !text.starts_with("[object "))
        .unwrap_or_else(|| "the script threw an object".to_owned());
    match values::from_js(host, ctx, value.clone(), &mut 0, || "the error".to_owned()) {
        Ok(Value::Nil) | Err(_) => Error::runtime(shown),
        Ok(value) => Error::runtime(shown).with_value(value),
    }
}

/// Returns the host error with the message that the script gave its `SpellError`.
fn renamed(cause: &Error, message: String) -> Error {
    let mut error = Error::new(cause.kind(), message).with_retryable(cause.is_retryable());
    if let Some(call) = cause.call() {
        error = error.with_call(call.clone());
    }
    if let Some(output) = cause.output() {
        error = error.with_output(output.clone());
    }
    cause.hints().iter().fold(error, Error::hint)
}

/// Converts a value to text for the message of an error.
pub(super) fn describe<'js>(host: &JsVmState, ctx: &Ctx<'js>, value: &JsValue<'js>) -> Option<String> {
    let prelude_refs = host.prelude_refs().ok()?;
    let text: JsValue = prelude_refs.describe.clone().restore(ctx).ok()?.call((value.clone(),)).ok()?;
    Some(values::string(host, ctx, text.as_string()?))
}

/// Returns a property, or `None` if reading it fails: a script can make it a getter that throws.
fn get<'js>(ctx: &Ctx<'js>, object: &Object<'js>, name: &str) -> Option<JsValue<'js>> {
    object.get(name).map_err(|_| ctx.catch()).ok()
}

/// Returns a property that is a string.
pub(super) fn text<'js>(ctx: &Ctx<'js>, object: &Object<'js>, name: &str) -> Option<String> {
    let value = get(ctx, object, name)?;
    value.as_string()?.to_string().ok()
}
