//! Writing in a jail. A file is replaced atomically: readers see the old content or the new one, never a part.

use std::io::{ErrorKind, Write};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, OpenOptions};
use llmspell_core::path::{InnerPath, unfinished};

use super::{FoundEntry, Jail, JailError, JailResult, enter, look, open_file};

/// How often a write starts again because another call removed a file or folder that it was using. Each retry needs
/// another removal at just that moment. Only if the granted folder itself was removed do all tries fail.
const MAX_TRIES: usize = 100;

impl Jail {
    /// Writes a whole file, and creates the folders on its path. An existing file keeps its mode.
    ///
    /// The bytes go to a temporary file in the same folder, which is synced to the disk and then renamed. So a kill or
    /// a power failure leaves the old content or the new one.
    pub(crate) fn write(&self, path: &InnerPath, bytes: &[u8]) -> JailResult<()> {
        self.in_folder(path, |folder, name| {
            let replaced = match look(folder, name)? {
                FoundEntry::Folder(_) => return Err(JailError::Folder),
                // Open the old file for writing first: this fails if its owner made it read-only.
                FoundEntry::File(_) => Some(open_file(folder, name, OpenOptions::new().write(true))?.1),
                FoundEntry::Nothing => None,
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

    /// Appends to a file. Creates the file and the folders on its path if they are missing.
    ///
    /// All bytes go out in one write, so that concurrent appends, also from other processes, do not mix their texts.
    pub(crate) fn append(&self, path: &InnerPath, bytes: &[u8]) -> JailResult<()> {
        self.in_folder(path, |folder, name| {
            let mut file = match open_file(folder, name, OpenOptions::new().append(true)) {
                Ok((file, _)) => file,
                Err(JailError::Missing) => match create(folder, name) {
                    // Another call created it first. Start again and open it like any existing file, since it may be a
                    // link.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(JailError::Missing),
                    created => created?,
                },
                Err(fault) => return Err(fault),
            };
            Ok(file.write_all(bytes)?)
        })
    }

    /// Opens the folder at a path, and creates each folder on the path that is missing.
    pub(super) fn make_folders(&self, path: &InnerPath) -> JailResult<Dir> {
        self.refuse_system(path)?;
        path.names().try_fold(self.dir.try_clone()?, |folder, name| match enter(&folder, name) {
            Err(JailError::Missing) => match folder.create_dir(name) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
                _ => enter(&folder, name),
            },
            entered => entered,
        })
    }

    /// Calls `work` with the folder of a path, created if it is missing, and the last name of the path. `work` is
    /// called again when it returns [`JailError::Missing`], because another call may have removed what it used; it must
    /// have changed nothing in that case.
    fn in_folder(&self, path: &InnerPath, work: impl Fn(&Dir, &str) -> JailResult<()>) -> JailResult<()> {
        let (folder, name) = path.split().ok_or(JailError::Folder)?;
        self.refuse_system(path)?;
        let mut done = Err(JailError::Missing);
        for _ in 0..MAX_TRIES {
            done = self.make_folders(&folder).and_then(|folder| work(&folder, name));
            if !matches!(done, Err(JailError::Missing)) {
                break;
            }
        }
        done
    }
}

/// Creates a file. Fails if the name exists, even as a link.
fn create(folder: &Dir, name: &str) -> std::io::Result<File> {
    folder.open_with(name, OpenOptions::new().append(true).create_new(true).follow(FollowSymlinks::No))
}

/// A temporary file that is being written. It is removed on drop unless it was finished.
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

    /// Renames the temporary file to its final name.
    fn finish(mut self, name: &str) -> std::io::Result<()> {
        self.folder.rename(&self.name, self.folder, name)?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // The write has already failed with an error, and that one is reported.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use llmspell_core::path::InnerPath;

    use super::super::{Jail, JailResult};

    const THREADS: usize = 4;

    fn jail() -> (tempfile::TempDir, Jail) {
        let folder = tempfile::tempdir().unwrap();
        let jail = Jail::open(folder.path()).unwrap();
        (folder, jail)
    }

    /// Runs `work` on all threads at the same moment, `rounds` times. Returns the faults.
    fn at_once(rounds: usize, work: impl Fn(usize) -> JailResult<()> + Sync) -> Vec<String> {
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
