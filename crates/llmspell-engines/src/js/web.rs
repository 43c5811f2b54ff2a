//! The primitives, written in Rust, that `prelude/web.js` and `prelude/net.js` are built on: timers, cancellation, text
//! encoding, base64, URLs and random bytes.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use llmspell_core::{Error, Value};
use rquickjs::{Array, Ctx, Function, Object, TypedArray, Value as JsValue};
use url::{Url, quirks};

use super::errors::throw;
use super::vm_state::JsVmState;
use super::{calls, values};

/// Standard base64. Decoding accepts texts with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The maximum number of random bytes per call, as in browsers.
const MAX_RANDOM: f64 = 65_536.0;

/// Adds the primitives to the object that the prelude gets.
pub(super) fn add<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, object: &Object<'js>) -> rquickjs::Result<()> {
    add_waiting(host, ctx, object)?;
    add_texts(host, ctx, object)?;
    let parse = |ctx: Ctx<'js>, text: String, base: Option<String>| {
        let base = match base.as_deref().map(Url::parse) {
            Some(Err(_)) => return Ok(None),
            Some(Ok(base)) => Some(base),
            None => None,
        };
        Url::options().base_url(base.as_ref()).parse(&text).ok().map(|url| parts(&ctx, &url)).transpose()
    };
    object.set("parseUrl", Function::new(ctx.clone(), parse)?)?;
    let change = |ctx: Ctx<'js>, href: String, name: String, value: String| {
        let Ok(mut url) = Url::parse(&href) else { return Ok(None) };
        change(&mut url, &name, &value);
        parts(&ctx, &url).map(Some)
    };
    object.set("changeUrl", Function::new(ctx.clone(), change)?)?;
    let shared = Rc::clone(host);
    let random = move |ctx: Ctx<'js>, count: f64| {
        // `web.js` refuses more with a clear error, but it reads `byteLength` of a script's object, which may lie.
        let count = count.clamp(0.0, MAX_RANDOM) as usize;
        let bytes = shared.scope().random().list(count);
        TypedArray::new(ctx.clone(), bytes.map_err(|error| throw(&shared, &ctx, error))?)
    };
    object.set("randomBytes", Function::new(ctx.clone(), random)?)
}

fn add_waiting<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, object: &Object<'js>) -> rquickjs::Result<()> {
    let shared = Rc::clone(host);
    let sleep = move |ctx: Ctx<'js>, seconds: f64| {
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| {
            let error = Error::argument(format!("{seconds} is no number of seconds that can be waited for"));
            throw(&shared, &ctx, error)
        })?;
        calls::start(&shared, &ctx, |cx| {
            Box::pin(async move { cx.clock().sleep(time).await.map(|()| Value::Nil) })
        })
    };
    object.set("sleep", Function::new(ctx.clone(), sleep)?)?;
    // Calls a function that starts a host call, and returns its promise and a function that cancels the call.
    let shared = Rc::clone(host);
    let with_cancel = move |ctx: Ctx<'js>, begin: Function<'js>| {
        let cancel = shared.calls.watch();
        let promise: rquickjs::Result<JsValue> = begin.call(());
        shared.calls.unwatch();
        let both = Array::new(ctx.clone())?;
        both.set(0, promise?)?;
        both.set(1, Function::new(ctx, move || cancel.cancel())?)?;
        Ok::<_, rquickjs::Error>(both)
    };
    object.set("withCancel", Function::new(ctx.clone(), with_cancel)?)
}

fn add_texts<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, object: &Object<'js>) -> rquickjs::Result<()> {
    let shared = Rc::clone(host);
    let encode = move |ctx: Ctx<'js>, text: rquickjs::String<'js>| {
        TypedArray::new(ctx.clone(), values::string(&shared, &ctx, &text).into_bytes())
    };
    object.set("encodeText", Function::new(ctx.clone(), encode)?)?;
    let shared = Rc::clone(host);
    let decode = move |ctx: Ctx<'js>, bytes: JsValue<'js>, is_part: bool| {
        let bytes = read_bytes(&shared, &ctx, bytes)?;
        let used = if is_part { whole_letters(&bytes) } else { bytes.len() };
        let both = Array::new(ctx.clone())?;
        both.set(0, String::from_utf8_lossy(&bytes[..used]).as_ref())?;
        both.set(1, used as f64)?;
        Ok::<_, rquickjs::Error>(both)
    };
    object.set("decodeText", Function::new(ctx.clone(), decode)?)?;
    let shared = Rc::clone(host);
    let is_text = move |ctx: Ctx<'js>, bytes: JsValue<'js>| {
        Ok::<_, rquickjs::Error>(std::str::from_utf8(&read_bytes(&shared, &ctx, bytes)?).is_ok())
    };
    object.set("isText", Function::new(ctx.clone(), is_text)?)?;
    let to_base64 =
        |letters: String| BASE64.encode(letters.chars().map(|letter| letter as u8).collect::<Vec<_>>());
    object.set("toBase64", Function::new(ctx.clone(), to_base64)?)?;
    let from_base64 = |text: String| {
        BASE64.decode(text).ok().map(|bytes| bytes.into_iter().map(char::from).collect::<String>())
    };
    object.set("fromBase64", Function::new(ctx.clone(), from_base64)?)
}

fn read_bytes<'js>(host: &Rc<JsVmState>, ctx: &Ctx<'js>, bytes: JsValue<'js>) -> rquickjs::Result<Vec<u8>> {
    match values::from_js(host, ctx, bytes, &mut 0, || "the bytes".to_owned()) {
        Ok(Value::Bytes(bytes)) => Ok(bytes),
        Ok(other) => {
            Err(throw(host, ctx, Error::argument(format!("expected bytes, found {}", other.type_name()))))
        }
        Err(error) => Err(throw(host, ctx, error)),
    }
}

/// Returns the length of `bytes` without an incomplete UTF-8 character at the end.
fn whole_letters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default()) {
        Err(error) if error.error_len().is_none() => bytes.len().saturating_sub(3) + error.valid_up_to(),
        _ => match std::str::from_utf8(bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        },
    }
}

/// Returns the parts of a URL under the names that the `URL` class of the web gives them.
fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("href", quirks::href(url))?;
    object.set("origin", quirks::origin(url))?;
    object.set("protocol", quirks::protocol(url))?;
    object.set("username", quirks::username(url))?;
    object.set("password", quirks::password(url))?;
    object.set("host", quirks::host(url))?;
    object.set("hostname", quirks::hostname(url))?;
    object.set("port", quirks::port(url))?;
    object.set("pathname", quirks::pathname(url))?;
    object.set("search", quirks::search(url))?;
    object.set("hash", quirks::hash(url))?;
    Ok(object)
}

/// Changes a part of a URL. A value that would make the URL invalid is ignored, as in browsers.
fn change(url: &mut Url, name: &str, value: &str) {
    let _ = match name {
        "href" => quirks::set_href(url, value).map_err(drop),
        "protocol" => quirks::set_protocol(url, value),
        "username" => quirks::set_username(url, value),
        "password" => quirks::set_password(url, value),
        "host" => quirks::set_host(url, value),
        "hostname" => quirks::set_hostname(url, value),
        "port" => quirks::set_port(url, value),
        "pathname" => {
            quirks::set_pathname(url, value);
            Ok(())
        }
        "search" => {
            quirks::set_search(url, value);
            Ok(())
        }
        _ => {
            quirks::set_hash(url, value);
            Ok(())
        }
    };
}
