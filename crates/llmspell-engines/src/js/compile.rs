//! Compiles sources as modules, and turns compiler errors into diagnostics with an excerpt and a hint.

use std::borrow::Cow;
use std::rc::Rc;

use llmspell_core::{Context, Diagnostic, Error, Result, Source, SourceLocation};
use rquickjs::context::intrinsic;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, Object, Runtime};

use super::errors::{from_js_error, text};
use super::vm_state::JsVmState;
use super::{limits, trace, typescript};
use crate::excerpt::excerpt;

/// Compiles a source as a module, and loads its imports.
///
/// # Errors
/// When the source does not compile, or a module that it imports cannot be loaded.
pub(super) fn declare<'js>(
    host: &Rc<JsVmState>,
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

/// Returns the JavaScript of a source: its text, without types if it is TypeScript.
fn script(source: &Source) -> Result<Cow<'_, str>> {
    refuse_nul(source)?;
    if typescript::is_its_name(&source.name) {
        return typescript::strip(source).map(Cow::Owned).map_err(Error::from);
    }
    Ok(Cow::Borrowed(&source.text))
}

/// Rejects a source with a NUL character, which the compiler would take for the end of the source.
fn refuse_nul(source: &Source) -> Result<()> {
    let Some(at) = source.text.find('\0') else { return Ok(()) };
    let (line, column) = position(&source.text, at);
    Err(diagnostic(source, line, Some(column), 1, "a source may not hold a NUL character".to_owned()).into())
}

/// Returns the line and column of a byte offset, both counted from 1. Columns count characters.
pub(super) fn position(text: &str, at: usize) -> (u32, u32) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u32, column as u32)
}

/// Creates a diagnostic with its excerpt and hint. `width` is the number of characters to mark.
pub(super) fn diagnostic(
    source: &Source,
    line: u32,
    column: Option<u32>,
    width: usize,
    message: String,
) -> Diagnostic {
    Diagnostic {
        place: SourceLocation { file: source.name.clone(), line, column },
        excerpt: excerpt(&source.text, line, column, width),
        hint: hint(source, line),
        message,
    }
}

/// Returns the diagnostic of a syntax error, if it is in this source and not in a module that it imports.
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

/// Returns a hint for syntax that is common in other languages.
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

/// Resolves every import to an empty module, for [`check`], which looks at one file only.
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

/// Compiles a source without running it, and returns the first mistake.
pub(super) fn check(source: &Source) -> Option<Diagnostic> {
    let script = match script(source) {
        Ok(script) => script,
        Err(error) => return Some(from_error(source, &error)),
    };
    let host = JsVmState::new(Context::builder().build());
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
        place: place.unwrap_or_else(|| SourceLocation { file: source.name.clone(), line: 1, column: None }),
        message: error.message().to_owned(),
        excerpt: error.excerpt().unwrap_or_default().to_owned(),
        hint: error.hints().first().cloned(),
    }
}
