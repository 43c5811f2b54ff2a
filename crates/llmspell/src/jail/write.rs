//! Writing beneath a jail: whole or not at all.

use std::io::{ErrorKind, Write};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, OpenOptions};
use llmspell_core::path::{InnerPath, unfinished};

use super::{Fault, Found, Jail, Outcome, enter, look, open_file};

/// How often a write begins again because what it was about to use was removed. Each time takes another call that
/// removes it in that moment; only in a granted folder that is itself removed does it never succeed.
const MAX_TRIES: usize = 100;

impl Jail {
    /// Writes a whole file, or nothing of it, and the folders it is in. A file that was there keeps its mode.
    ///
    /// The text goes to a file beside it, which takes its name when it is whole and on the disk: after a kill, and after
    /// a power failure too, there is the old text or the new.
    pub(crate) fn write(&self, path: &InnerPath, bytes: &[u8]) -> Outcome<()> {
        self.in_folder(path, |folder, name| {
            let replaced = match look(folder, name)? {
                Found::Folder(_) => return Err(Fault::Folder),
                // Opened, so that a file its owner made read-only stays as it is.
                Found::File(_) => Some(open_file(folder, name, OpenOptions::new().write(true))?.1),
                Found::Nothing => None,
            };
            let (mut file, unfinished) = Unfinished::create(folder)?;
            if let Some(replaced) = replaced {
                file.set_permissions(replaced.permissions())?;
            }
            file.write_all(bytes)?;
            file.sync_data()?;
            Ok(unfinished.finish(name)?)
        })
    }

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    ///
    /// All bytes go out in one write, so that calls at the same time, in other processes too, do not mix their texts.
    pub(crate) fn append(&self, path: &InnerPath, bytes: &[u8]) -> Outcome<()> {
        self.in_folder(path, |folder, name| {
            let mut file = match open_file(folder, name, OpenOptions::new().append(true)) {
                Ok((file, _)) => file,
                Err(Fault::Missing) => match create(folder, name) {
                    // Another call made it first. It is opened as any file that is there: it may be a link.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(Fault::Missing),
                    created => created?,
                },
                Err(fault) => return Err(fault),
            };
            Ok(file.write_all(bytes)?)
        })
    }

    /// The folder at a path, and all on the way, made where there is nothing.
    pub(super) fn make_folders(&self, path: &InnerPath) -> Outcome<Dir> {
        self.refuse_system(path)?;
        path.names().try_fold(self.dir.try_clone()?, |folder, name| match enter(&folder, name) {
            Err(Fault::Missing) => match folder.create_dir(name) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
                _ => enter(&folder, name),
            },
            entered => entered,
        })
    }

    /// Does something with a name in its folder, which is made if need be. `work` begins again when what it relies on
    /// was removed by another call meanwhile; it must have done nothing then.
    fn in_folder(&self, path: &InnerPath, work: impl Fn(&Dir, &str) -> Outcome<()>) -> Outcome<()> {
        let (folder, name) = path.split().ok_or(Fault::Folder)?;
        self.refuse_system(path)?;
        let mut done = Err(Fault::Missing);
        for _ in 0..MAX_TRIES {
            done = self.make_folders(&folder).and_then(|folder| work(&folder, name));
            if !matches!(done, Err(Fault::Missing)) {
                break;
            }
        }
        done
    }
}

/// A new file, where there is nothing, not even a link.
fn create(folder: &Dir, name: &str) -> std::io::Result<File> {
    folder.open_with(name, OpenOptions::new().append(true).create_new(true).follow(FollowSymlinks::No))
}

/// A file that is still being written; removed unless it is finished.
struct Unfinished<'a> {
    folder: &'a Dir,
    name: String,
}

impl<'a> Unfinished<'a> {
    fn create(folder: &'a Dir) -> std::io::Result<(File, Self)> {
        let name = unfinished(&uuid::Uuid::now_v7().simple().to_string());
        let file = create(folder, &name)?;
        Ok((file, Self { folder, name }))
    }

    /// Gives it its name.
    fn finish(mut self, name: &str) -> std::io::Result<()> {
        self.folder.rename(&self.name, self.folder, name)?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // The error that ends the write is the one to tell.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use llmspell_core::path::InnerPath;

    use super::super::{Jail, Outcome};

    const THREADS: usize = 4;

    fn jail() -> (tempfile::TempDir, Jail) {
        let folder = tempfile::tempdir().unwrap();
        let jail = Jail::open(folder.path()).unwrap();
        (folder, jail)
    }

    /// Has all threads do the same at the same moment, `rounds` times. Returns the faults.
    fn at_once(rounds: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Vec<String> {
        let barrier = Barrier::new(THREADS);
        let thread = || {
            let faults = (0..rounds).filter_map(|round| {
                barrier.wait();
                work(round).err().map(|fault| format!("round {round}: {fault:?}"))
            });
            faults.collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn path(text: &str) -> InnerPath {
        InnerPath::new(text).unwrap()
    }

    #[test]
    fn appends_to_a_new_file_at_once_all_succeed() {
        const ROUNDS: usize = 2_000;
        let (_folder, jail) = jail();
        let faults = at_once(ROUNDS, |round| jail.append(&path(&round.to_string()), b"line\n"));
        assert_eq!(faults, [""; 0]);
        for round in 0..ROUNDS {
            let text = jail.read(&path(&round.to_string()), u64::MAX, |_| Ok(())).unwrap();
            assert_eq!(text, b"line\n".repeat(THREADS), "round {round}");
        }
    }

    #[test]
    fn a_file_that_is_replaced_meanwhile_is_not_refused() {
        let (_folder, jail) = jail();
        let faults = at_once(200, |round| {
            let path = path(&format!("{round}/inner/file"));
            jail.write(&path, b"text")?;
            jail.append(&path, b"")?;
            jail.read(&path, u64::MAX, |_| Ok(()))?;
            jail.stat(&path).map(drop)
        });
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn a_write_makes_its_folder_again_when_that_is_removed_meanwhile() {
        let (_folder, jail) = jail();
        let faults = at_once(500, |_| {
            let _ = (jail.remove(&path("folder/file")), jail.remove(&path("folder")));
            jail.append(&path("folder/file"), b"x")
        });
        assert_eq!(faults, [""; 0]);
    }
}
