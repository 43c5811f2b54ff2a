//! Compiles sources to bytecode, and turns compiler errors into diagnostics with an excerpt and a hint.
//!
//! The VM does not verify bytecode, so a script must not be able to supply any. All bytecode is made here from text,
//! except that of the preludes, which is checked in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llmspell_core::{Diagnostic, Error, Result, Source, SourceLocation};
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, Value as LuaValue};

use super::errors::from_lua_error;
use super::vm_state::LuauVmState;
use crate::excerpt::excerpt;

/// The maximum size of the cache, text and bytecode together, in bytes.
const CACHE: usize = 16 * 1024 * 1024;

/// A bounded cache of compiled chunks by source text, shared by the sessions of an engine. The oldest are evicted.
#[derive(Default)]
pub(super) struct ChunkCache(Mutex<CachedChunks>);

#[derive(Default)]
struct CachedChunks {
    chunks: HashMap<Arc<str>, Arc<[u8]>>,
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

impl ChunkCache {
    /// Returns a shared copy of a source and its bytecode, from the cache if it was compiled before.
    fn compile(&self, text: &str) -> mlua::Result<(Arc<str>, Arc<[u8]>)> {
        if let Some((text, code)) = self.lock().chunks.get_key_value(text) {
            return Ok((Arc::clone(text), Arc::clone(code)));
        }
        refuse_nul(text)?;
        let code: Arc<[u8]> = compiler().compile(text)?.into();
        let text: Arc<str> = text.into();
        self.lock().keep(Arc::clone(&text), &code);
        Ok((text, code))
    }

    fn lock(&self) -> MutexGuard<'_, CachedChunks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedChunks {
    fn keep(&mut self, text: Arc<str>, code: &Arc<[u8]>) {
        if self.chunks.insert(Arc::clone(&text), Arc::clone(code)).is_none() {
            self.bytes += text.len() + code.len();
            self.order.push_back(text);
        }
        while self.bytes > CACHE
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(code) = self.chunks.remove(&oldest) {
                self.bytes -= oldest.len() + code.len();
            }
        }
    }
}

/// Rejects a source with a NUL character. The compiler would take it for the end of the source and silently ignore the
/// rest.
fn refuse_nul(text: &str) -> mlua::Result<()> {
    let Some(at) = text.find('\0') else { return Ok(()) };
    let line = text[..at].matches('\n').count() + 1;
    let message = format!(":{line}: a source may not hold a NUL character");
    Err(mlua::Error::SyntaxError { message, incomplete_input: false })
}

/// Returns the compiler with the settings for scripts: line numbers and function names for tracebacks, and no inlining,
/// which would hide frames.
pub(super) fn compiler() -> Compiler {
    Compiler::new().set_optimization_level(1).set_debug_level(1)
}

/// Loads a source as a function.
///
/// # Errors
/// When it does not compile.
pub(super) fn load(host: &LuauVmState, lua: &Lua, source: &Source) -> Result<Function> {
    let (text, code) =
        host.chunks.compile(&format!("{}{}", live_globals(lua), source.text)).map_err(|error| {
            let mistake = diagnostic(source, &error);
            // The added code shifts the columns of the first line, so compile the source alone. Only then: compiling twice
            // takes twice the memory.
            let shifted = mistake.place.line == 1 && mistake.message.contains("at column ");
            Error::from(if shifted { check(&host.chunks, source).unwrap_or(mistake) } else { mistake })
        })?;
    host.run().sources.borrow_mut().add(&source.name, text);
    lua.load(&*code)
        .set_mode(ChunkMode::Binary)
        .set_name(format!("={}", source.name))
        .into_function()
        .map_err(|error| from_lua_error(host, &error))
}

/// Returns code to put before a chunk's first line, so that the chunk reads changed globals.
///
/// Luau reads a global only once, when the chunk is loaded, if the chunk never assigns it. Globals that the host or an
/// earlier chunk has set may change later. The code therefore holds a function that assigns them and is never called.
fn live_globals(lua: &Lua) -> String {
    const KEYWORDS: [&str; 21] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
        "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    let is_name = |name: &String| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && !KEYWORDS.contains(&name.as_str())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let globals = lua.globals();
    let mut names: Vec<_> = globals
        .pairs::<LuaValue, LuaValue>()
        .filter_map(|pair| Some(pair.ok()?.0.as_string()?.to_string_lossy()))
        .filter(|name| !name.is_empty() && name != "_G" && is_name(name))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    names.sort_unstable();
    let assigned: String = names.iter().map(|name| format!("{name}=nil ")).collect();
    format!("do local function _() {assigned}end end ")
}

/// Compiles a source without running it, and returns the first mistake.
pub(super) fn check(chunks: &ChunkCache, source: &Source) -> Option<Diagnostic> {
    chunks.compile(&source.text).err().map(|error| diagnostic(source, &error))
}

fn diagnostic(source: &Source, error: &mlua::Error) -> Diagnostic {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let (line, message) = split_line(&text).unwrap_or((1, &text));
    let found = found(message);
    let column = found.and_then(|found| column_of(&source.text, line, found));
    Diagnostic {
        place: SourceLocation { file: source.name.clone(), line, column },
        excerpt: excerpt(&source.text, line, column, found.map_or(1, |found| found.chars().count())),
        hint: hint(source, line, message),
        message: message.to_owned(),
    }
}

/// Splits the line off a compiler message such as `:3: Expected …`.
fn split_line(text: &str) -> Option<(u32, &str)> {
    let (line, message) = text.strip_prefix(':').unwrap_or(text).split_once(": ")?;
    Some((line.parse().ok()?, message))
}

/// Returns the token at the mistake: the last one that the compiler quotes.
fn found(message: &str) -> Option<&str> {
    let (_, rest) = message.rsplit_once("got '")?;
    rest.find('\'').map(|end| &rest[..end]).filter(|token| !token.is_empty())
}

/// Returns the column of the token at the mistake, counted in characters from 1.
///
/// The compiler names only the line. If the token occurs there more than once, the source is compiled again with a line
/// break before each occurrence. The reported line moves if the mistake is after the break, so the last occurrence that
/// moves it is the one. At most `TRIES` occurrences are tried.
fn column_of(text: &str, line: u32, token: &str) -> Option<u32> {
    const TRIES: usize = 16;
    let start: usize = text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
    let content = text[start..].lines().next()?;
    let moves = |at: usize| {
        let broken = format!("{}\n{}", &text[..start + at], &text[start + at..]);
        match compiler().compile(broken) {
            Err(mlua::Error::SyntaxError { message, .. }) => {
                split_line(&message).is_some_and(|(found, _)| found > line)
            }
            _ => false,
        }
    };
    let mut places: Vec<_> = content.match_indices(token).map(|(at, _)| at).take(TRIES).collect();
    if places.len() > 1 {
        places.retain(|at| moves(*at));
    }
    u32::try_from(content[..*places.last()?].chars().count() + 1).ok()
}

/// Returns a hint for syntax that is common in other languages.
fn hint(source: &Source, line: u32, message: &str) -> Option<String> {
    const ELSEWHERE: &[(&[&str], &str)] = &[
        (&["const ", "let ", "=> ", "function(", "===", "import ", "export "], "JavaScript"),
        (&["def ", "elif ", "import ", "print \"", "from ", "async def "], "Python"),
    ];
    let text = source.text.lines().nth(line as usize - 1).unwrap_or_default().trim_start();
    let begins = |word: &str| text.starts_with(word);
    if begins("goto ") || text.contains(" goto ") || begins("::") {
        return Some("Luau has no goto; use `continue` or `break`, or a function that returns".to_owned());
    }
    if text.contains("!=") {
        return Some("Luau writes `~=` for \"is not\"".to_owned());
    }
    if text.contains("++") || text.contains("--") && message.contains("Incomplete statement") {
        return Some("Luau has no `++`; write `n += 1`".to_owned());
    }
    ELSEWHERE
        .iter()
        .find(|(words, _)| words.iter().any(|word| begins(word)))
        .map(|(_, language)| format!("this looks like {language}, but {} is run as Luau", source.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_drawn_and_explained() {
        let cases = [
            (
                "print(1)\nlocal x = = 1\n",
                "main.luau:2:11: Expected identifier when parsing expression, got '='\n\
                 \x20 1 | print(1)\n\
                 \x20 2 | local x = = 1\n\
                 \x20   |           ^\n",
                None,
            ),
            (
                "for i = 1, 3 do\n  goto done\nend\n",
                "main.luau:2: Incomplete statement: expected assignment or a function call\n\
                 \x20 1 | for i = 1, 3 do\n\
                 \x20 2 |   goto done\n\
                 \x20   |   ^^^^^^^^^\n",
                Some("Luau has no goto; use `continue` or `break`, or a function that returns"),
            ),
            (
                "let x = 1;\n",
                "main.luau:1: Incomplete statement: expected assignment or a function call\n\
                 \x20 1 | let x = 1;\n\
                 \x20   | ^^^^^^^^^^\n",
                Some("this looks like JavaScript, but main.luau is run as Luau"),
            ),
            (
                "return 1,\n  2\0, 3\n",
                "main.luau:2: a source may not hold a NUL character\n\
                 \x20 1 | return 1,\n\
                 \x20 2 |   2 , 3\n\
                 \x20   |   ^^^^^\n",
                None,
            ),
        ];
        for (text, said, hint) in cases {
            let found = check(&ChunkCache::default(), &Source::new("main.luau", text)).unwrap();
            assert_eq!(format!("{}: {}\n{}", found.place, found.message, found.excerpt), said);
            assert_eq!(found.hint.as_deref(), hint);
        }
    }

    #[test]
    fn the_cache_is_bounded_and_shares_by_content() {
        let chunks = ChunkCache::default();
        let compile = |text: &str| chunks.compile(text).unwrap().1;
        let first = compile("return 1");
        assert!(Arc::ptr_eq(&first, &compile("return 1")));
        for number in 0..20 {
            compile(&format!("--{}{number}", "x".repeat(1024 * 1024)));
        }
        assert!(chunks.lock().bytes <= CACHE);
        assert!(!Arc::ptr_eq(&first, &compile("return 1")));
    }
}
