//! The permissions that a manifest asks for, and the checks of their paths. Also warns about the older `capabilities`.

use std::path::{Component, Path, PathBuf};

use llmspell_core::{Error, Grant, NetRule, Permissions, Result, Value};
use serde::Deserialize;

/// The first parts of names in an older manifest's `capabilities` that need a permission today.
const REACHING: [&str; 10] =
    ["env", "file", "files", "fs", "http", "mcp", "net", "network", "process", "shell"];

/// The `permissions` of a manifest. In contrast to stored permissions, an unknown key is an error, and there is no form
/// that asks for everything.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Permissions", default, deny_unknown_fields)]
pub(super) struct AskedPermissions {
    net: Vec<NetRule>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl From<AskedPermissions> for Permissions {
    fn from(asked: AskedPermissions) -> Self {
        Self {
            net: Grant::Only(asked.net),
            read: Grant::Only(asked.read),
            write: Grant::Only(asked.write),
            ..Self::default()
        }
    }
}

/// Refuses paths that a reader of the manifest could misunderstand.
///
/// # Errors
/// When a path is empty, begins with `~` or contains `..`. The error names it.
pub(super) fn check(asked: &Permissions) -> Result<()> {
    for (key, path) in paths(asked) {
        let wrong = |what: &str, hint: &str| {
            let path = path.display();
            Err(Error::config(format!("`permissions.{key}`: `{path}` {what}")).hint(hint))
        };
        if path.as_os_str().is_empty() {
            return wrong("is no path", "`.` is the spell's folder");
        }
        if path.as_os_str().as_encoded_bytes().starts_with(b"~") {
            return wrong(
                "has no meaning in a manifest",
                "write the whole path, or one in the spell's folder",
            );
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return wrong(
                "has `..` in it",
                "write a path outside of the spell's folder as a whole, from the root",
            );
        }
    }
    Ok(())
}

/// Returns the relative paths that are asked for, with their keys. They are relative to the spell's folder.
pub(super) fn relative(asked: &Permissions) -> impl Iterator<Item = (&'static str, &Path)> {
    paths(asked).filter(|(_, path)| path.is_relative())
}

fn paths(asked: &Permissions) -> impl Iterator<Item = (&'static str, &Path)> {
    [("read", &asked.read), ("write", &asked.write)].into_iter().flat_map(|(key, grant)| {
        let paths = match grant {
            Grant::Only(paths) => paths.as_slice(),
            Grant::All => &[],
        };
        paths.iter().map(move |path| (key, path.as_path()))
    })
}

/// Returns a warning for an older manifest's `capabilities`, which grant nothing. Names that need no permission today
/// are not mentioned.
pub(super) fn warning(capabilities: &Value) -> Option<String> {
    let Value::List(names) = capabilities else { return None };
    let reaches = |name: &&str| REACHING.contains(&name.split('.').next().unwrap_or_default());
    let reaching: Vec<_> = names.iter().filter_map(Value::as_str).filter(reaches).collect();
    let names = reaching.join(", ");
    (!reaching.is_empty())
        .then(|| format!("`capabilities` grants nothing: write what {names} needs as `permissions`"))
}
