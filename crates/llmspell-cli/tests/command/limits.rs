//! Limits end a spell, whatever it does.

use std::time::{Duration, Instant};

use crate::support::{folder, run, seen};

#[test]
fn each_limit_has_its_exit_code_and_its_name() {
    for (source, words, code, message) in [
        ("while true do end", &["--timeout", "100ms"][..], 5, "wall limit of 100ms"),
        (
            "while true do pcall(function() while true do end end) end",
            &["--timeout", "100ms"],
            5,
            "wall limit of 100ms",
        ),
        (
            "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end",
            &["--memory", "16MB"],
            5,
            "memory limit of 16MB",
        ),
        ("while true do console.write(('x'):rep(1e6)) end", &["-q"], 5, "output limit of 16MB"),
        (
            "while true do llm.chat('hi') end",
            &["-q", "--max-tokens", "100"],
            4,
            "tokens limit of 100: 84 used, 16 left, and the next call may take 4101",
        ),
        (
            "while true do llm.chat('hi', {max_tokens = 30}) end",
            &["-q", "--max-tokens", "100"],
            4,
            "tokens limit of 100: 70 used, 30 left, and the next call may take 35",
        ),
        (
            "while true do llm.chat('hi', {model = 'mock/echo-large', max_tokens = 1000}) end",
            &["-q", "--max-cost", "0.0021"],
            4,
            "cost limit of $0.002100: $0.000099 spent, $0.002001 left, and the next call may cost $0.002005",
        ),
        ("while true do llm.chat('hi') end", &["-q"], 4, "model_calls limit of 1000: 1000 made, 0 left"),
        (
            "while true do llm.chat('hi') end",
            &["-q", "--max-calls=3"],
            4,
            "model_calls limit of 3: 3 made, 0 left",
        ),
    ] {
        let started = Instant::now();
        let ran = run(source, words);
        let took = started.elapsed();
        assert_eq!(ran.stderr, format!("error: the spell reached its {message}\n"), "{source}");
        assert_eq!(ran.code, code, "{source}");
        assert!(took < Duration::from_secs(20), "{source}: {took:?}");
    }
}

/// Natives of the VM that no engine can interrupt. The process ends one second after the limit.
#[test]
fn the_process_ends_where_the_engine_cannot_stop_a_script() {
    const LIMIT: Duration = Duration::from_millis(300);
    const AFTER: Duration = Duration::from_secs(1);
    // Extra time for starting and ending the process on a busy machine.
    const SLACK: Duration = Duration::from_secs(2);
    for (source, stopped_by) in [
        ("[].join.call({length: 2**31 - 1})", "wall limit of 300ms"),
        ("const a = []; a[2**31] = 1; a.sort()", "wall limit of 300ms"),
        ("new Array(2**32 - 1).indexOf(1)", "wall limit of 300ms"),
        ("/(a*)*b/.test('a'.repeat(200))", "wall limit of 300ms"),
        ("'x'.repeat(2 ** 28).split('')", "memory limit of 64MB"),
    ] {
        let folder = folder(&[("spell.js", source)]);
        let started = Instant::now();
        let ran = folder.run(&["run", "spell.js", "-q", "--timeout", "300ms", "--memory", "64MB"]);
        let took = started.elapsed();
        assert_eq!(ran.code, 5, "{source}: {}", ran.stderr);
        let reached = format!("error: the spell reached its {stopped_by}");
        assert!(ran.stderr.starts_with(&reached), "{source}: {}", ran.stderr);
        assert!(took < LIMIT + AFTER + SLACK, "{source}: took {took:?}");
    }
}

#[test]
fn what_was_printed_before_a_limit_is_shown() {
    let ran = run("print('before') while true do end", &["--timeout", "100ms"]);
    assert_eq!(ran, seen(5, "before\n", "error: the spell reached its wall limit of 100ms\n"));
}
