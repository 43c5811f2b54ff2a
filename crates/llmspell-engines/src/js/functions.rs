//! Host methods as JavaScript functions. A sync method throws its error; an async method returns a promise.

use std::rc::Rc;
use std::sync::Arc;

use llmspell_core::Result;
use llmspell_core::bridge::{Arguments, Handler, Method, Param};
use rquickjs::function::{Rest, This};
use rquickjs::{Ctx, Function, Value as JsValue};

use super::calls::{rejected, start};
use super::errors::throw;
use super::names::camel_case;
use super::values::{from_js, to_js};
use super::vm_state::JsVmState;

/// Creates the function for a method. With `of_object`, the first argument of the method is `this`.
pub(super) fn function<'js>(
    host: &Rc<JsVmState>,
    ctx: &Ctx<'js>,
    method: &Method,
    of_object: bool,
) -> rquickjs::Result<Function<'js>> {
    let reader = JsArgumentReader { host: Rc::clone(host), params: Arc::clone(&method.params), of_object };
    let function = match &method.handler {
        Handler::Sync(call) => {
            let call = Arc::clone(call);
            let run = move |ctx: Ctx<'js>, this: This<JsValue<'js>>, arguments: Rest<JsValue<'js>>| {
                let host = &reader.host;
                reader
                    .read(&ctx, this.0, arguments.0)
                    .and_then(|arguments| call(&host.scope(), arguments))
                    .and_then(|value| to_js(host, &ctx, value))
                    .map_err(|error| throw(host, &ctx, error))
            };
            Function::new(ctx.clone(), run)?
        }
        Handler::Async(call) => {
            let call = Arc::clone(call);
            let run = move |ctx: Ctx<'js>, this: This<JsValue<'js>>, arguments: Rest<JsValue<'js>>| {
                let host = &reader.host;
                match reader.read(&ctx, this.0, arguments.0) {
                    Ok(arguments) => start(host, &ctx, |cx| call(cx, arguments)),
                    Err(error) => rejected(host, &ctx, error),
                }
            };
            Function::new(ctx.clone(), run)?
        }
    };
    function.with_name(camel_case(&method.name))?.with_length(method.params.len())
}

/// Reads the arguments of a script's call.
struct JsArgumentReader {
    host: Rc<JsVmState>,
    params: Arc<Vec<Param>>,
    of_object: bool,
}

impl JsArgumentReader {
    fn read<'js>(
        &self,
        ctx: &Ctx<'js>,
        this: JsValue<'js>,
        arguments: Vec<JsValue<'js>>,
    ) -> Result<Arguments> {
        self.host.state()?;
        self.host.memory.collect_now_and_then(&self.host, ctx);
        let mut values = Vec::with_capacity(arguments.len() + 1);
        let mut bytes = 0;
        if self.of_object {
            values.push(from_js(&self.host, ctx, this, &mut bytes, || {
                "what the method is called on".to_owned()
            })?);
        }
        for (at, argument) in arguments.into_iter().enumerate() {
            values.push(from_js(&self.host, ctx, argument, &mut bytes, || self.name(at))?);
        }
        Ok(Arguments::new(values))
    }

    fn name(&self, at: usize) -> String {
        match self.params.get(at) {
            Some(param) => format!("argument {} (`{}`)", at + 1, camel_case(&param.name)),
            None => format!("argument {}", at + 1),
        }
    }
}
