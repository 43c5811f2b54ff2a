//! The pieces of the prelude. Each is a module whose default export is a function.
//!
//! A process compiles each piece once, and sessions load the bytecode. To compile all of the prelude for every session
//! would cost several times as much as to open the VM.
//!
//! QuickJS does not verify bytecode. Only bytecode that this process compiled from the texts below is ever loaded, by
//! way of [`Bundle`], which rquickjs provides for bytecode that is embedded in a program.

use std::sync::OnceLock;

use rquickjs::context::intrinsic;
use rquickjs::loader::Loader;
use rquickjs::loader::bundle::{Bundle, HasByteCode};
use rquickjs::{Context, Ctx, Error, Function, Module, Result, Runtime, WriteOptions};

/// The file name of the prelude in stacks. Its frames are left out of tracebacks by it.
pub(super) const NAME: &str = "[llmspell]";

/// A piece's source text and its bytecode, once compiled.
struct PreludePart {
    text: &'static str,
    bytecode: OnceLock<&'static [u8]>,
}

impl PreludePart {
    const fn new(text: &'static str) -> Self {
        Self { text, bytecode: OnceLock::new() }
    }

    /// Compiles the piece in a temporary VM, unless that was done before.
    fn compile(&self) -> Result<()> {
        if self.bytecode.get().is_some() {
            return Ok(());
        }
        let runtime = Runtime::new()?;
        let context = Context::custom::<(intrinsic::Eval, intrinsic::RegExpCompiler)>(&runtime)?;
        // Positions are not stripped, because the prelude's frames are recognised by their file name.
        let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
        let bytecode = context.with(|ctx| Module::declare(ctx, NAME, self.text)?.write(options))?;
        self.bytecode.get_or_init(|| bytecode.leak());
        Ok(())
    }
}

impl HasByteCode<'static> for PreludePart {
    fn get_bytecode(&self) -> &'static [u8] {
        self.bytecode.get().copied().unwrap_or_default()
    }
}

/// `core` runs when a session opens. The others run when a script first reads one of their globals.
static PIECES: [(&str, PreludePart); 5] = [
    ("core", PreludePart::new(include_str!("prelude/core.js"))),
    ("console", PreludePart::new(include_str!("prelude/console.js"))),
    ("date", PreludePart::new(include_str!("prelude/date.js"))),
    ("net", PreludePart::new(include_str!("prelude/net.js"))),
    ("web", PreludePart::new(include_str!("prelude/web.js"))),
];

/// Loads a piece and returns its function.
pub(super) fn load<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Function<'js>> {
    let (_, piece) = PIECES.iter().find(|(known, _)| *known == name).ok_or(Error::Unknown)?;
    piece.compile()?;
    let (module, _) = Bundle(&PIECES[..]).load(ctx, name, None)?.eval()?;
    module.get("default")
}
