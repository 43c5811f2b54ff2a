//! Folders and files that are replaced by links while a spell runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::world::{CANARY, World};

/// Swaps names in one folder until `stop` is set. Returns the number of swaps.
fn swap(folder: &Path, pairs: &[(&str, &str)], stop: &AtomicBool) -> u64 {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        for (a, b) in pairs {
            renameat_with(CWD, folder.join(a), CWD, folder.join(b), RenameFlags::EXCHANGE).unwrap();
            swaps += 1;
        }
    }
    swaps
}

#[test]
fn what_is_swapped_for_a_link_is_never_followed() {
    let world = World::new();
    let granted = world.path("granted");
    std::fs::write(granted.join("in/secret.txt"), "inside").unwrap();
    std::fs::write(granted.join("file.txt"), "inside").unwrap();
    symlink(world.path("outside"), granted.join("door")).unwrap();
    symlink(world.path("outside/secret.txt"), granted.join("link.txt")).unwrap();

    let stop = AtomicBool::new(false);
    let (outcome, swaps) = std::thread::scope(|threads| {
        let swapping = threads.spawn(|| swap(&granted, &[("in", "door"), ("file.txt", "link.txt")], &stop));
        let outcome = world.run(
            r#"
            local came = {}
            for round = 1, 2000 do
                local kinds = {}
                for _, path in {"granted/in/secret.txt", "granted/file.txt"} do
                    local text, err = fs.read(path)
                    came[text or err.kind] = true
                    local info, _ = fs.stat(path)
                    came[tostring(info and info.size)] = true
                end
                local found, _ = fs.glob("granted/in/*.txt")
                came[table.concat(found or {"refused"}, " ")] = true
                pcall(fs.write, "granted/in/new.txt", "x")
                pcall(fs.append, "granted/in/more.txt", "x")
                pcall(fs.remove, "granted/in/new.txt")
                pcall(fs.append, "granted/file.txt", "")
            end
            return came"#,
        );
        stop.store(true, Ordering::Relaxed);
        (outcome, swapping.join().unwrap())
    });
    let llmspell::Value::Map(came) = outcome.into_result().unwrap() else { panic!("not a table") };
    assert!(
        came.contains_key("inside") && came.contains_key("permission.denied"),
        "{came:?} in {swaps} swaps"
    );
    assert!(!came.contains_key(CANARY) && !came.contains_key(&CANARY.len().to_string()), "{came:?}");
    world.check();
}
