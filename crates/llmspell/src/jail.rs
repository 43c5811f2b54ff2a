//! A folder opened once, and everything in it opened beneath that handle, name by name and without following a link.
//!
//! A path is never checked as a string and opened as one: between the two a folder could be swapped for a link. Each
//! folder on the way is opened from the handle of the one before, and a file is judged by its own handle.

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

/// The most bytes that are read at once.
pub(crate) const MAX_READ: u64 = 64 << 20;

/// Folders of the system whose files are no files, but doors.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Why something beneath a jail could not be done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is a link on the way, or something that is neither a file nor a folder.
    Refused,
    /// There is nothing.
    Missing,
    /// A folder, where a file is wanted.
    Folder,
    /// No folder, where one is wanted.
    NoFolder,
    /// A file of so many bytes.
    TooLarge(u64),
    /// The run is over, or the spell may not.
    Run(Error),
    /// The system says so.
    Io(io::Error),
}

impl Fault {
    /// The error for a person, who knows the path by what the script called it. `refusal` is the error of what may not
    /// be told apart from other things that are refused.
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

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::NotADirectory => Self::NoFolder,
            ErrorKind::IsADirectory => Self::Folder,
            _ => Self::Io(error),
        }
    }
}

type Outcome<T> = std::result::Result<T, Fault>;

/// What a name in a folder stands for.
enum Found {
    File(Metadata),
    Folder(Metadata),
    Nothing,
}

/// A folder that cannot be left.
#[derive(Debug)]
pub(crate) struct Jail {
    dir: Dir,
    /// Where it is, links resolved.
    place: PathBuf,
}

impl Jail {
    /// Opens a folder. That the way to it leads through links is its owner's affair.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self { dir, place: path.canonicalize()? })
    }

    /// Opens a folder that only its owner may look into, made if need be.
    pub(crate) fn open_private(path: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Self::open(path)
    }

    /// A folder of it as a jail of its own, made if need be.
    pub(crate) fn inner(&self, path: &InnerPath) -> Outcome<Self> {
        Ok(Self { dir: self.make_folders(path)?, place: self.place.join(path.as_str()) })
    }

    /// Where it is, links resolved.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Reads a whole file of at most `most` bytes. `room` is asked for its size before any of it is read.
    pub(crate) fn read(
        &self,
        path: &InnerPath,
        most: u64,
        room: impl FnOnce(u64) -> Result<()>,
    ) -> Outcome<Vec<u8>> {
        let (folder, name) = self.parent(path)?;
        let (file, metadata) = open_file(&folder, name, OpenOptions::new().read(true))?;
        let size = metadata.len();
        if size > most {
            return Err(Fault::TooLarge(size));
        }
        room(size).map_err(Fault::Run)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // No more than was asked for, though the file grow meanwhile.
        file.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What there is at a path.
    pub(crate) fn stat(&self, path: &InnerPath) -> Outcome<FileInfo> {
        if path.is_root() {
            self.refuse_system(path)?;
            return Ok(info(FileKind::Folder, &self.dir.dir_metadata()?));
        }
        let (folder, name) = self.parent(path)?;
        match look(&folder, name)? {
            Found::File(metadata) => Ok(info(FileKind::File, &metadata)),
            Found::Folder(metadata) => Ok(info(FileKind::Folder, &metadata)),
            Found::Nothing => Err(Fault::Missing),
        }
    }

    /// The names in a folder, sorted, of what is not refused.
    pub(crate) fn list(&self, path: &InnerPath) -> Outcome<Vec<String>> {
        Ok(entries(&self.folder(path)?)?.into_keys().collect())
    }

    /// Visits what is beneath a folder, each with its path from there, each folder before what is in it and names in
    /// order. A folder is entered when `visit` says so.
    pub(crate) fn walk(
        &self,
        path: &InnerPath,
        visit: &mut dyn FnMut(&str, &FileInfo) -> Outcome<bool>,
    ) -> Outcome<()> {
        walk(&self.folder(path)?, String::new(), MAX_NAMES, visit)
    }

    /// Removes a file or an empty folder.
    pub(crate) fn remove(&self, path: &InnerPath) -> Outcome<()> {
        let (folder, name) = self.parent(path)?;
        match look(&folder, name)? {
            Found::File(_) => Ok(folder.remove_file(name)?),
            Found::Folder(_) => Ok(folder.remove_dir(name)?),
            Found::Nothing => Err(Fault::Missing),
        }
    }

    /// Removes the files that writers left unfinished when they were killed. Nobody may be writing.
    pub(crate) fn sweep(&self) -> Outcome<()> {
        sweep(&self.dir, MAX_NAMES)
    }

    fn parent<'p>(&self, path: &'p InnerPath) -> Outcome<(Dir, &'p str)> {
        self.refuse_system(path)?;
        let (folder, name) = path.split().ok_or(Fault::Folder)?;
        Ok((self.folder(&folder)?, name))
    }

    fn folder(&self, path: &InnerPath) -> Outcome<Dir> {
        self.refuse_system(path)?;
        path.names().try_fold(self.dir.try_clone()?, |folder, name| enter(&folder, name))
    }

    /// Beneath a link-free way the place of the folder tells where a path leads.
    fn refuse_system(&self, path: &InnerPath) -> Outcome<()> {
        let place = self.place.join(path.as_str());
        if cfg!(unix) && SYSTEM.iter().any(|system| place.starts_with(system)) {
            Err(Fault::Refused)
        } else {
            Ok(())
        }
    }
}

/// Opens a folder in a folder.
fn enter(folder: &Dir, name: &str) -> Outcome<Dir> {
    folder.open_dir_nofollow(name).map_err(|error| refused_or(folder, name, error))
}

/// Why a name could not be opened: a link is refused, whatever the system calls that.
fn refused_or(folder: &Dir, name: &str, error: io::Error) -> Fault {
    look(folder, name).err().unwrap_or_else(|| error.into())
}

/// What a name stands for. A link is refused, not followed.
fn look(folder: &Dir, name: &str) -> Outcome<Found> {
    loop {
        let metadata = match folder.symlink_metadata(name) {
            Ok(metadata) if metadata.is_dir() => return Ok(Found::Folder(metadata)),
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        match names_of(&metadata) {
            Names::None => {}
            Names::One => return Ok(Found::File(metadata)),
            Names::Refused => return Err(Fault::Refused),
        }
    }
}

/// How many names a file has.
enum Names {
    /// It was removed or replaced after it was found by its name: that name means something else by now.
    None,
    One,
    /// Several, one of which may be outside, or it is no file.
    Refused,
}

fn names_of(metadata: &Metadata) -> Names {
    match metadata.nlink() {
        0 if metadata.is_file() => Names::None,
        1 if metadata.is_file() => Names::One,
        _ => Names::Refused,
    }
}

/// Opens a file that is there, and judges it by its handle. What is no file is not opened at all, for to open some
/// devices is to use them; and if it becomes one meanwhile, opening does not wait for it.
fn open_file(folder: &Dir, name: &str, options: &mut OpenOptions) -> Outcome<(File, Metadata)> {
    loop {
        match look(folder, name)? {
            Found::File(_) => {}
            Found::Folder(_) => return Err(Fault::Folder),
            Found::Nothing => return Err(Fault::Missing),
        }
        let file = folder
            .open_with(name, options.follow(FollowSymlinks::No).nonblock(true))
            .map_err(|error| refused_or(folder, name, error))?;
        let metadata = file.metadata()?;
        match names_of(&metadata) {
            Names::None => {}
            Names::One => return Ok((file, metadata)),
            Names::Refused => return Err(Fault::Refused),
        }
    }
}

/// What is in a folder, by name, without what is refused or cannot be named.
fn entries(folder: &Dir) -> Outcome<BTreeMap<String, FileInfo>> {
    let mut found = BTreeMap::new();
    for entry in folder.entries()? {
        let Some(name) = entry?.file_name().to_str().filter(|name| is_plain(name)).map(str::to_owned) else {
            continue;
        };
        let info = match look(folder, &name) {
            Ok(Found::File(metadata)) => info(FileKind::File, &metadata),
            Ok(Found::Folder(metadata)) => info(FileKind::Folder, &metadata),
            Ok(Found::Nothing) | Err(_) => continue,
        };
        found.insert(name, info);
    }
    Ok(found)
}

fn walk(
    folder: &Dir,
    path: String,
    deeper: usize,
    visit: &mut dyn FnMut(&str, &FileInfo) -> Outcome<bool>,
) -> Outcome<()> {
    for (name, info) in entries(folder)? {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if !visit(&inner, &info)? || info.kind != FileKind::Folder || deeper == 0 {
            continue;
        }
        match enter(folder, &name).and_then(|entered| walk(&entered, inner, deeper - 1, visit)) {
            // Swapped or gone by now, or not ours to read: passed over as what is refused.
            Err(Fault::Refused | Fault::Missing | Fault::NoFolder) => {}
            Err(Fault::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {}
            walked => walked?,
        }
    }
    Ok(())
}

fn sweep(folder: &Dir, deeper: usize) -> Outcome<()> {
    for entry in folder.entries()? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_unfinished(name) {
            folder.remove_file(name)?;
        } else if let (Ok(Found::Folder(_)), 1..) = (look(folder, name), deeper) {
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
