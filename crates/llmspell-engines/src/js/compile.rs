//! Sources to modules, and what is said of those that do not compile.

use std::borrow::Cow;
use std::rc::Rc;

use llmspell_core::{Context, Diagnostic, Error, Place, Result, Source};
use rquickjs::context::intrinsic;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, Object, Runtime};

use super::errors::{from_js_error, text};
use super::host::Host;
use super::{limits, trace, typescript};
use crate::excerpt::excerpt;

/// Compiles a source as a module.
///
/// # Errors
/// When it does not compile, or what it imports is not there.
pub(super) fn declare<'js>(
    host: &Rc<Host>,
    ctx: &Ctx<'js>,
    source: &Source,
) -> Result<Module<'js, Declared>> {
    let script = script(source)?;
    Module::declare(ctx.clone(), source.name.as_str(), script.as_bytes()).map_err(|error| {
        let caught = ctx.catch();
        let mistake =
            caught.as_object().filter(|_| host.state().is_ok()).and_then(|it| mistake(ctx, it, source));
        match mistake {
            Some(mistake) => mistake.into(),
            None if error.is_exception() => super::errors::raised(host, ctx, &caught),
            None => from_js_error(host, ctx, error),
        }
    })
}

/// The JavaScript of a source: its own text, or that without its types.
fn script(source: &Source) -> Result<Cow<'_, str>> {
    refuse_nul(source)?;
    if typescript::is_its_name(&source.name) {
        return typescript::strip(source).map(Cow::Owned).map_err(Error::from);
    }
    Ok(Cow::Borrowed(&source.text))
}

/// The compiler takes a NUL for the end of the source.
fn refuse_nul(source: &Source) -> Result<()> {
    let Some(at) = source.text.find('\0') else { return Ok(()) };
    let (line, column) = position(&source.text, at);
    Err(diagnostic(source, line, Some(column), 1, "a source may not hold a NUL character".to_owned()).into())
}

/// The line and column of a byte, from 1.
pub(super) fn position(text: &str, at: usize) -> (u32, u32) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}

/// A mistake as it is shown.
pub(super) fn diagnostic(
    source: &Source,
    line: u32,
    column: Option<u32>,
    width: usize,
    message: String,
) -> Diagnostic {
    Diagnostic {
        place: Place { file: source.name.clone(), line, column },
        excerpt: excerpt(&source.text, line, column, width),
        hint: hint(source, line),
        message,
    }
}

/// The mistake in this source that the compiler stumbled over.
fn mistake<'js>(ctx: &Ctx<'js>, error: &Object<'js>, source: &Source) -> Option<Diagnostic> {
    let name = text(ctx, error, "name")?;
    let stack = text(ctx, error, "stack")?;
    let frame = trace::frames(&stack).into_iter().next()?;
    if name != "SyntaxError" || frame.place.file != source.name {
        return None;
    }
    let message = text(ctx, error, "message")?;
    Some(diagnostic(source, frame.place.line, frame.place.column, 1, message))
}

/// What to do about the mistakes that people make who come from elsewhere.
fn hint(source: &Source, line: u32) -> Option<String> {
    const ELSEWHERE: &[(&[&str], &str)] = &[
        (&["local ", "elseif ", "end", "repeat", "function "], "Luau"),
        (&["def ", "elif ", "print \"", "from ", "async def "], "Python"),
        (&["interface ", "type ", "enum ", "declare "], "TypeScript"),
    ];
    let text = source.text.lines().nth(line as usize - 1).unwrap_or_default().trim_start();
    if text.starts_with("return") {
        return Some("a module cannot return; write `export default …`".to_owned());
    }
    let begins = |(words, _): &&(&[&str], &str)| words.iter().any(|word| text.starts_with(word));
    let (_, language) = ELSEWHERE.iter().find(begins)?;
    match *language {
        "TypeScript" if typescript::is_its_name(&source.name) => None,
        "Luau" if text.starts_with("function ") && !text.ends_with(')') => None,
        language => Some(format!("this looks like {language}, but {} is run as JavaScript", source.name)),
    }
}

/// Takes every module for one that is there, and is empty.
struct Anything;

impl Resolver for Anything {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        _: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        Ok(format!("imported {name}"))
    }
}

impl Loader for Anything {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        Module::declare(ctx.clone(), name, "")
    }
}

/// Looks for mistakes without running anything.
pub(super) fn check(source: &Source) -> Option<Diagnostic> {
    let script = match script(source) {
        Ok(script) => script,
        Err(error) => return Some(from_error(source, &error)),
    };
    let host = Host::new(Context::builder().build());
    let runtime = Runtime::new().ok()?;
    let context = rquickjs::Context::custom::<(intrinsic::Eval, intrinsic::RegExpCompiler)>(&runtime).ok()?;
    runtime.set_loader(Anything, Anything);
    limits::arm(&runtime, &host);
    context.with(|ctx| {
        let error = Module::declare(ctx.clone(), source.name.as_str(), script.as_bytes()).err()?;
        let caught = ctx.catch();
        let found = caught.as_object().and_then(|it| mistake(&ctx, it, source));
        Some(found.unwrap_or_else(|| diagnostic(source, 1, None, 1, error.to_string())))
    })
}

fn from_error(source: &Source, error: &Error) -> Diagnostic {
    let place = error.place().cloned();
    Diagnostic {
        place: place.unwrap_or_else(|| Place { file: source.name.clone(), line: 1, column: None }),
        message: error.message().to_owned(),
        excerpt: error.excerpt().unwrap_or_default().to_owned(),
        hint: error.hints().first().cloned(),
    }
}
