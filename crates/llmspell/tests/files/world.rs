//! A granted folder, a neighbouring folder that a spell must never see, and the spell's storage.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use llmspell::{Limits, Outcome, Permissions, Runtime, Spell, Value};
use tempfile::TempDir;

/// A text that no spell may ever read.
pub(crate) const CANARY: &str = "the canary";

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["granted/in", "outside"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        fs::write(world.path("granted/in/a.txt"), "inside").unwrap();
        fs::write(world.path("outside/secret.txt"), CANARY).unwrap();
        world
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Runs a script that may read and write `granted`.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        self.run_within(512 << 20, script)
    }

    /// Like [`run`](Self::run), with this memory limit.
    pub(crate) fn run_within(&self, memory: u64, script: &str) -> Outcome {
        self.start(luau(script), permissions(self.folder.path()), memory)
    }

    /// Runs a spell in any language, which may take as long as `ROUNDS` needs.
    pub(crate) fn run_spell(&self, spell: Spell) -> Outcome {
        const HOUR: Duration = Duration::from_secs(3_600);
        self.start_within(spell, permissions(self.folder.path()), |limits| {
            (limits.memory, limits.cpu, limits.wall) = (512 << 20, HOUR, HOUR);
        })
    }

    /// Runs a script with other permissions.
    pub(crate) fn run_with(&self, script: &str, permissions: Permissions) -> Outcome {
        self.start(luau(script), permissions, 512 << 20)
    }

    fn start(&self, spell: Spell, permissions: Permissions, memory: u64) -> Outcome {
        self.start_within(spell, permissions, |limits| limits.memory = memory)
    }

    fn start_within(
        &self,
        spell: Spell,
        permissions: Permissions,
        limits: impl FnOnce(&mut Limits),
    ) -> Outcome {
        let cast = runtime(self.folder.path()).run(spell).permissions(permissions);
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(cast.limits(limits).start().outcome())
    }

    /// Returns the value of a script.
    pub(crate) fn value(&self, script: &str) -> Value {
        self.run(script).into_result().unwrap()
    }

    /// Returns the lines that a script returns.
    pub(crate) fn lines(&self, script: &str) -> Vec<String> {
        let Value::List(lines) = self.value(script) else { panic!("not a list") };
        lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// The folder of the spell's storage.
    pub(crate) fn storage(&self) -> PathBuf {
        let mut spells = fs::read_dir(self.path("storage")).unwrap();
        spells.next().unwrap().unwrap().path()
    }

    /// Creates a link of each kind that leads outside, and one that stays inside. Returns the paths that lead outside.
    pub(crate) fn plant(&self, folder: &Path) -> Vec<&'static str> {
        let outside = self.path("outside");
        symlink(outside.join("secret.txt"), folder.join("link.txt")).unwrap();
        symlink(&outside, folder.join("door")).unwrap();
        symlink(outside.join("nowhere"), folder.join("dangling")).unwrap();
        symlink("/proc", folder.join("proc")).unwrap();
        fs::create_dir(folder.join("plain")).unwrap();
        fs::write(folder.join("plain/a.txt"), "inside").unwrap();
        symlink("plain/a.txt", folder.join("inner.txt")).unwrap();
        symlink("plain", folder.join("inner")).unwrap();
        fs::hard_link(outside.join("secret.txt"), folder.join("hard.txt")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        vec![
            "link.txt",
            "door",
            "door/secret.txt",
            "door/nothing.txt",
            "dangling",
            "dangling/a",
            "proc/self/environ",
            "inner.txt",
            "inner",
            "inner/a.txt",
            "hard.txt",
            "pipe",
            "socket",
        ]
    }

    /// Checks that nothing escaped: the outside is unchanged, and no temporary file is left anywhere.
    pub(crate) fn check(&self) {
        assert_eq!(names(&self.path("outside")), ["secret.txt"]);
        assert_eq!(fs::read_to_string(self.path("outside/secret.txt")).unwrap(), CANARY);
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for name in names(&folder) {
                assert!(!name.starts_with(".llmspell"), "{name} is left in {}", folder.display());
                let path = folder.join(name);
                folders.extend(path.symlink_metadata().unwrap().is_dir().then_some(path));
            }
        }
    }
}

fn luau(script: &str) -> Spell {
    Spell::from_source("test.luau", script).unwrap()
}

/// Returns a runtime that works in a world's folder.
pub(crate) fn runtime(folder: &Path) -> Runtime {
    Runtime::builder().workers(1).working_dir(folder).storage(folder.join("storage")).build().unwrap()
}

/// Returns permission to read and write `granted`.
pub(crate) fn permissions(folder: &Path) -> Permissions {
    let granted = || [folder.join("granted")].into_iter().collect();
    Permissions { read: granted(), write: granted(), ..Permissions::default() }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
