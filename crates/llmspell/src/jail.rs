//! A jail: a folder that is opened once, and access to the files in it through its handle.
//!
//! Every file that a script reads or writes is opened by a [`Jail`]: those on the disk (`files.rs`) and those in the
//! spell's storage (`storage.rs`). The rules for every path are these.
//!
//! - A path is never checked as a string and then opened as one. Between the two steps another process could replace a
//!   folder by a link. The jail opens each folder from the handle of its parent and follows no symbolic link.
//! - A file is judged by its own open handle. It must be a regular file with exactly one name: a second hard link may
//!   lie outside of the folder.
//! - Devices, sockets, FIFOs and everything in `/proc`, `/sys` and `/dev` are refused.
//! - A refused link gives the same error as a path that the spell was not granted, so errors do not tell which files
//!   exist.
//!
//! For example, a script that was granted `/home/ada/texts` reads `notes/a.txt` in it:
//!
//! ```text
//! open   /home/ada/texts    once for the run, by its path
//! openat texts, notes       a folder, no link followed
//! openat notes, a.txt       after a look at its kind; no link followed, never blocking
//! fstat  a.txt              a regular file with one name, or refused
//! ```
//!
//! The jail knows neither permissions nor limits. Its callers check permissions at the gate, and a callback reserves
//! memory before a file is read.

mod write;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cap_fs_ext::{DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, OpenOptions};
use llmspell_core::capability::{FileInfo, FileKind};
use llmspell_core::path::{InnerPath, MAX_NAMES, is_plain, is_unfinished};
use llmspell_core::{Error, ErrorKind as Kind, Result};

/// The largest file, in bytes, that can be read as a whole.
pub(crate) const MAX_READ: u64 = 64 << 20;

/// System folders whose files give access to devices and to the kernel.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The reason why an operation in a jail failed.
#[derive(Debug)]
pub(crate) enum JailError {
    /// A link is on the path, or the target is neither a regular file nor a folder.
    Refused,
    /// Nothing exists at the path.
    Missing,
    /// The path leads to a folder where a file is expected.
    Folder,
    /// The path leads to something else where a folder is expected, or goes through a file.
    NoFolder,
    /// The file is too large; it has this many bytes.
    TooLarge(u64),
    /// The run has ended, or a limit or permission forbids the operation.
    Run(Error),
    /// Another error of the operating system.
    Io(io::Error),
}

impl JailError {
    /// Converts the fault into an error for the user. `shown` is the path as the script wrote it. `refusal` makes the
    /// error for everything that is refused, so that the user cannot tell one reason from another.
    pub(crate) fn into_error(self, doing: &str, shown: &str, refusal: impl FnOnce() -> Error) -> Error {
        match self {
            Self::Refused => refusal(),
            Self::Missing => Error::new(Kind::NotFound, format!("there is no `{shown}`")),
            Self::Folder => Error::new(Kind::Io, format!("`{shown}` is a folder, not a file")),
            Self::NoFolder => Error::new(Kind::Io, format!("`{shown}` is not a folder, or not in one")),
            Self::TooLarge(bytes) => Error::new(
                Kind::Io,
                format!(
                    "`{shown}` is too large to read at once: it has {bytes} bytes, and {MAX_READ} are read"
                ),
            ),
            Self::Run(error) => error,
            Self::Io(error) => {
                Error::new(Kind::Io, format!("cannot {doing} `{shown}`: {error}")).with_source(error)
            }
        }
    }
}

impl From<io::Error> for JailError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::NotADirectory => Self::NoFolder,
            ErrorKind::IsADirectory => Self::Folder,
            _ => Self::Io(error),
        }
    }
}

type JailResult<T> = std::result::Result<T, JailError>;

/// The thing that a name in a folder stands for.
enum FoundEntry {
    File(Metadata),
    Folder(Metadata),
    Nothing,
}

/// An open folder; no operation leaves it.
#[derive(Debug)]
pub(crate) struct Jail {
    dir: Dir,
    /// The absolute path of the folder, with links resolved.
    place: PathBuf,
}

impl Jail {
    /// Opens a folder. Links on the path to it are followed, because the path comes from the user and not from the
    /// script.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self { dir, place: path.canonicalize()? })
    }

    /// Opens a folder that only its owner may read, and creates it if it is missing.
    pub(crate) fn open_private(path: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Self::open(path)
    }

    /// Opens a folder inside the jail as another jail, and creates it if it is missing.
    pub(crate) fn inner(&self, path: &InnerPath) -> JailResult<Self> {
        Ok(Self { dir: self.make_folders(path)?, place: self.place.join(path.as_str()) })
    }

    /// Returns the absolute path of the folder, with links resolved.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Reads a whole file of at most `most` bytes. `room` is called with the size before any byte is read, and can
    /// refuse.
    pub(crate) fn read(
        &self,
        path: &InnerPath,
        most: u64,
        room: impl FnOnce(u64) -> Result<()>,
    ) -> JailResult<Vec<u8>> {
        let (folder, name) = self.parent(path)?;
        let (file, metadata) = open_file(&folder, name, OpenOptions::new().read(true))?;
        let size = metadata.len();
        if size > most {
            return Err(JailError::TooLarge(size));
        }
        room(size).map_err(JailError::Run)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // The file may grow while it is read: stop at the size that `room` allowed.
        file.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns the kind, size and modification time of a file or folder.
    pub(crate) fn stat(&self, path: &InnerPath) -> JailResult<FileInfo> {
        if path.is_root() {
            self.refuse_system(path)?;
            return Ok(info(FileKind::Folder, &self.dir.dir_metadata()?));
        }
        let (folder, name) = self.parent(path)?;
        match look(&folder, name)? {
            FoundEntry::File(metadata) => Ok(info(FileKind::File, &metadata)),
            FoundEntry::Folder(metadata) => Ok(info(FileKind::Folder, &metadata)),
            FoundEntry::Nothing => Err(JailError::Missing),
        }
    }

    /// Returns the sorted names in a folder. Entries that the jail would refuse to open are left out.
    pub(crate) fn list(&self, path: &InnerPath) -> JailResult<Vec<String>> {
        Ok(entries(&self.folder(path)?)?.into_keys().collect())
    }

    /// Visits everything inside a folder. Paths are relative to it; a folder comes before its content, and names are
    /// in order. The walk enters a folder only if `visit` returns `true` for it.
    pub(crate) fn walk(
        &self,
        path: &InnerPath,
        visit: &mut dyn FnMut(&str, &FileInfo) -> JailResult<bool>,
    ) -> JailResult<()> {
        walk(&self.folder(path)?, String::new(), MAX_NAMES, visit)
    }

    /// Removes a file or an empty folder.
    pub(crate) fn remove(&self, path: &InnerPath) -> JailResult<()> {
        let (folder, name) = self.parent(path)?;
        match look(&folder, name)? {
            FoundEntry::File(_) => Ok(folder.remove_file(name)?),
            FoundEntry::Folder(_) => Ok(folder.remove_dir(name)?),
            FoundEntry::Nothing => Err(JailError::Missing),
        }
    }

    /// Removes the temporary files that killed writers left behind. The caller must ensure that nobody is writing.
    pub(crate) fn sweep(&self) -> JailResult<()> {
        sweep(&self.dir, MAX_NAMES)
    }

    fn parent<'p>(&self, path: &'p InnerPath) -> JailResult<(Dir, &'p str)> {
        self.refuse_system(path)?;
        let (folder, name) = path.split().ok_or(JailError::Folder)?;
        Ok((self.folder(&folder)?, name))
    }

    fn folder(&self, path: &InnerPath) -> JailResult<Dir> {
        self.refuse_system(path)?;
        path.names().try_fold(self.dir.try_clone()?, |folder, name| enter(&folder, name))
    }

    /// Refuses paths in system folders. No link is followed below `place`, so joining the two gives the real location.
    fn refuse_system(&self, path: &InnerPath) -> JailResult<()> {
        let place = self.place.join(path.as_str());
        if cfg!(unix) && SYSTEM.iter().any(|system| place.starts_with(system)) {
            Err(JailError::Refused)
        } else {
            Ok(())
        }
    }
}

/// Opens a folder inside a folder, without following a link.
fn enter(folder: &Dir, name: &str) -> JailResult<Dir> {
    folder.open_dir_nofollow(name).map_err(|error| refused_or(folder, name, error))
}

/// Finds the reason why a name could not be opened. Systems use different error codes for a link; all become a refusal.
fn refused_or(folder: &Dir, name: &str, error: io::Error) -> JailError {
    look(folder, name).err().unwrap_or_else(|| error.into())
}

/// Looks up a name in a folder. A link is refused, not followed.
fn look(folder: &Dir, name: &str) -> JailResult<FoundEntry> {
    loop {
        let metadata = match folder.symlink_metadata(name) {
            Ok(metadata) if metadata.is_dir() => return Ok(FoundEntry::Folder(metadata)),
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(FoundEntry::Nothing),
            Err(error) => return Err(error.into()),
        };
        match names_of(&metadata) {
            HardLinks::None => {}
            HardLinks::One => return Ok(FoundEntry::File(metadata)),
            HardLinks::Refused => return Err(JailError::Refused),
        }
    }
}

/// The number of names (hard links) of a file.
enum HardLinks {
    /// The file was removed or replaced after the lookup by name, so the name stands for something else by now.
    None,
    One,
    /// It has several names, one of which may be outside of the jail; or it is not a regular file.
    Refused,
}

fn names_of(metadata: &Metadata) -> HardLinks {
    match metadata.nlink() {
        0 if metadata.is_file() => HardLinks::None,
        1 if metadata.is_file() => HardLinks::One,
        _ => HardLinks::Refused,
    }
}

/// Opens an existing file and judges it by its handle. The lookup comes first, because merely opening some devices has
/// side effects. If the file is replaced by a FIFO after the lookup, `nonblock` keeps the opening from waiting for a
/// writer.
fn open_file(folder: &Dir, name: &str, options: &mut OpenOptions) -> JailResult<(File, Metadata)> {
    loop {
        match look(folder, name)? {
            FoundEntry::File(_) => {}
            FoundEntry::Folder(_) => return Err(JailError::Folder),
            FoundEntry::Nothing => return Err(JailError::Missing),
        }
        let file = folder
            .open_with(name, options.follow(FollowSymlinks::No).nonblock(true))
            .map_err(|error| refused_or(folder, name, error))?;
        let metadata = file.metadata()?;
        match names_of(&metadata) {
            HardLinks::None => {}
            HardLinks::One => return Ok((file, metadata)),
            HardLinks::Refused => return Err(JailError::Refused),
        }
    }
}

/// Returns the entries of a folder by name, without those that are refused or whose names a script cannot write.
fn entries(folder: &Dir) -> JailResult<BTreeMap<String, FileInfo>> {
    let mut found = BTreeMap::new();
    for entry in folder.entries()? {
        let Some(name) = entry?.file_name().to_str().filter(|name| is_plain(name)).map(str::to_owned) else {
            continue;
        };
        let info = match look(folder, &name) {
            Ok(FoundEntry::File(metadata)) => info(FileKind::File, &metadata),
            Ok(FoundEntry::Folder(metadata)) => info(FileKind::Folder, &metadata),
            Ok(FoundEntry::Nothing) | Err(_) => continue,
        };
        found.insert(name, info);
    }
    Ok(found)
}

fn walk(
    folder: &Dir,
    path: String,
    deeper: usize,
    visit: &mut dyn FnMut(&str, &FileInfo) -> JailResult<bool>,
) -> JailResult<()> {
    for (name, info) in entries(folder)? {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if !visit(&inner, &info)? || info.kind != FileKind::Folder || deeper == 0 {
            continue;
        }
        match enter(folder, &name).and_then(|entered| walk(&entered, inner, deeper - 1, visit)) {
            // The folder was replaced or removed, or this user may not read it: skip it like any refused
            // entry.
            Err(JailError::Refused | JailError::Missing | JailError::NoFolder) => {}
            Err(JailError::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {}
            walked => walked?,
        }
    }
    Ok(())
}

fn sweep(folder: &Dir, deeper: usize) -> JailResult<()> {
    for entry in folder.entries()? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_unfinished(name) {
            folder.remove_file(name)?;
        } else if let (Ok(FoundEntry::Folder(_)), 1..) = (look(folder, name), deeper) {
            sweep(&enter(folder, name)?, deeper - 1)?;
        }
    }
    Ok(())
}

fn info(kind: FileKind, metadata: &Metadata) -> FileInfo {
    let modified = metadata.modified().ok().and_then(|time| time.into_std().duration_since(UNIX_EPOCH).ok());
    let size = if kind == FileKind::File { metadata.len() } else { 0 };
    FileInfo { kind, size, modified: modified.map(|time| time.as_secs_f64()) }
}
