//! Permissions that a spell asks for, permissions that the user grants, and the sources of grants.

use llmspell::{Grant, NetRule, Permissions};
use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::terminal::escape_name;

/// The source of a grant for something that the spell asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrantSource {
    /// A flag that covers it.
    Flag,
    /// A stored "always" answer for this version of the spell.
    Remembered,
    /// `--allow-asked`.
    AllowAsked,
    /// An answer in this run.
    Answer,
}

impl GrantSource {
    /// Returns the source in words for the user.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Flag => "granted by a flag",
            Self::Remembered => "granted, as you answered before",
            Self::AllowAsked => "granted by --allow-asked",
            Self::Answer => "granted, as you answered",
        }
    }
}

/// The permissions of a run. Only the user grants them. Flags grant anything, also what the spell did not ask for. The
/// other sources grant only what it asked for.
#[derive(Debug)]
pub(crate) struct Grants {
    flags: Permissions,
    settled: Vec<(GrantSource, Permissions)>,
    open: Permissions,
}

impl Grants {
    /// Creates the grants from flags. What the flags do not cover of `asked` remains open.
    pub(crate) fn new(flags: Permissions, asked: Permissions) -> Self {
        let mut grants = Self { flags: flags.clone(), settled: Vec::new(), open: asked };
        grants.settle(GrantSource::Flag, &flags);
        grants
    }

    /// Grants the open permissions that `granted` covers. What was not asked for is not granted.
    pub(crate) fn settle(&mut self, by: GrantSource, granted: &Permissions) {
        let (covered, open) = std::mem::take(&mut self.open).split_by(granted);
        self.open = open;
        if !covered.is_empty() {
            self.settled.push((by, covered));
        }
    }

    /// Grants everything that is open.
    pub(crate) fn settle_all(&mut self, by: GrantSource) {
        self.settle(by, &Permissions::all());
    }

    /// Returns the permissions that were asked for and are not granted yet.
    pub(crate) fn open(&self) -> &Permissions {
        &self.open
    }

    /// Returns the permissions that were asked for and are granted, with their sources.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (GrantSource, &Permissions)> {
        self.settled.iter().map(|(by, granted)| (*by, granted))
    }

    /// Returns all permissions of the run.
    pub(crate) fn effective(&self) -> Permissions {
        self.settled.iter().fold(self.flags.clone(), |all, (_, granted)| all.and(granted.clone()))
    }
}

/// Describes permissions in plain words, one line each. Text of the manifest is escaped, so that it cannot move the
/// cursor, hide or begin a line.
pub(crate) fn lines(permissions: &Permissions) -> Vec<String> {
    let mut lines = Vec::new();
    let Permissions { net, read, write, named } = permissions;
    tell(&mut lines, net, "reach any host", |rule| format!("reach {}", host(rule)));
    tell(&mut lines, read, "read any file", |path| format!("read files in {}", place(path)));
    tell(&mut lines, write, "write any file", |path| format!("write files in {}", place(path)));
    for (row, grant) in named {
        let row = escape_name(row);
        tell(&mut lines, grant, &format!("use anything of {row}"), |item| {
            format!("use {} of {row}", escape_name(item))
        });
    }
    lines
}

fn tell<T>(lines: &mut Vec<String>, grant: &Grant<T>, all: &str, each: impl Fn(&T) -> String) {
    match grant {
        Grant::All => lines.push(all.to_owned()),
        Grant::Only(items) => lines.extend(items.iter().map(each)),
    }
}

fn host(rule: &NetRule) -> String {
    // Hosts are ASCII: an internationalized name is shown in its Punycode form, as the network uses it.
    match rule.port() {
        Some(_) => rule.to_string(),
        None => format!("{rule} at any port"),
    }
}

/// Formats a path, with the real location if a link leads elsewhere.
fn place(path: &Path) -> String {
    let shown = escape_name(&path.to_string_lossy());
    match real(path).filter(|real| real != path) {
        Some(real) => format!("{shown}, which leads to {}", escape_name(&real.to_string_lossy())),
        None => shown,
    }
}

/// Resolves the links in a path, as far as the path exists.
fn real(path: &Path) -> Option<PathBuf> {
    let (there, real) = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)))?;
    path.strip_prefix(there)
        .ok()
        .map(|rest| if rest.as_os_str().is_empty() { real.clone() } else { real.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(json: &str) -> Permissions {
        serde_json::from_str(json).unwrap()
    }

    const ASKED: &str = r#"{"net": ["a.org", "b.org"], "read": ["/t/x"]}"#;
    const NOTHING: &str = "{}";

    #[test]
    fn nothing_holds_that_was_not_granted() {
        use GrantSource::{AllowAsked, Answer, Flag, Remembered};
        for (asked, flags, said, holds, open) in [
            (NOTHING, NOTHING, &[][..], NOTHING, NOTHING),
            (ASKED, NOTHING, &[], NOTHING, ASKED),
            // A flag grants by itself, and what it covers needs no other grant.
            (NOTHING, r#"{"net": ["c.org"]}"#, &[], r#"{"net": ["c.org"]}"#, NOTHING),
            (
                ASKED,
                r#"{"net": ["a.org"], "read": ["/t"]}"#,
                &[],
                r#"{"net": ["a.org"], "read": ["/t", "/t/x"]}"#,
                r#"{"net": ["b.org"]}"#,
            ),
            (ASKED, NOTHING, &[(AllowAsked, None)], ASKED, NOTHING),
            (ASKED, NOTHING, &[(Answer, None)], ASKED, NOTHING),
            // A stored answer grants only what is asked for; what it does not cover stays open.
            (
                ASKED,
                NOTHING,
                &[(Remembered, Some(r#"{"net": ["b.org", "c.org"]}"#))],
                r#"{"net": ["b.org"]}"#,
                r#"{"net": ["a.org"], "read": ["/t/x"]}"#,
            ),
            (
                ASKED,
                r#"{"write": ["/o"]}"#,
                &[(Remembered, Some(r#"{"net": ["b.org"]}"#)), (Answer, None)],
                r#"{"write": ["/o"], "net": ["b.org", "a.org"], "read": ["/t/x"]}"#,
                NOTHING,
            ),
        ] {
            let mut grants = Grants::new(permissions(flags), permissions(asked));
            for (by, what) in said {
                assert_ne!(*by, Flag);
                match what {
                    Some(what) => grants.settle(*by, &permissions(what)),
                    None => grants.settle_all(*by),
                }
            }
            assert_eq!(grants.effective(), permissions(holds), "{asked} {flags}");
            assert_eq!(*grants.open(), permissions(open), "{asked} {flags}");
        }
        let all = Grants::new(Permissions::all(), permissions(ASKED));
        assert_eq!((all.effective(), all.open().is_empty()), (Permissions::all(), true));
    }

    #[test]
    fn permissions_are_told_in_plain_words() {
        let asked = permissions(
            r#"{"net": ["example.com", "*.wikipedia.org:443", "bücher.example"], "read": ["/no/such/texts"],
                "write": ["/no/such/out"]}"#,
        );
        assert_eq!(
            lines(&asked),
            [
                "reach example.com at any port",
                "reach *.wikipedia.org:443",
                "reach xn--bcher-kva.example at any port",
                "read files in /no/such/texts",
                "write files in /no/such/out",
            ]
        );
        assert_eq!(lines(&Permissions::all()).len(), 3);
    }

    #[test]
    fn no_name_breaks_out_of_its_line() {
        let asked = permissions(
            r#"{"read": ["/no/such/\u001b[2K\ra", "/no/such/git\nreach nothing"], "write": ["/no/such/\u202efiles\u200b"]}"#,
        );
        assert_eq!(
            lines(&asked),
            [
                r"read files in /no/such/\u{1b}[2K\ra",
                r"read files in /no/such/git\nreach nothing",
                r"write files in /no/such/\u{202e}files\u{200b}",
            ]
        );
    }
}
