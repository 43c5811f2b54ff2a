//! The jail: every way out of a granted folder, tried with every operation.

use std::fs;

use llmspell::{Grant, Permissions};

use crate::world::{CANARY, World};

/// Returns a script that tries every operation of a bridge on a path, and returns one line for each.
fn script(bridge: &str, path: &str) -> String {
    let path = path.escape_default();
    format!(
        r#"
        local bridge, path, lines = {bridge}, "{path}", {{}}
        for _, name in {{"read", "read_bytes", "write", "append", "list", "glob", "stat", "exists", "remove"}} do
            if bridge[name] then
                local done, value, err = pcall(bridge[name], path, if name == "write" or name == "append" then "x" else nil)
                err = err or value
                table.insert(lines, name .. ": " .. (if type(err) == "table" and err.kind then err.kind .. ": " .. err.message .. " | " .. tostring(err.hint)
                    else json.encode(value)))
            end
        end
        return lines"#
    )
}

/// Paths whose characters alone lead outside.
const OUTSIDE: [&str; 15] = [
    "..",
    "../outside/secret.txt",
    "granted/../outside/secret.txt",
    "granted/in/../../outside/secret.txt",
    "outside/secret.txt",
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/stdin",
    "~/secret",
    "C:/secret",
    "granted\\..\\outside",
    "\\\\?\\C:\\secret",
    "granted/in/a.txt\0",
    "granted/in./a.txt",
    "",
];

#[test]
fn what_lies_outside_is_refused_alike_whether_it_is_there_or_not() {
    let world = World::new();
    for path in OUTSIDE {
        for line in world.lines(&script("fs", path)) {
            if line == "glob: []" {
                continue;
            }
            assert!(line.contains(": permission.denied: the spell may not "), "{path:?}: {line}");
        }
    }
    let there = world.lines(&script("fs", "outside/secret.txt"));
    let not_there = world.lines(&script("fs", "outside/secrex.txt"));
    assert_eq!(there.join("\n").replace("secret", "secrex"), not_there.join("\n"));
    world.check();
}

#[test]
fn doors_in_a_granted_folder_are_refused_as_what_is_outside_is() {
    let world = World::new();
    for path in world.plant(&world.path("granted")) {
        let path = format!("granted/{path}");
        for line in world.lines(&script("fs", &path)) {
            // A pattern finds nothing. The other operations give the same error as for a path that is not granted.
            let verb = match line.split(':').next().unwrap() {
                "write" | "append" | "remove" => "write",
                // The error names the folder at the beginning of the pattern.
                "glob" => {
                    assert!(
                        line == "glob: []" || line.starts_with("glob: permission.denied: "),
                        "{path}: {line}"
                    );
                    continue;
                }
                _ => "read",
            };
            let refused = format!("permission.denied: the spell may not {verb} `{path}` | run it with");
            assert!(line.contains(&refused), "{path}: {line}");
        }
    }
    let seen = world.lines(
        r#"return {
        table.concat(fs.list("granted"), " "),
        table.concat(fs.glob("granted/**"), " "),
        table.concat(fs.glob("granted/*/*"), " "),
    }"#,
    );
    assert_eq!(
        seen,
        ["in plain", "granted/in/a.txt granted/plain/a.txt", "granted/in/a.txt granted/plain/a.txt"]
    );
    world.check();
}

#[test]
fn doors_in_the_storage_are_refused() {
    let world = World::new();
    world.value(r#"storage.write("first", "")"#);
    let outside: Vec<_> = OUTSIDE.into_iter().filter(|path| !path.starts_with("outside")).collect();
    for path in [world.plant(&world.storage().join("files")), outside].concat() {
        for line in world.lines(&script("storage", path)) {
            let refused = format!("permission.denied: `{path}` is not a file of the spell's storage | ");
            assert!(line.contains(&refused), "{path:?}: {line}");
        }
    }
    assert_eq!(world.lines("return storage.list()"), ["first", "plain"]);
    world.check();
}

#[test]
fn a_link_where_the_storage_is_kept_is_not_followed() {
    for name in ["files", "storage.db"] {
        let world = World::new();
        world.value(r#"storage.write("first", "")"#);
        let target = world.storage().join(name);
        fs::rename(&target, world.path("moved")).unwrap();
        std::os::unix::fs::symlink(world.path("moved"), &target).unwrap();
        let told = world.lines(r#"local _, err = storage.get("a") return {err.kind, err.message}"#);
        assert_eq!(told[0], "io", "{told:?}");
        assert!(told[1].contains("is not what llmspell made"), "{told:?}");
    }
}

#[test]
fn system_folders_are_refused_though_everything_was_granted() {
    let world = World::new();
    for path in [
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/sys/kernel/uevent_seqnum",
        "/dev/null",
        "/proc",
    ] {
        let script = format!(r#"local value, err = fs.stat("{path}") return {{err.kind}}"#);
        let outcome = world.run_with(&script, Permissions::all());
        assert_eq!(outcome.into_result().unwrap(), vec!["permission.denied".into()].into(), "{path}");
    }
    let all = world.run_with(r#"return fs.read("outside/secret.txt")"#, Permissions::all());
    assert_eq!(all.into_result().unwrap(), CANARY.into());
}

#[test]
fn a_single_file_may_be_granted_and_to_write_is_not_to_read() {
    let world = World::new();
    let file = || Grant::Only(vec![world.path("granted/in/a.txt")]);
    let read = Permissions { read: file(), ..Permissions::default() };
    let write = Permissions { write: file(), ..Permissions::default() };
    let script = r#"
        local read, denied = fs.read("granted/in/a.txt")
        local err = fs.write("granted/in/a.txt", "new")
        local _, beside = fs.read("granted/in")
        return {read or denied.kind, if err then err.kind else "written", beside.kind}"#;
    let told = |permissions| world.run_with(script, permissions).into_result().unwrap();
    let denied = "permission.denied";
    assert_eq!(told(read), vec!["inside".into(), denied.into(), denied.into()].into());
    assert_eq!(told(write), vec![denied.into(), "written".into(), denied.into()].into());
    assert_eq!(fs::read_to_string(world.path("granted/in/a.txt")).unwrap(), "new");
}

#[test]
fn what_was_granted_and_is_not_there_yet_is_made_by_the_first_write() {
    let world = World::new();
    let only =
        |path: &str| Permissions { write: Grant::Only(vec![world.path(path)]), ..Permissions::default() };
    for (granted, path) in [("out", "out/deep/a.txt"), ("result.txt", "result.txt")] {
        let script = format!(r#"local err = fs.write("{path}", "done") return err and err.message"#);
        assert_eq!(world.run_with(&script, only(granted)).into_result().unwrap(), llmspell::Value::Nil);
        assert_eq!(fs::read_to_string(world.path(path)).unwrap(), "done");
    }
}

#[test]
fn in_a_granted_folder_that_is_not_there_is_nothing() {
    let world = World::new();
    let read =
        |path: &str| Permissions { read: Grant::Only(vec![world.path(path)]), ..Permissions::default() };
    for (granted, path) in [
        ("none", "none/a.txt"),
        ("none", "none"),
        ("no/ne", "no/ne/deep/a.txt"),
        ("none.txt", "none.txt"),
        ("granted/in/a.txt", "granted/in/a.txt/b.txt"),
    ] {
        let script = format!(
            r#"local info, err = fs.stat("{path}")
               return {{(fs.exists("{path}")), info == nil, err.kind, err.message}}"#
        );
        let told = world.run_with(&script, read(granted)).into_result().unwrap();
        let missing = format!("there is no `{path}`").into();
        assert_eq!(told, vec![false.into(), true.into(), "not_found".into(), missing].into(), "{path}");
    }
}
