//! `llmspell doc`.

use clap::Args;
use llmspell::{Result, Runtime, reference};

use crate::exit::Exit;
use crate::stdout::print;

/// Shows what bridges and their methods do
#[derive(Debug, Args)]
pub(crate) struct DocArgs {
    /// A bridge or `promise`, or one of its methods, such as llm.chat; without it, all of them in a line each
    #[arg(value_name = "BRIDGE[.METHOD]")]
    name: Option<String>,
}

impl DocArgs {
    pub(crate) fn execute(self) -> Result<Exit> {
        let runtime = Runtime::builder().build()?;
        let bridges = reference::bridges(&runtime);
        let furniture = runtime.engines().furniture();
        print(&reference::text(&bridges, &furniture, self.name.as_deref())?)
    }
}
