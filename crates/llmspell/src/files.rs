//! The disk: file operations within the folders and files that a run was granted.
//!
//! [`Disk`] implements the `Files` capability. The gate decides beforehand which grant covers a path, and passes both
//! in a permit. `Disk` opens the granted folder as a [`Jail`] and does the rest on a blocking thread.

use std::collections::HashMap;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures_util::future::{BoxFuture, FutureExt};
use llmspell_core::capability::{FileInfo, FileKind, FilePermit, Files, MemoryBudget};
use llmspell_core::{Error, ErrorKind, InnerPath, Result};
use tokio::sync::Semaphore;

use crate::jail::{Jail, JailError, MAX_READ};

/// How many file operations of one run are active at once; each one occupies a blocking thread.
const AT_ONCE: usize = 8;
/// The most files that a pattern may match.
const MAX_FOUND: usize = 10_000;
/// The most files and folders that a pattern may be tried on.
const MAX_TRIED: usize = 200_000;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;
/// The most commas and braces in a pattern. Each of them can double the time to match.
const MAX_ALTERNATIVES: usize = 16;

/// The disk of one run. Each granted folder is opened when it is first used, and stays open.
#[derive(Debug)]
pub(crate) struct Disk {
    opened: Arc<Mutex<HashMap<PathBuf, Arc<Jail>>>>,
    threads: Arc<Semaphore>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { opened: Arc::default(), threads: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Whether to create the granted folder if it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    Yes,
    No,
}

/// The granted folder, and the path within it.
type Granted = Result<(Arc<Jail>, InnerPath), JailError>;

impl Disk {
    fn run<T: Send + 'static>(
        &self,
        permit: FilePermit,
        doing: &'static str,
        make: Make,
        work: impl FnOnce(&Jail, &InnerPath) -> Result<T, JailError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        self.run_on(permit, doing, make, |granted| granted.and_then(|(jail, path)| work(&jail, &path)))
    }

    /// Like `run`, but also calls `work` when the granted folder itself is missing.
    fn run_on<T: Send + 'static>(
        &self,
        permit: FilePermit,
        doing: &'static str,
        make: Make,
        work: impl FnOnce(Granted) -> Result<T, JailError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (opened, threads) = (Arc::clone(&self.opened), Arc::clone(&self.threads));
        async move {
            let thread = threads.acquire_owned().await.map_err(|_| Error::cancelled())?;
            blocking(move || {
                let _thread = thread;
                work(jail(&opened, permit.root(), permit.path(), make))
                    .map_err(|fault| fault.into_error(doing, permit.shown(), || permit.refusal()))
            })
            .await
        }
        .boxed()
    }
}

/// Runs a blocking disk operation on a thread for blocking work, so that the script's thread goes on.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("work on the disk came to no end: {error}")))?
}

/// Returns the jail of a grant and the path within it. If the grant is a single file, these are its folder and its
/// name.
fn jail(opened: &Mutex<HashMap<PathBuf, Arc<Jail>>>, root: &Path, path: &InnerPath, make: Make) -> Granted {
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(jail) = opened.get(root) {
        return Ok((Arc::clone(jail), path.clone()));
    }
    let (folder, path) = match Jail::open(root) {
        Err(error) if is_no_folder(&error) && path.is_root() => {
            let name = root.file_name().and_then(|name| name.to_str()).and_then(InnerPath::new);
            let (Some(folder), Some(name)) = (root.parent(), name) else { return Err(JailError::Missing) };
            return Ok((Arc::new(Jail::open(folder)?), name));
        }
        Err(error) if error.kind() == IoKind::NotFound && make == Make::Yes => {
            Dir::create_ambient_dir_all(root, ambient_authority())?;
            (Jail::open(root)?, path.clone())
        }
        jail => (jail?, path.clone()),
    };
    let folder = Arc::new(folder);
    opened.insert(root.to_owned(), Arc::clone(&folder));
    Ok((folder, path))
}

fn is_no_folder(error: &std::io::Error) -> bool {
    matches!(error.kind(), IoKind::NotFound | IoKind::NotADirectory)
}

/// Turns "not found" into `None`, as [`Files::stat`] and similar methods return it.
pub(crate) fn if_there(found: Result<FileInfo, JailError>) -> Result<Option<FileInfo>, JailError> {
    match found {
        Ok(info) => Ok(Some(info)),
        Err(JailError::Missing | JailError::NoFolder) => Ok(None),
        Err(fault) => Err(fault),
    }
}

impl Files for Disk {
    fn read(&self, permit: FilePermit, room: MemoryBudget) -> BoxFuture<'static, Result<Vec<u8>>> {
        self.run(permit, "read", Make::No, move |jail, path| {
            jail.read(path, MAX_READ, |bytes| room.take(bytes))
        })
    }

    fn write(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>> {
        self.run(permit, "write", Make::Yes, move |jail, path| jail.write(path, &bytes))
    }

    fn append(&self, permit: FilePermit, bytes: Vec<u8>) -> BoxFuture<'static, Result<()>> {
        self.run(permit, "write", Make::Yes, move |jail, path| jail.append(path, &bytes))
    }

    fn list(&self, permit: FilePermit) -> BoxFuture<'static, Result<Vec<String>>> {
        self.run(permit, "list", Make::No, Jail::list)
    }

    fn glob(&self, permit: FilePermit, pattern: String) -> BoxFuture<'static, Result<Vec<String>>> {
        match GlobPattern::new(pattern) {
            Ok(pattern) => self.run(permit, "list", Make::No, move |jail, path| pattern.find(jail, path)),
            Err(error) => futures_util::future::ready(Err(error)).boxed(),
        }
    }

    fn stat(&self, permit: FilePermit) -> BoxFuture<'static, Result<Option<FileInfo>>> {
        self.run_on(permit, "look at", Make::No, |granted| {
            if_there(granted.and_then(|(jail, path)| jail.stat(&path)))
        })
    }

    fn remove(&self, permit: FilePermit) -> BoxFuture<'static, Result<()>> {
        self.run(permit, "remove", Make::No, Jail::remove)
    }
}

/// A glob pattern.
struct GlobPattern {
    text: String,
    /// How many folders deep the pattern can match.
    depth: usize,
    /// Whether the pattern names files that begin with a dot. Such files are skipped otherwise.
    hidden: bool,
}

impl GlobPattern {
    fn new(text: String) -> Result<Self> {
        let wrong = |why: &str| Error::argument(format!("`{text}` is not a pattern: {why}"));
        if text.len() > MAX_PATTERN {
            return Err(wrong("it is too long"));
        }
        if text.starts_with('!') {
            return Err(wrong("it cannot begin with `!`"));
        }
        if text.matches([',', '{']).count() > MAX_ALTERNATIVES {
            return Err(wrong("it has too many alternatives in braces"));
        }
        fast_glob::validate(&text).map_err(|error| wrong(&error.to_string()))?;
        let deep = text.contains("**") || text.contains('{');
        let depth = if deep { usize::MAX } else { text.matches('/').count() };
        let hidden = text.split(['/', '{', ',']).any(|name| name.starts_with('.'));
        Ok(Self { text, depth, hidden })
    }

    fn find(&self, jail: &Jail, path: &InnerPath) -> Result<Vec<String>, JailError> {
        let (mut found, mut tried) = (Vec::new(), 0);
        jail.walk(path, &mut |path, info| {
            tried += 1;
            if tried > MAX_TRIED || found.len() > MAX_FOUND {
                let most = if tried > MAX_TRIED { "must be tried on" } else { "finds" };
                let error = Error::new(ErrorKind::Io, format!("the pattern {most} too many files"));
                return Err(JailError::Run(error.hint("name a narrower folder before the first `*`")));
            }
            let name = path.rsplit('/').next().unwrap_or(path);
            if name.starts_with('.') && !self.hidden {
                return Ok(false);
            }
            if info.kind == FileKind::File && fast_glob::glob_match(&self.text, path) {
                found.push(path.to_owned());
            }
            Ok(path.matches('/').count() < self.depth)
        })?;
        found.sort_unstable();
        Ok(found)
    }
}
