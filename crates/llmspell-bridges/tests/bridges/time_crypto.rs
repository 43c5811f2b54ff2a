//! The `time` and `crypto` bridges, with a fixed clock and fixed randomness.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llmspell_core::capability::{Clock, Random};
use llmspell_core::effect::{MemoryJournal, Permit};
use llmspell_core::{Context, Result, Value};
use serde_json::json;

use crate::world::{call, refusal, value};

struct Still;

impl Clock for Still {
    fn now(&self, _: Permit) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)
    }

    fn ticks(&self, _: Permit) -> Duration {
        Duration::from_secs(7)
    }
}

struct Loaded;

impl Random for Loaded {
    fn fill(&self, _: Permit, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0xab);
        Ok(())
    }
}

fn world() -> Context {
    Context::builder().clock(Arc::new(Still)).random(Arc::new(Loaded)).build()
}

async fn check(cases: Vec<(&str, Vec<Value>, Value)>) {
    for (method, arguments, expected) in cases {
        assert_eq!(
            call(&world(), method, arguments.clone()).await.unwrap(),
            expected,
            "{method} {arguments:?}"
        );
    }
}

#[tokio::test]
async fn times_are_told_written_and_read() {
    check(vec![
        ("time.now", vec![], 1.5.into()),
        ("time.clock", vec![], 7.0.into()),
        ("time.format", vec![0.into()], "1970-01-01T00:00:00Z".into()),
        ("time.format", vec![1_782_902_096.789.into()], "2026-07-01T10:34:56.789Z".into()),
        ("time.format", vec![(-1.5).into()], "1969-12-31T23:59:58.5Z".into()),
        ("time.format", vec![0.into(), "%d.%m.%y %H:%M %a %%".into()], "01.01.70 00:00 Thu %".into()),
        ("time.format", vec![1.25.into(), "%s %3f".into()], "1 250".into()),
        ("time.parse", vec!["1970-01-01T01:00:00.5+01:00".into()], 0.5.into()),
        ("time.parse", vec!["1970-01-02".into(), "%F".into()], 86400.0.into()),
        ("time.parse", vec!["02.01.1970 01:30 +0100".into(), "%d.%m.%Y %H:%M %z".into()], 88200.0.into()),
        ("time.parse", vec!["17".into(), "%s".into()], 17.0.into()),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_time_is_refused() {
    for (method, arguments, message) in [
        (
            "time.sleep",
            vec![(-1).into()],
            "argument: argument 1 (`seconds`): expected a number from 0 to 31536000, found -1",
        ),
        (
            "time.sleep",
            vec![f64::NAN.into()],
            "argument: argument 1 (`seconds`): expected a number from 0 to 31536000, found NaN",
        ),
        (
            "time.sleep",
            vec![f64::INFINITY.into()],
            "argument: argument 1 (`seconds`): expected a number from 0 to 31536000, found inf",
        ),
        ("time.sleep", vec!["1".into()], "argument: argument 1 (`seconds`): expected number, found string"),
        (
            "time.format",
            vec![f64::NAN.into()],
            "argument: argument 1 (`time`): expected seconds since 1970 within the years -9999 to 9999, found NaN",
        ),
        (
            "time.format",
            vec![1e300.into()],
            "argument: argument 1 (`time`): expected seconds since 1970 within the years -9999 to 9999, found 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            "time.format",
            vec![0.into(), "x".repeat(1025).into()],
            "argument: argument 2 (`pattern`): a pattern has at most 1024 bytes",
        ),
    ] {
        assert_eq!(refusal(call(&world(), method, arguments).await), message);
    }
    for (method, arguments, beginning) in [
        (
            "time.format",
            vec![0.into(), "%!".into()],
            "argument: argument 2 (`pattern`): `%!` cannot be used: ",
        ),
        ("time.format", vec![0.into(), "%".into()], "argument: argument 2 (`pattern`): `%` cannot be used: "),
        ("time.parse", vec!["yesterday".into()], "parse: expected a time such as `2026-07-01T12:30:00Z`: "),
        ("time.parse", vec!["x".into(), "%Y".into()], "parse: expected a time by the pattern `%Y`: "),
        (
            "time.parse",
            vec!["12".into(), "%H".into()],
            "argument: argument 2 (`pattern`): `%H` cannot be used: ",
        ),
    ] {
        let refused = refusal(call(&world(), method, arguments).await);
        assert!(refused.starts_with(beginning), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_lasts_as_long_as_it_was_asked_to() {
    let began = tokio::time::Instant::now();
    call(&world(), "time.sleep", vec![2.5.into()]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(2_500));
}

#[tokio::test]
async fn digests_are_those_of_the_standards() {
    // FIPS 180-2, RFC 4231 (case 2), RFC 4648.
    check(vec![
        (
            "crypto.sha256",
            vec!["".into()],
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
        ),
        (
            "crypto.sha256",
            vec!["abc".into()],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        ),
        (
            "crypto.hmac_sha256",
            vec!["Jefe".into(), "what do ya want for nothing?".into()],
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843".into(),
        ),
        ("crypto.base64_encode", vec!["foobar".into()], "Zm9vYmFy".into()),
        ("crypto.base64_encode", vec![Value::Bytes(vec![0xff, 0xfe])], "//4=".into()),
        (
            "crypto.base64_encode",
            vec![Value::Bytes(vec![0xff, 0xfe]), value(json!({"url_safe": true}))],
            "__4".into(),
        ),
        ("crypto.base64_decode", vec!["//4=".into()], Value::Bytes(vec![0xff, 0xfe])),
        ("crypto.base64_decode", vec!["//4".into()], Value::Bytes(vec![0xff, 0xfe])),
        ("crypto.base64_decode", vec!["Zm9v".into()], Value::Bytes(b"foo".to_vec())),
        ("crypto.uuid", vec![], "abababab-abab-4bab-abab-abababababab".into()),
        ("crypto.random_hex", vec![2.into()], "abab".into()),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_base64_is_refused() {
    for (method, arguments, message) in [
        ("crypto.base64_decode", vec!["a".into()], "parse: invalid base64: Invalid input length: 1"),
        ("crypto.base64_decode", vec!["__4".into()], "parse: invalid base64: Invalid symbol 95, offset 0."),
        (
            "crypto.random_hex",
            vec![0.into()],
            "argument: argument 1 (`bytes`): expected a number from 1 to 1024, found 0",
        ),
        (
            "crypto.random_hex",
            vec![1025.into()],
            "argument: argument 1 (`bytes`): expected a number from 1 to 1024, found 1025",
        ),
        ("crypto.sha256", vec![1.into()], "argument: argument 1 (`text`): expected string, found integer"),
    ] {
        assert_eq!(refusal(call(&world(), method, arguments).await), message);
    }
}

#[tokio::test]
async fn without_a_clock_or_randomness_a_runtime_says_so() {
    let cx = Context::builder().build();
    assert_eq!(refusal(call(&cx, "time.now", vec![]).await), "unsupported: this runtime has no clock");
    assert_eq!(
        refusal(call(&cx, "crypto.uuid", vec![]).await),
        "unsupported: this runtime has no randomness"
    );
}

#[tokio::test]
async fn what_cannot_be_foreseen_is_written_down() {
    let journal = Arc::new(MemoryJournal::default());
    let cx = Context::builder()
        .clock(Arc::new(Still))
        .random(Arc::new(Loaded))
        .journal(Arc::clone(&journal) as _)
        .build();
    for method in ["time.now", "time.clock", "crypto.uuid"] {
        call(&cx, method, vec![]).await.unwrap();
    }
    let written: Vec<_> = journal
        .entries()
        .iter()
        .map(|entry| format!("{}.{}", entry.effect.ask.capability, entry.effect.ask.operation))
        .collect();
    assert_eq!(written, ["clock.now", "clock.ticks", "random.bytes"]);
}
