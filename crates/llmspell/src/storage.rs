//! The persistent storage of a spell: keys with values in SQLite, and files in a folder next to the database.
//!
//! Each spell has its own folder in the storage root, named for the spell and a hash of its path. A quota
//! bounds the bytes and entries of keys and files together. Several processes may use one storage at once: files are
//! written under the database's write lock, so the quota holds between processes too.

mod database;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use llmspell_core::capability::{FileInfo, FileKind, MemoryBudget, Storage, outside_storage};
use llmspell_core::effect::Permit;
use llmspell_core::{Error, ErrorKind, InnerPath, Result};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::files::{blocking, if_there};
use crate::jail::{Jail, JailError, MAX_READ};
use crate::spell::Spell;
use database::{Database, Used, WriteTransaction};

const DATABASE: &str = "storage.db";
const FILES: &str = "files";

/// The most characters of a spell's name that go into the name of its folder.
const MAX_NAME: usize = 64;

/// The storage of one spell, opened at its first use.
pub(crate) struct Store {
    place: StorageLocation,
    /// Behind a lock, so that at most one thread of a run waits for the disk.
    opened: Arc<Mutex<Option<OpenStore>>>,
}

struct OpenStore {
    database: Database,
    files: Jail,
    /// Whether this run has counted the files. It counts once, because other programs may have changed them.
    counted: bool,
}

impl Store {
    /// Creates the storage of a spell in `root`, the folder of all storages. Nothing is opened yet.
    pub(crate) fn new(root: &Path, spell: &Spell) -> Self {
        let (name, origin) = (spell.name().to_owned(), spell.origin().map(Path::to_owned));
        Self { place: StorageLocation { root: root.to_owned(), name, origin }, opened: Arc::default() }
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut OpenStore) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (opened, place) = (Arc::clone(&self.opened), self.place.clone());
        async move {
            let mut opened = opened.lock_owned().await;
            blocking(move || match &mut *opened {
                Some(opened) => work(opened),
                none => work(none.insert(OpenStore::open(&place.folder())?)),
            })
            .await
        }
        .boxed()
    }

    fn run_file<T: Send + 'static>(
        &self,
        path: InnerPath,
        doing: &'static str,
        work: impl FnOnce(&mut OpenStore, &InnerPath) -> Result<T, JailError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        self.run(move |opened| {
            let shown = path.as_str();
            work(opened, &path).map_err(|fault| fault.into_error(doing, shown, || outside_storage(shown)))
        })
    }
}

/// The location of a spell's storage.
#[derive(Debug, Clone)]
struct StorageLocation {
    root: PathBuf,
    name: String,
    origin: Option<PathBuf>,
}

impl StorageLocation {
    /// Returns the folder of the spell. Spells with the same name but different paths have different folders.
    fn folder(&self) -> PathBuf {
        let plain = |sign: char| sign.is_ascii_alphanumeric() || sign == '-';
        let name: String =
            self.name.chars().take(MAX_NAME).map(|sign| if plain(sign) { sign } else { '_' }).collect();
        let digest = match &self.origin {
            Some(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                Sha256::digest(path.as_os_str().as_encoded_bytes())
            }
            // A spell without a path is hashed by its name. A path cannot contain NUL, so the two never collide.
            None => Sha256::digest(format!("\0{}", self.name)),
        };
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.root.join(format!("{name}-{digest}"))
    }
}

impl OpenStore {
    fn open(folder: &Path) -> Result<Self> {
        let failed = |fault: JailError| {
            let shown = folder.display().to_string();
            fault.into_error("open", &shown, || {
                Error::new(ErrorKind::Io, format!("the storage in {shown} is not what llmspell made"))
                    .hint("there is a link or a file of another kind in it: move it away")
            })
        };
        let jail = Jail::open_private(folder).map_err(JailError::from).map_err(failed)?;
        let named = |name| InnerPath::new(name).ok_or(JailError::Missing);
        let files = named(FILES).and_then(|path| jail.inner(&path)).map_err(failed)?;
        // SQLite opens the database by its path: refuse a link or a special file there beforehand.
        named(DATABASE).and_then(|path| if_there(jail.stat(&path))).map_err(failed)?;
        Ok(Self { database: Database::open(&jail.place().join(DATABASE))?, files, counted: false })
    }

    /// Changes the files under the database's write lock, if the quota allows the difference that `more` computes. If
    /// it does not, the files are counted again first, in case other programs removed some.
    fn change(
        &mut self,
        more: impl Fn(&Jail) -> Result<Used, JailError>,
        work: impl FnOnce(&Jail) -> Result<(), JailError>,
    ) -> Result<(), JailError> {
        let change = self.database.change().map_err(JailError::Run)?;
        if !self.counted {
            recount(&change, &self.files)?;
            self.counted = true;
        }
        let more = more(&self.files)?;
        if change.allow(more).is_err() {
            recount(&change, &self.files)?;
            change.allow(more).map_err(JailError::Run)?;
        }
        work(&self.files)?;
        change.add_files(more).and_then(|()| change.commit()).map_err(JailError::Run)
    }
}

/// Counts the files again. The caller holds the write lock, so temporary files belong to killed writers and are
/// removed.
fn recount(change: &WriteTransaction<'_>, files: &Jail) -> Result<(), JailError> {
    files.sweep()?;
    let mut used = Used::default();
    files.walk(&InnerPath::default(), &mut |_, info| {
        used = used.plus(Used::entry(info.size));
        Ok(true)
    })?;
    change.set_files(used).map_err(JailError::Run)
}

/// Returns how much a write adds to the usage, folders included. `bytes` computes the new size of the file from its old
/// one.
fn to_write(files: &Jail, path: &InnerPath, bytes: impl Fn(u64) -> u64) -> Result<Used, JailError> {
    let was = if_there(files.stat(path))?;
    let before = was.as_ref().map_or(0, |was| was.size);
    let mut more = Used { bytes: signed(bytes(before)) - signed(before), entries: 0 };
    let mut missing = was.is_none().then(|| path.clone());
    while let Some(path) = missing {
        more.entries += 1;
        let folder = path.split().map(|(folder, _)| folder).filter(|folder| !folder.is_root());
        missing = match folder {
            Some(folder) if if_there(files.stat(&folder))?.is_none() => Some(folder),
            _ => None,
        };
    }
    Ok(more)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Storage for Store {
    fn get(&self, _: Permit, key: String, room: MemoryBudget) -> BoxFuture<'static, Result<Option<String>>> {
        self.run(move |opened| opened.database.get(&key, |bytes| room.take(bytes)))
    }

    fn set(&self, _: Permit, key: String, value: String) -> BoxFuture<'static, Result<()>> {
        self.run(move |opened| {
            let change = opened.database.change()?;
            change.set(&key, &value)?;
            change.commit()
        })
    }

    fn replace(
        &self,
        _: Permit,
        key: String,
        was: Option<String>,
        value: String,
    ) -> BoxFuture<'static, Result<bool>> {
        self.run(move |opened| {
            let change = opened.database.change()?;
            let unchanged = change.is(&key, was.as_deref())?;
            if unchanged {
                change.set(&key, &value)?;
                change.commit()?;
            }
            Ok(unchanged)
        })
    }

    fn delete(&self, _: Permit, key: String) -> BoxFuture<'static, Result<bool>> {
        self.run(move |opened| {
            let change = opened.database.change()?;
            let was_there = change.delete(&key)?;
            change.commit()?;
            Ok(was_there)
        })
    }

    fn keys(&self, _: Permit, prefix: String) -> BoxFuture<'static, Result<Vec<String>>> {
        self.run(move |opened| opened.database.keys(&prefix))
    }

    fn read(&self, _: Permit, path: InnerPath, room: MemoryBudget) -> BoxFuture<'static, Result<Vec<u8>>> {
        self.run_file(path, "read", move |opened, path| {
            opened.files.read(path, MAX_READ, |bytes| room.take(bytes))
        })
    }

    fn write(&self, _: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>> {
        self.run_file(path, "write", move |opened, path| {
            let length = bytes.len() as u64;
            opened.change(|files| to_write(files, path, |_| length), |files| files.write(path, &bytes))
        })
    }

    fn append(&self, _: Permit, path: InnerPath, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>> {
        self.run_file(path, "write", move |opened, path| {
            let length = bytes.len() as u64;
            opened
                .change(|files| to_write(files, path, |was| was + length), |files| files.append(path, &bytes))
        })
    }

    fn list(&self, _: Permit, path: InnerPath) -> BoxFuture<'static, Result<Vec<String>>> {
        self.run_file(path, "list", |opened, path| opened.files.list(path))
    }

    fn stat(&self, _: Permit, path: InnerPath) -> BoxFuture<'static, Result<Option<FileInfo>>> {
        self.run_file(path, "look at", |opened, path| if_there(opened.files.stat(path)))
    }

    fn remove(&self, _: Permit, path: InnerPath) -> BoxFuture<'static, Result<()>> {
        self.run_file(path, "remove", |opened, path| {
            let less = |files: &Jail| {
                let info = files.stat(path)?;
                let bytes = if info.kind == FileKind::File { -signed(info.size) } else { 0 };
                Ok(Used { bytes, entries: -1 })
            };
            opened.change(less, |files| files.remove(path))
        })
    }
}
