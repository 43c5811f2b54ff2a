//! Memory: whatever allocates it, the process stays near the limit.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

use crate::support::{folder, run};

/// The maximum in kilobytes: one and a half times the limit plus 40 MB, less a little.
const MOST: i64 = 136 * 1024;

/// Memory in the VM, in the host, and during conversion between them.
const BOMBS: &[&str] = &[
    "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t = {t} end",
    "local t = {} while true do t[#t + 1] = buffer.create(1e6) end",
    "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "local t = {} while true do pcall(function() while true do t[#t + 1] = {#t} end end) end",
    "return (('x'):rep(2e6)):gsub('x', ('y'):rep(1000))",
    "local s = ('x'):rep(1.2e7) log.info('m', table.unpack(table.create(40, s)))",
    "local s = ('x'):rep(1.2e7) json.encode(table.unpack(table.create(40, s)))",
    "local t = {1} for i = 1, 60 do t = {t, t} end json.encode(t)",
    "local t = {a = 1} for i = 1, 60 do t = {a = t, b = t} end return t",
    "local t = {print} for i = 1, 60 do t = {t, t} end log.info('m', {t = t})",
    "local t = {1} for i = 1, 60 do t = {t, t} end error(t)",
    "json.decode('[' .. ('[0],'):rep(3e6) .. '0]')",
    "local s, t = '[' .. ('[0],'):rep(1e4) .. '0]', {} while true do t[#t + 1] = json.decode(s) end",
    "local c, t = llm.conversation {system = ('x'):rep(1e6)}, {} while true do t[#t + 1] = c:fork() end",
    "local t, s = {}, ('x'):rep(1e6) while true do t[#t + 1] = llm.conversation {system = s} end",
    "local c, s = llm.conversation(), ('x'):rep(1e6) while true do c:send(s) end",
];

/// Scripts that succeed, or fail as intended, without excessive memory on the way.
const TEMPERATE: &[(i32, &str)] = &[
    (
        0,
        "local live = {} for i = 1, 40 do live[i] = buffer.create(1e6) end
         for i = 1, 2000 do local garbage = ('x'):rep(1e5) .. i end
         for i = 1, 200000 do local garbage = {i} end",
    ),
    (0, "local s = ('x'):rep(1e6) for i = 1, 100 do llm.conversation {system = s} end"),
    (0, "local s = ('x'):rep(1e6) for i = 1, 300 do llm.chat(s) end"),
    (0, "local s = ('x'):rep(1e5) for i = 1, 100 do console.read_line(s) end"),
    (1, "error(('\\255'):rep(2.5e7))"),
    (1, "error({message = ('\\255'):rep(2.5e7)})"),
    (1, "local t = table.create(2e6) t[2e6] = 1 json.encode(t)"),
    (0, "pcall(error, ('\\255'):rep(4e7), 0)"),
    (2, "require(('\\1'):rep(4e7))"),
    (1, "return llm.conversation()[('\\255'):rep(3e7)]"),
];

#[test]
fn the_process_stays_near_the_memory_limit() {
    let words = ["-q", "--memory", "64MB", "--timeout", "60s"];
    for source in BOMBS {
        let ran = run(source, &words);
        assert_eq!(
            (ran.code, ran.stderr.lines().next()),
            (5, Some("error: the spell reached its memory limit of 64MB")),
            "{source}"
        );
        stays_near(source);
    }
    for (code, source) in TEMPERATE {
        assert_eq!(run(source, &words).code, *code, "{source}");
        stays_near(source);
    }
}

/// The largest child process so far is this one, or one that was checked before.
fn stays_near(source: &str) {
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < MOST, "{source}: {peak} KB");
}

#[test]
fn a_source_cannot_take_much_to_compile() {
    let source = format!("f({}1)", "1,".repeat(500_000));
    let ran = run(&source, &["-q"]);
    assert_eq!(ran.code, 1);
    stays_near("a long list of arguments");
    let folder = folder(&[("spell.luau", "return require('./long')")]);
    fs::write(folder.path().join("long.luau"), vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(folder.run(&["run", "spell.luau"]).code, 2);
}

/// Reads 500 MB, and then makes a call that the first attempt is not allowed.
const LARGE: &str = r#"
for number = 1, 100 do
    assert(#fs.read(`{number}.txt`) > 5e6)
end
return (assert(llm.chat("the end")))
"#;

#[test]
fn a_resume_reads_one_answer_after_the_other() {
    let folder = folder(&[("large.luau", LARGE)]);
    let text = "x".repeat(5_000_000);
    for number in 1..=100 {
        folder.write(&format!("{number}.txt"), &format!("{number} {text}"));
    }
    let words = ["-q", "--memory=64MB"];
    let first = folder.run(&[&["run", "large.luau", "--allow-read=.", "--max-calls=0"], &words[..]].concat());
    assert_eq!(first.code, 4, "{}", first.stderr);
    let database = folder.path().join(".state/llmspell/runs/runs.db");
    let size = fs::metadata(&database).unwrap().len();
    assert!(size > 500_000_000, "the journal has {size} bytes");
    let listed = folder.run(&["runs", "--output=json"]).stdout;
    let runs: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let run = runs[0]["run_id"].as_str().unwrap();
    let resumed = folder.run(&[&["runs", "resume", run], &words[..]].concat());
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "mock: the end\n"), "{}", resumed.stderr);
    stays_near("a journal of 500 MB");
}
