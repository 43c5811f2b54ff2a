//! What a spell asks, what the user grants, and by what.

use llmspell::{Grant, NetRule, Permissions};
use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::terminal::escape_name;

/// What granted something that a spell asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// A flag that names it, or more.
    Flag,
    /// An answer that was given to this version of the spell for good.
    Remembered,
    /// `--allow-asked`.
    AllowAsked,
    /// An answer that was just given.
    Answer,
}

impl By {
    /// As it is told to the user.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Flag => "granted by a flag",
            Self::Remembered => "granted, as you answered before",
            Self::AllowAsked => "granted by --allow-asked",
            Self::Answer => "granted, as you answered",
        }
    }
}

/// The permissions of a run. Nothing holds that the user did not grant: by a flag, asked for or not, or of what the
/// spell asks by one of the other ways.
#[derive(Debug)]
pub(crate) struct Grants {
    flags: Permissions,
    settled: Vec<(By, Permissions)>,
    open: Permissions,
}

impl Grants {
    /// What flags grant, and of what is asked that which they do not cover.
    pub(crate) fn new(flags: Permissions, asked: Permissions) -> Self {
        let mut grants = Self { flags: flags.clone(), settled: Vec::new(), open: asked };
        grants.settle(By::Flag, &flags);
        grants
    }

    /// Grants what is asked as far as these permissions cover it, and nothing that is not asked.
    pub(crate) fn settle(&mut self, by: By, granted: &Permissions) {
        let (covered, open) = std::mem::take(&mut self.open).split_by(granted);
        self.open = open;
        if !covered.is_empty() {
            self.settled.push((by, covered));
        }
    }

    /// Grants all that is asked.
    pub(crate) fn settle_all(&mut self, by: By) {
        self.settle(by, &Permissions::all());
    }

    /// What is asked and not granted.
    pub(crate) fn open(&self) -> &Permissions {
        &self.open
    }

    /// What was asked and granted, by what granted it.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (By, &Permissions)> {
        self.settled.iter().map(|(by, granted)| (*by, granted))
    }

    /// What holds for the run.
    pub(crate) fn effective(&self) -> Permissions {
        self.settled.iter().fold(self.flags.clone(), |all, (_, granted)| all.and(granted.clone()))
    }
}

/// Permissions in plain words, one line each. What a manifest wrote cannot move the cursor, hide or begin a line.
pub(crate) fn lines(permissions: &Permissions) -> Vec<String> {
    let mut lines = Vec::new();
    let Permissions { net, read, write, env, run, mcp } = permissions;
    tell(&mut lines, net, "reach any host", |rule| format!("reach {}", host(rule)));
    tell(&mut lines, read, "read any file", |path| format!("read files in {}", place(path)));
    tell(&mut lines, write, "write any file", |path| format!("write files in {}", place(path)));
    let name = |text: &String| escape_name(text);
    tell(&mut lines, env, "see any environment variable", |it| {
        format!("see the environment variable {}", name(it))
    });
    tell(&mut lines, run, "start any program", |it| format!("start the program {}", name(it)));
    tell(&mut lines, mcp, "use any MCP server", |it| format!("use the MCP server {}", name(it)));
    lines
}

fn tell<T>(lines: &mut Vec<String>, grant: &Grant<T>, all: &str, each: impl Fn(&T) -> String) {
    match grant {
        Grant::All => lines.push(all.to_owned()),
        Grant::Only(items) => lines.extend(items.iter().map(each)),
    }
}

fn host(rule: &NetRule) -> String {
    // Hosts are ASCII: names in other scripts are shown as the network knows them.
    match rule.port() {
        Some(_) => rule.to_string(),
        None => format!("{rule} at any port"),
    }
}

/// A path, and where it leads when a link in it leads elsewhere.
fn place(path: &Path) -> String {
    let shown = escape_name(&path.to_string_lossy());
    match real(path).filter(|real| real != path) {
        Some(real) => format!("{shown}, which leads to {}", escape_name(&real.to_string_lossy())),
        None => shown,
    }
}

/// The path without links, as far as there is anything at it.
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
        use By::{AllowAsked, Answer, Flag, Remembered};
        for (asked, flags, said, holds, open) in [
            (NOTHING, NOTHING, &[][..], NOTHING, NOTHING),
            (ASKED, NOTHING, &[], NOTHING, ASKED),
            // A flag grants by itself, and what it covers is not asked about again.
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
            // What is remembered beyond what is asked grants nothing; what is asked beyond it stays open.
            (
                ASKED,
                NOTHING,
                &[(Remembered, Some(r#"{"net": ["b.org", "c.org"]}"#))],
                r#"{"net": ["b.org"]}"#,
                r#"{"net": ["a.org"], "read": ["/t/x"]}"#,
            ),
            (
                ASKED,
                r#"{"run": ["git"]}"#,
                &[(Remembered, Some(r#"{"net": ["b.org"]}"#)), (Answer, None)],
                r#"{"run": ["git"], "net": ["b.org", "a.org"], "read": ["/t/x"]}"#,
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
                "write": ["/no/such/out"], "env": ["HOME"], "run": ["git"], "mcp": ["files"]}"#,
        );
        assert_eq!(
            lines(&asked),
            [
                "reach example.com at any port",
                "reach *.wikipedia.org:443",
                "reach xn--bcher-kva.example at any port",
                "read files in /no/such/texts",
                "write files in /no/such/out",
                "see the environment variable HOME",
                "start the program git",
                "use the MCP server files",
            ]
        );
        assert_eq!(lines(&Permissions::all()).len(), 6);
    }

    #[test]
    fn no_name_breaks_out_of_its_line() {
        let asked = permissions(
            r#"{"read": ["/no/such/\u001b[2K\ra"], "run": ["git\nreach nothing"], "mcp": ["\u202efiles\u200b"]}"#,
        );
        assert_eq!(
            lines(&asked),
            [
                r"read files in /no/such/\u{1b}[2K\ra",
                r"start the program git\nreach nothing",
                r"use the MCP server \u{202e}files\u{200b}",
            ]
        );
    }
}
