//! Promises/A+: the complete suite promises-aplus-tests, in a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llmspell_core::capability::Clock;
use llmspell_core::effect::Permit;

use crate::harness::{Files, Stage};

struct Still;

impl Clock for Still {
    fn now(&self, _: Permit) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn ticks(&self, _: Permit) -> Duration {
        Duration::ZERO
    }
}

const SUITE: &str = "
import { files } from './promises-aplus.js';
import { run } from './mocha.js';
";

/// Returns the suite's report about promises that are made by this adapter.
fn suite(adapter: &str) -> (String, llmspell_core::Result<llmspell_core::Value>) {
    let files = HashMap::from([
        ("promises-aplus.js", include_str!("promises-aplus.js")),
        ("mocha.js", include_str!("mocha.js")),
    ]);
    let stage = Stage::with([], |cx| cx.clock(Arc::new(Still)).modules(Arc::new(Files(files))));
    let ended = stage.eval(&format!("{SUITE} await run(files, {adapter});"));
    (stage.printed.text(), ended)
}

#[test]
fn all_872_tests_of_promises_a_plus_pass() {
    let (said, ended) = suite(
        "{
            resolved: (value) => Promise.resolve(value),
            rejected: (reason) => Promise.reject(reason),
            deferred: () => Promise.withResolvers(),
        }",
    );
    assert_eq!(said, "872 of 872\n");
    // The suite leaves rejected promises that nobody handles.
    let error = ended.unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.starts_with("a promise was rejected")), "{error:?}");
}

#[test]
fn the_suite_finds_promises_that_call_at_once() {
    let (said, _) = suite(
        "(() => {
            const at_once = (value) => ({ then: (ok) => at_once(typeof ok === 'function' ? ok(value) : value) });
            return { resolved: at_once, rejected: at_once, deferred: () => Promise.withResolvers() };
        })()",
    );
    assert!(said.contains("2.2.4: `onFulfilled` or `onRejected` must not be called until"), "{said}");
    assert!(!said.ends_with("872 of 872\n"), "{said}");
}
