//! Fifty concurrent calls, on one target and on new ones. `ROUNDS=1000` runs longer.

use std::fmt::Write as _;
use std::fs;

use llmspell::Spell;

use crate::kill::start;
use crate::world::World;

/// The number of concurrent calls.
const AT_ONCE: usize = 50;

/// Concurrent calls, each with the kinds of error that are allowed.
type Calls = &'static [(&'static str, &'static str)];

/// `fresh` is a new name in each round, and `each` a new one in each call, in folders that do not exist before.
const CASES: &[(&str, Calls)] = &[
    ("append to a new file", &[("fs.append(fresh, text)", "")]),
    ("append to one file", &[("fs.append(same, text)", "")]),
    ("append in new folders", &[("fs.append(each, text)", "")]),
    ("write a new file", &[("fs.write(fresh, text)", "")]),
    ("write one file", &[("fs.write(same, text)", "")]),
    ("write in new folders", &[("fs.write(each, text)", "")]),
    ("read one file", &[("fs.read(given)", ""), ("fs.read_bytes(given)", "")]),
    ("read a file that is not there", &[("fs.read(fresh)", "not_found"), ("fs.stat(fresh)", "not_found")]),
    ("look", &[("fs.stat(given)", ""), ("fs.exists(given)", ""), ("fs.exists(fresh)", "")]),
    ("list", &[("fs.list(top)", ""), ("fs.glob(pattern)", "")]),
    ("remove a new file", &[("fs.append(fresh, text)", ""), ("fs.remove(fresh)", "not_found")]),
    (
        "read what others write",
        &[
            ("fs.write(given, text)", ""),
            ("fs.append(given, text)", ""),
            ("fs.read(given)", ""),
            ("fs.read_bytes(given)", ""),
            ("fs.stat(given)", ""),
            ("fs.list(top)", ""),
            ("fs.glob(pattern)", ""),
        ],
    ),
    (
        "write what others remove",
        &[
            ("fs.write(same, text)", ""),
            ("fs.append(same, text)", ""),
            ("fs.remove(same)", "not_found"),
            ("fs.read(same)", "not_found"),
            ("fs.exists(same)", ""),
        ],
    ),
    (
        "write in folders that others remove",
        &[
            ("fs.write(inner, text)", ""),
            ("fs.append(inner, text)", ""),
            ("fs.remove(inner)", "not_found"),
            ("fs.remove(folder)", "not_found io"),
        ],
    ),
    ("set a new key", &[("storage.set(fresh, text)", ""), ("storage.get(fresh)", "")]),
    (
        "set one key",
        &[("storage.set(same, text)", ""), ("storage.get(same)", ""), ("storage.delete(same)", "")],
    ),
    ("set new keys", &[("storage.set(each, text)", ""), ("storage.keys(top)", "")]),
    ("update a new key", &[("storage.update(fresh, one_more)", "")]),
    ("append to a new file of the storage", &[("storage.append(fresh, text)", "")]),
    ("append in new folders of the storage", &[("storage.append(each, text)", "")]),
    (
        "read what others write to the storage",
        &[
            ("storage.write(kept, text)", ""),
            ("storage.append(kept, text)", ""),
            ("storage.read(kept)", "not_found"),
            ("storage.read_bytes(kept)", "not_found"),
            ("storage.exists(kept)", ""),
            ("storage.list()", ""),
        ],
    ),
    (
        "write what others remove from the storage",
        &[
            ("storage.write(inner, text)", ""),
            ("storage.append(inner, text)", ""),
            ("storage.remove(inner)", "not_found"),
            ("storage.remove(folder)", "not_found io"),
        ],
    ),
];

/// Returns a script that returns the failures that are not allowed, one per line.
fn luau(calls: Calls, rounds: usize) -> String {
    let mut choice = String::new();
    for (at, (call, allowed)) in calls.iter().enumerate() {
        let word = if at == 0 { "if" } else { "elseif" };
        let _ = write!(
            choice,
            "{word} i % {} == {at} then allowed = {allowed:?} done, value, failure = pcall(function() return {call} end) ",
            calls.len()
        );
    }
    format!(
        r#"
        local failures, text = {{}}, "0123456789\n"
        local top, pattern, given, same, kept = "granted", "granted/**/*.txt", "granted/in/a.txt", "granted/same", "kept"
        local folder, inner = "granted/folder", "granted/folder/inner"
        local function one_more(count) return (count or 0) + 1 end
        for round = 1, {rounds} do
            local fresh = "granted/fresh" .. round
            promise.map(table.create({AT_ONCE}, 0), function(_, i)
                local each = `granted/each{{round}}/inner/{{i}}`
                local allowed, done, value, failure
                {choice} end
                if not done then failure = value end
                if failure and not allowed:find(failure.kind, 1, true) then
                    table.insert(failures, failure.kind .. ": " .. failure.message)
                end
            end):await()
        end
        return table.concat(failures, "\n")"#
    )
}

/// The same in JavaScript.
fn javascript(calls: Calls, rounds: usize) -> String {
    let mut choice = String::new();
    for (at, (call, allowed)) in calls.iter().enumerate() {
        let call = call.replace("read_bytes", "readBytes");
        let _ =
            write!(choice, "if (i % {} === {at}) {{ allowed = {allowed:?}; await {call}; }} ", calls.len());
    }
    format!(
        r#"
        const failures = [], text = "0123456789\n";
        const top = "granted", pattern = "granted/**/*.txt", given = "granted/in/a.txt", same = "granted/same";
        const kept = "kept", folder = "granted/folder", inner = "granted/folder/inner";
        const one_more = (count) => (count ?? 0) + 1;
        for (let round = 1; round <= {rounds}; round++) {{
            const fresh = `granted/fresh${{round}}`;
            await Promise.all(Array.from({{ length: {AT_ONCE} }}, async (_, i) => {{
                const each = `granted/each${{round}}/inner/${{i}}`;
                let allowed;
                try {{ {choice} }} catch (failure) {{
                    if (!allowed.includes(failure.kind)) failures.push(`${{failure.kind}}: ${{failure.message}}`);
                }}
            }}));
        }}
        export default failures.join("\n");"#
    )
}

fn rounds(usual: usize) -> usize {
    std::env::var("ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}

#[test]
fn calls_at_once_do_not_fail_each_other() {
    for (what, calls) in CASES {
        for (file, script) in
            [("test.luau", luau(calls, rounds(3))), ("test.js", javascript(calls, rounds(3)))]
        {
            let world = World::new();
            let failures = world.run_spell(Spell::from_source(file, script).unwrap()).into_result().unwrap();
            assert_eq!(failures.as_str(), Some(""), "{what}, {file}");
            world.check();
        }
    }
}

#[test]
fn appends_at_once_lose_nothing() {
    for (file, script) in
        [("test.luau", luau(CASES[0].1, rounds(20))), ("test.js", javascript(CASES[0].1, rounds(20)))]
    {
        let world = World::new();
        world.run_spell(Spell::from_source(file, script).unwrap()).into_result().unwrap();
        for round in 1..=rounds(20) {
            let text = fs::read_to_string(world.path(&format!("granted/fresh{round}"))).unwrap();
            assert_eq!(text, "0123456789\n".repeat(AT_ONCE), "{file}, round {round}");
        }
    }
}

#[test]
fn updates_at_once_lose_nothing() {
    let calls: Calls = &[("storage.update(same, one_more)", "")];
    for (file, script, count) in [
        ("test.luau", luau(calls, 2), r#"return storage.get("granted/same")"#),
        ("test.js", javascript(calls, 2), r#"export default await storage.get("granted/same")"#),
    ] {
        let world = World::new();
        world.run_spell(Spell::from_source(file, script).unwrap()).into_result().unwrap();
        let count = world.run_spell(Spell::from_source(file, count).unwrap()).into_result().unwrap();
        assert_eq!(count, 100.into(), "{file}");
    }
}

/// Two processes append to the same new file in lockstep: each continues when it sees the other's line.
#[test]
fn two_processes_append_to_the_same_new_files() {
    let world = World::new();
    let rounds = rounds(200);
    let script = format!(
        r#"
        for round = 1, {rounds} do
            local path = "granted/" .. round
            local err = fs.append(path, "0123456789\n")
            if err then error(err) end
            repeat
                local info, err = fs.stat(path)
                if not info then error(err) end
            until info.size >= 22
        end"#
    );
    let children = [start(&world, &script), start(&world, &script)];
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    for round in 1..=rounds {
        let text = fs::read_to_string(world.path(&format!("granted/{round}"))).unwrap();
        assert_eq!(text, "0123456789\n".repeat(2), "round {round}");
    }
}
