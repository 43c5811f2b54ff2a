//! `llmspell doc` shows the documentation of bridges.

use clap::Args;
use llmspell::{Result, Runtime, reference};

use crate::exit::Exit;
use crate::stdout::print;

/// Shows the documentation of bridges and their methods
#[derive(Debug, Args)]
pub(crate) struct DocArgs {
    /// A bridge, `promise`, or one of their methods, such as llm.chat; by default, a list with one line for each
    #[arg(value_name = "BRIDGE[.METHOD]")]
    name: Option<String>,
}

impl DocArgs {
    pub(crate) fn execute(self) -> Result<Exit> {
        let runtime = Runtime::builder().build()?;
        let bridges = reference::bridges(&runtime);
        let prelude_docs = runtime.engines().prelude_docs();
        print(&reference::text(&bridges, &prelude_docs, self.name.as_deref())?)
    }
}
