//! The commands, one file for each.

pub(crate) mod check;
pub(crate) mod doc;
pub(crate) mod models;
pub(crate) mod providers;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod test;
pub(crate) mod types;
