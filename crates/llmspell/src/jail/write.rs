//! Writing beneath a jail: whole or not at all.

use std::io::{ErrorKind, Write};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, OpenOptions};
use llmspell_core::path::{InnerPath, unfinished};

use super::{Fault, Found, Jail, Outcome, enter, look, open_file};

impl Jail {
    /// Writes a whole file, or nothing of it, and the folders it is in. A file that was there keeps its mode.
    ///
    /// The text goes to a file beside it, which takes its name when it is whole and on the disk: after a kill, and after
    /// a power failure too, there is the old text or the new.
    pub(crate) fn write(&self, path: &InnerPath, bytes: &[u8]) -> Outcome<()> {
        let (folder, name) = self.parent_to_write(path)?;
        let replaced = match look(&folder, name)? {
            Found::Folder(_) => return Err(Fault::Folder),
            // Opened, so that a file its owner made read-only stays as it is.
            Found::File(_) => Some(open_file(&folder, name, OpenOptions::new().write(true))?.1),
            Found::Nothing => None,
        };
        let (mut file, unfinished) = Unfinished::create(&folder)?;
        if let Some(replaced) = replaced {
            file.set_permissions(replaced.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_data()?;
        Ok(unfinished.finish(name)?)
    }

    /// Writes at the end of a file, which is made if need be, with the folders it is in.
    pub(crate) fn append(&self, path: &InnerPath, bytes: &[u8]) -> Outcome<()> {
        let (folder, name) = self.parent_to_write(path)?;
        let mut file = match open_file(&folder, name, OpenOptions::new().append(true)) {
            Ok((file, _)) => file,
            Err(Fault::Missing) => create(&folder, name)?,
            Err(fault) => return Err(fault),
        };
        Ok(file.write_all(bytes)?)
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

    fn parent_to_write<'p>(&self, path: &'p InnerPath) -> Outcome<(Dir, &'p str)> {
        let (folder, name) = path.split().ok_or(Fault::Folder)?;
        self.refuse_system(path)?;
        Ok((self.make_folders(&folder)?, name))
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
