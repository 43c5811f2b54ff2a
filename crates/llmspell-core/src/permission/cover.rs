//! Comparison of permissions: which requests a grant covers. Also makes paths independent of the current folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::{Grant, Hosts, NetRule, Permissions};

impl Permissions {
    /// Returns the union of both sets of permissions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            net: self.net.and(other.net),
            read: self.read.and(other.read),
            write: self.write.and(other.write),
            named: other.named.into_iter().fold(self.named, |mut named, (name, grant)| {
                let known = named.remove(&name).unwrap_or_default();
                named.insert(name, known.and(grant));
                named
            }),
        }
    }

    /// Splits these permissions into those that `granted` covers and the rest.
    ///
    /// ```
    /// use llmspell_core::Permissions;
    /// let asked: Permissions = serde_json::from_str(r#"{"net": ["example.com:443", "other.org"]}"#)?;
    /// let granted: Permissions = serde_json::from_str(r#"{"net": ["example.com"]}"#)?;
    /// let (covered, rest) = asked.split_by(&granted);
    /// assert_eq!(serde_json::to_value(&covered.net)?, serde_json::json!(["example.com:443"]));
    /// assert_eq!(serde_json::to_value(&rest.net)?, serde_json::json!(["other.org"]));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn split_by(self, granted: &Self) -> (Self, Self) {
        let within = |path: &PathBuf, folder: &PathBuf| path.starts_with(folder);
        let (net, net_rest) = self.net.split_by(&granted.net, |rule, granted| granted.covers(rule));
        let (read, read_rest) = self.read.split_by(&granted.read, within);
        let (write, write_rest) = self.write.split_by(&granted.write, within);
        let (mut named, mut named_rest) = (BTreeMap::new(), BTreeMap::new());
        for (name, grant) in self.named {
            let none = Grant::default();
            let (covered, rest) = grant.split_by(granted.named.get(&name).unwrap_or(&none), String::eq);
            named.extend((covered != none).then(|| (name.clone(), covered)));
            named_rest.extend((rest != none).then_some((name, rest)));
        }
        (
            Self { net, read, write, named },
            Self { net: net_rest, read: read_rest, write: write_rest, named: named_rest },
        )
    }

    /// Returns the same permissions with all paths absolute and without `.` and `..`. Relative paths start in
    /// `folder`.
    ///
    /// Only the text of the paths is used. Symbolic links are resolved, or refused, where a file is opened.
    #[must_use]
    pub fn beneath(mut self, folder: &Path) -> Self {
        for grant in [&mut self.read, &mut self.write] {
            if let Grant::Only(paths) = grant {
                for path in paths {
                    *path = normal(&folder.join(&path));
                }
            }
        }
        self
    }
}

/// Removes `.` and `..` from a path without looking at the disk. `..` at the root stays at the root.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

impl<T: PartialEq> Grant<T> {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut items), Self::Only(more)) => {
                for item in more {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                Self::Only(items)
            }
            _ => Self::All,
        }
    }

    fn split_by(self, granted: &Self, covers: impl Fn(&T, &T) -> bool) -> (Self, Self) {
        match (self, granted) {
            (all, Self::All) => (all, Self::default()),
            (Self::All, Self::Only(_)) => (Self::default(), Self::All),
            (Self::Only(items), Self::Only(granted)) => {
                let is_covered = |item: &T| granted.iter().any(|granted| covers(item, granted));
                let (covered, rest) = items.into_iter().partition(is_covered);
                (Self::Only(covered), Self::Only(rest))
            }
        }
    }
}

impl NetRule {
    /// Returns whether this rule grants everything that another rule grants.
    fn covers(&self, other: &Self) -> bool {
        let same_port = self.port.is_none() || self.port == other.port;
        let same_hosts = match &other.hosts {
            Hosts::One(host) => self.allows(host, other.port.unwrap_or_default()),
            Hosts::Beneath(_) => self.hosts == other.hosts,
        };
        same_port && same_hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(json: &str) -> Permissions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_asked_is_covered_or_left() {
        for (asked, granted, covered) in [
            // Hosts: a rule for any port covers one port; a star covers exactly one label.
            (r#"{"net": ["a.org:443"]}"#, r#"{"net": ["a.org"]}"#, true),
            (r#"{"net": ["a.org"]}"#, r#"{"net": ["a.org"]}"#, true),
            (r#"{"net": ["a.org"]}"#, r#"{"net": ["a.org:443"]}"#, false),
            (r#"{"net": ["a.org:80"]}"#, r#"{"net": ["a.org:443"]}"#, false),
            (r#"{"net": ["b.a.org"]}"#, r#"{"net": ["*.a.org"]}"#, true),
            (r#"{"net": ["b.a.org:80"]}"#, r#"{"net": ["*.a.org:80"]}"#, true),
            (r#"{"net": ["b.a.org"]}"#, r#"{"net": ["*.a.org:80"]}"#, false),
            (r#"{"net": ["a.org"]}"#, r#"{"net": ["*.a.org"]}"#, false),
            (r#"{"net": ["*.a.org"]}"#, r#"{"net": ["*.a.org"]}"#, true),
            (r#"{"net": ["*.a.org:80"]}"#, r#"{"net": ["*.a.org"]}"#, true),
            (r#"{"net": ["*.a.org"]}"#, r#"{"net": ["b.a.org"]}"#, false),
            (r#"{"net": ["*.b.a.org"]}"#, r#"{"net": ["*.a.org"]}"#, false),
            (r#"{"net": ["0x7f.1"]}"#, r#"{"net": ["127.0.0.1"]}"#, true),
            // Folders: a path inside a granted folder is covered; a path that only shares a prefix is not.
            (r#"{"read": ["/a/b/c"]}"#, r#"{"read": ["/a/b"]}"#, true),
            (r#"{"read": ["/a/b"]}"#, r#"{"read": ["/a/b"]}"#, true),
            (r#"{"read": ["/a/bc"]}"#, r#"{"read": ["/a/b"]}"#, false),
            (r#"{"read": ["/a"]}"#, r#"{"read": ["/a/b"]}"#, false),
            (r#"{"write": ["/a"]}"#, r#"{"read": ["/a"]}"#, false),
        ] {
            let asked = permissions(asked);
            let (is, rest) = asked.clone().split_by(&permissions(granted));
            let nothing = Permissions::default();
            let expected = if covered { (asked.clone(), nothing) } else { (nothing, asked.clone()) };
            assert_eq!((is, rest), expected, "{asked:?} by {granted}");
            assert_eq!(asked.clone().split_by(&Permissions::all()).0, asked);
        }
    }

    #[test]
    fn everything_is_covered_by_nothing_less() {
        let (covered, rest) = Permissions::all().split_by(&permissions(r#"{"net": ["a.org"]}"#));
        assert_eq!((covered, rest), (Permissions::default(), Permissions::all()));
    }

    #[test]
    fn two_sets_become_one_without_repeats() {
        let both = permissions(r#"{"net": ["a.org"], "read": ["/a"]}"#)
            .and(permissions(r#"{"net": ["b.org", "a.org"], "write": ["/b"]}"#));
        assert_eq!(both, permissions(r#"{"net": ["a.org", "b.org"], "read": ["/a"], "write": ["/b"]}"#));
        assert_eq!(both.and(Permissions::all()), Permissions::all());
    }

    #[cfg(unix)]
    #[test]
    fn paths_are_made_absolute_without_dots() {
        for (path, absolute) in [
            ("data", "/home/ada/data"),
            ("./data/./x", "/home/ada/data/x"),
            (".", "/home/ada"),
            ("../ada2", "/home/ada2"),
            ("../../../../etc", "/etc"),
            ("/srv/../var//log/", "/var/log"),
        ] {
            let asked =
                Permissions { read: [PathBuf::from(path)].into_iter().collect(), ..Permissions::default() };
            let expected = Grant::Only(vec![PathBuf::from(absolute)]);
            assert_eq!(asked.beneath(Path::new("/home/ada")).read, expected, "{path}");
        }
    }
}
