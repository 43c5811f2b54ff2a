//! What the manifest asks, what the user granted, and what holds.

use serde::{Deserialize, Serialize};

/// What a run may touch. The default is nothing; models are allowed within the budget.
///
/// Each list is an allow list: what is not on it is refused. Nothing holds that the user did not grant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Hosts, as `host` or `host:port`.
    pub net: Vec<String>,
    /// Folders to read.
    pub read: Vec<String>,
    /// Folders to write.
    pub write: Vec<String>,
    /// Names of environment variables.
    pub env: Vec<String>,
    /// Programs to start.
    pub run: Vec<String>,
    /// MCP servers.
    pub mcp: Vec<String>,
}

impl Permissions {
    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
