//! Writing is atomic.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[test]
fn a_file_keeps_its_mode_when_it_is_replaced() {
    let world = World::new();
    let file = world.path("granted/in/a.txt");
    for mode in [0o600, 0o640, 0o755] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        world.value(&format!(r#"fs.write("granted/in/a.txt", "{mode}")"#));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(fs::read_to_string(&file).unwrap(), mode.to_string());
    }
}

#[test]
fn a_reader_sees_the_old_text_or_the_new_and_nothing_between() {
    let world = World::new();
    let file = world.path("granted/in/a.txt");
    fs::write(&file, "a".repeat(100_000)).unwrap();
    std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            world.value(
                r#"for round = 1, 100 do
                    fs.write("granted/in/a.txt", (if round % 2 == 0 then "a" else "b"):rep(100000))
                end"#,
            );
        });
        while !writing.is_finished() {
            let text = fs::read(&file).unwrap();
            assert!(text.len() == 100_000 && text.iter().all(|byte| *byte == text[0]));
        }
    });
    world.check();
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let world = World::new();
    fs::File::create(world.path("granted/large")).unwrap().set_len((64 << 20) + 1).unwrap();
    let told = world.lines(r#"local _, err = fs.read("granted/large") return {err.kind, err.message}"#);
    assert_eq!(told[0], "io");
    assert_eq!(
        told[1],
        "`granted/large` is too large to read at once: it has 67108865 bytes, and 67108864 are read"
    );
}

#[test]
fn reading_counts_against_the_memory_limit_before_anything_is_allocated() {
    let world = World::new();
    fs::File::create(world.path("granted/large")).unwrap().set_len(60 << 20).unwrap();
    let outcome = world.run(r#"return #fs.read("granted/large")"#);
    assert_eq!(outcome.into_result().unwrap(), (60 << 20).into());
    let outcome = world.run_within(50 << 20, r#"return #fs.read("granted/large")"#);
    let error = outcome.error.unwrap();
    assert_eq!(error.message(), "the spell reached its memory limit of 50MB");
}

#[test]
fn many_reads_at_once_all_come_back() {
    let world = World::new();
    for number in 0..200 {
        fs::write(world.path(&format!("granted/{number}.txt")), number.to_string()).unwrap();
    }
    let found = world.value(
        r#"local sum = 0
        for _, path in fs.glob("granted/*.txt") do sum += tonumber(fs.read(path)) end
        return sum"#,
    );
    assert_eq!(found, (199 * 100).into());
}
