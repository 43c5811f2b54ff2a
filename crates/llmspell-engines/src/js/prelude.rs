//! The prelude's pieces, each a module whose default export is a function.
//!
//! A process compiles a piece once, to the VM's bytecode, and sessions load that: reading all of the prelude anew costs
//! several times what the VM does. Bytecode is trusted by the VM as it is, so none is ever taken but what
//! was made here, in this process, from the texts below; [`Bundle`], which is meant for bytecode that is part of the
//! program, loads it.

use std::sync::OnceLock;

use rquickjs::context::intrinsic;
use rquickjs::loader::Loader;
use rquickjs::loader::bundle::{Bundle, HasByteCode};
use rquickjs::{Context, Ctx, Error, Function, Module, Result, Runtime, WriteOptions};

/// The name that the prelude goes by in stacks, from which it is left out.
pub(super) const NAME: &str = "[llmspell]";

/// A text, and what it was compiled to.
struct Piece {
    text: &'static str,
    bytecode: OnceLock<&'static [u8]>,
}

impl Piece {
    const fn new(text: &'static str) -> Self {
        Self { text, bytecode: OnceLock::new() }
    }

    /// Compiles it, in a VM of its own, unless that was done before.
    fn compile(&self) -> Result<()> {
        if self.bytecode.get().is_some() {
            return Ok(());
        }
        let runtime = Runtime::new()?;
        let context = Context::custom::<(intrinsic::Eval, intrinsic::RegExpCompiler)>(&runtime)?;
        // Places stay: by them the prelude's frames are told from the script's.
        let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
        let bytecode = context.with(|ctx| Module::declare(ctx, NAME, self.text)?.write(options))?;
        self.bytecode.get_or_init(|| bytecode.leak());
        Ok(())
    }
}

impl HasByteCode<'static> for Piece {
    fn get_bytecode(&self) -> &'static [u8] {
        self.bytecode.get().copied().unwrap_or_default()
    }
}

/// `core` is run when a session is opened, the others when a script first asks for what they bring.
static PIECES: [(&str, Piece); 5] = [
    ("core", Piece::new(include_str!("prelude/core.js"))),
    ("console", Piece::new(include_str!("prelude/console.js"))),
    ("date", Piece::new(include_str!("prelude/date.js"))),
    ("net", Piece::new(include_str!("prelude/net.js"))),
    ("web", Piece::new(include_str!("prelude/web.js"))),
];

/// A piece of the prelude, as the function that it is.
pub(super) fn load<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Function<'js>> {
    let (_, piece) = PIECES.iter().find(|(known, _)| *known == name).ok_or(Error::Unknown)?;
    piece.compile()?;
    let (module, _) = Bundle(&PIECES[..]).load(ctx, name, None)?.eval()?;
    module.get("default")
}
