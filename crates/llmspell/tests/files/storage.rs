//! Storage: separate for each spell, within its quota, and never damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use llmspell::{Runtime, Spell, Value};

use crate::world::{World, names};

fn told(outcome: llmspell::Outcome) -> String {
    outcome.into_result().unwrap().as_str().unwrap_or("nothing").to_owned()
}

#[test]
fn spells_of_one_name_in_different_places_do_not_share() {
    let world = World::new();
    let runtime = Runtime::builder().workers(1).storage(world.path("storage")).build().unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |spell| told(tokio.block_on(runtime.run(spell).start().outcome()));
    let script = r#"return storage.update("who", function(who) return (who or "") .. spell.name end)"#;
    for place in ["a", "b"] {
        fs::create_dir_all(world.path(place)).unwrap();
        fs::write(world.path(place).join("greet.luau"), script).unwrap();
    }
    let load = |place: &str| Spell::load(&world.path(place).join("greet.luau")).unwrap();
    assert_eq!(run(load("a")), "greet");
    assert_eq!(run(load("b")), "greet");
    assert_eq!(run(load("a/../a")), "greetgreet", "one place has one storage however it is written");
    assert_eq!(run(Spell::from_source("greet.luau", script).unwrap()), "greet");
    let folders = names(&world.path("storage"));
    assert_eq!(folders.len(), 3);
    for folder in folders {
        let (name, hash) = folder.split_once('-').unwrap();
        assert!(name == "greet" && hash.len() == 16, "{folder}");
        let mode = fs::metadata(world.path("storage").join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_name_cannot_lead_out_of_the_storage() {
    let world = World::new();
    let runtime = Runtime::builder().workers(1).storage(world.path("storage")).build().unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let long = "n".repeat(300);
    for name in ["../../outside/evil.luau", "....luau", &format!("{long}.luau"), "ü\n.luau"] {
        let spell = Spell::from_source(name, r#"return storage.set("a", 1)"#).unwrap();
        tokio.block_on(runtime.run(spell).start().outcome()).into_result().unwrap();
    }
    assert_eq!(names(&world.path("storage")).len(), 4);
    world.check();
}

#[test]
fn without_storage_the_error_says_so_and_nothing_is_opened_by_a_spell_that_keeps_nothing() {
    let world = World::new();
    world.value("return 1");
    assert!(!world.path("storage").exists());
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let spell =
        Spell::from_source("a.luau", r#"local _, err = storage.get("a") return err.message"#).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(told(tokio.block_on(runtime.run(spell).start().outcome())), "this runtime has no storage");
}

#[test]
fn keys_and_files_share_one_quota_of_bytes() {
    let world = World::new();
    let lines = world.lines(
        r#"
        local MB = 1024 * 1024
        local lines = {}
        local function try(what, method, ...)
            local done, err = pcall(method, ...)
            table.insert(lines, what .. ": " .. (if done then "done" else err.message))
        end
        try("40 MB in a file", storage.write, "a", ("x"):rep(40 * MB))
        try("20 MB in a key", storage.set, "b", ("x"):rep(20 * MB))
        try("5 MB in a file", storage.write, "c", ("x"):rep(5 * MB))
        try("5 MB at the end", storage.append, "a", ("x"):rep(5 * MB))
        try("5 MB in a key", storage.set, "c", ("x"):rep(5 * MB))
        try("less in the file", storage.write, "a", "x")
        try("5 MB in a key", storage.set, "c", ("x"):rep(5 * MB))
        try("25 MB in the other", function() assert(storage.update("b", function() return ("x"):rep(25 * MB) end)) end)
        return lines"#,
    );
    let full = |left: u32, needed: u32, entries: u32| {
        format!(
            "the spell's storage is full: of 67108864 bytes {left} are left and {needed} are needed, of 10000 \
             entries 9998 are left and {entries} are needed"
        )
    };
    // The name of the key and the two quotes of its JSON count.
    let left = (4 << 20) - 3;
    assert_eq!(
        lines,
        [
            "40 MB in a file: done".to_owned(),
            "20 MB in a key: done".to_owned(),
            format!("5 MB in a file: {}", full(left, 5 << 20, 1)),
            format!("5 MB at the end: {}", full(left, 5 << 20, 0)),
            format!("5 MB in a key: {}", full(left, (5 << 20) + 3, 1)),
            "less in the file: done".to_owned(),
            "5 MB in a key: done".to_owned(),
            "25 MB in the other: done".to_owned(),
        ]
    );
}

#[test]
fn keys_files_and_folders_share_one_quota_of_entries() {
    let world = World::new();
    let lines = world.lines(
        r#"
        for number = 1, 9990 do storage.set("key" .. number, number) end
        storage.write("a/b/c.txt", "")
        for number = 1, 7 do storage.append("file" .. number, "x") end
        local function kind(method, ...)
            local done, err = pcall(method, ...)
            return if done then "done" else err.kind
        end
        return {
            kind(storage.set, "one more", 1), kind(storage.write, "another", ""), kind(storage.append, "another", ""),
            kind(storage.set, "key1", 2), kind(storage.append, "file1", "x"),
            kind(storage.remove, "file1"), kind(storage.set, "one more", 1), kind(storage.set, "two more", 1),
            tostring(storage.delete("key2")), kind(storage.write, "d/e.txt", ""), kind(storage.write, "e.txt", ""),
        }"#,
    );
    assert_eq!(lines, ["io", "io", "io", "done", "done", "done", "done", "io", "true", "io", "done"]);
}

#[test]
fn files_that_others_remove_give_their_room_back_and_what_a_killed_writer_left_is_swept() {
    let world = World::new();
    world.value(r#"storage.write("a", ("x"):rep(60 * 1024 * 1024))"#);
    fs::remove_file(world.storage().join("files/a")).unwrap();
    fs::write(world.storage().join("files/.llmspell-left"), "x".repeat(1000)).unwrap();
    assert_eq!(world.value(r#"return storage.write("b", ("x"):rep(60 * 1024 * 1024))"#), Value::Nil);
    assert_eq!(names(&world.storage().join("files")), ["b"]);
}

#[test]
fn a_database_that_is_not_ours_is_told_and_left_as_it_is() {
    let world = World::new();
    world.value(r#"storage.set("a", 1)"#);
    let database = world.storage().join("storage.db");
    let foreign = world.path("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let newer = world.path("newer.db");
    rusqlite::Connection::open(&newer)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); PRAGMA application_id = 1280135504; PRAGMA user_version = 99")
        .unwrap();
    for (bytes, message) in [
        ("this is no database".repeat(100).into_bytes(), "file is not a database"),
        (fs::read(foreign).unwrap(), "is not a database of the spell's storage that this llmspell can use"),
        (fs::read(newer).unwrap(), "is not a database of the spell's storage that this llmspell can use"),
    ] {
        for name in names(&world.storage()) {
            if name.starts_with("storage.db") {
                fs::remove_file(world.storage().join(name)).unwrap();
            }
        }
        fs::write(&database, &bytes).unwrap();
        let told = world.lines(r#"local _, err = storage.get("a") return {err.kind, err.message}"#);
        assert!(told[0] == "io" && told[1].contains(message), "{told:?}");
        assert!(told[1].contains("storage.db"), "{told:?}");
        assert_eq!(fs::read(&database).unwrap(), bytes);
    }
}
