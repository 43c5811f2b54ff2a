//! Tests of the limiter with tokio's paused clock.

use std::num::{NonZeroU32, NonZeroUsize};

use llmspell_core::CallInfo;
use proptest::prelude::*;

use super::*;

fn turn(number: u64) -> QueueTicket {
    let deadline = Instant::now() + Duration::from_secs(3_600);
    QueueTicket { number, model: "m".into(), tokens: 0, has_fallback: false, is_again: false, deadline }
}

/// Returns the next call of a limiter for this model.
fn next(limiter: &Limiter, model: &str) -> QueueTicket {
    QueueTicket { model: model.into(), ..turn(limiter.number()) }
}

/// Returns limits with a `Retry-After` of this many seconds.
fn asks(seconds: u64) -> ReportedLimits {
    ReportedLimits { retry_after: Some(Duration::from_secs(seconds)), ..ReportedLimits::default() }
}

fn busy(retry_after: Option<f64>) -> Error {
    Error::new(ErrorKind::RateLimited, "busy").with_call(CallInfo {
        status: Some(429),
        retry_after,
        ..CallInfo::default()
    })
}

/// Returns the result of a wait if it ends at once.
async fn now_or_never<T>(wait: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, wait).await.ok()
}

#[tokio::test(start_paused = true)]
async fn who_came_first_goes_first_also_with_another_try() {
    let limiter = Limiter::alone(RateLimits { in_flight: NonZeroUsize::new(1), ..RateLimits::default() });
    let numbers: Vec<u64> = (0..3).map(|_| limiter.number()).collect();
    let first = limiter.pass(&turn(numbers[0])).await.unwrap();
    let waits = |number| {
        let limiter = Arc::clone(&limiter);
        tokio::spawn(async move { limiter.pass(&turn(number)).await.map(|pass| (number, pass)) })
    };
    let (second, third) = (waits(numbers[1]), waits(numbers[2]));
    tokio::task::yield_now().await;
    first.failed(&busy(None));
    // The second call has the free slot already. Among the waiting calls, the retry is the oldest.
    let again = waits(numbers[0]);
    let (_, pass) = second.await.unwrap().unwrap();
    tokio::task::yield_now().await;
    drop(pass);
    let (_, pass) = again.await.unwrap().unwrap();
    assert!(!third.is_finished());
    drop(pass);
    third.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_for_all_and_after_it_they_begin_one_at_a_time() {
    let limiter = Limiter::alone(RateLimits::default());
    let pass = limiter.pass(&turn(limiter.number())).await.unwrap();
    pass.failed(&busy(Some(2.0)));
    let begin = Instant::now();
    let mut passes = Vec::new();
    let mut first = limiter.pass(&turn(limiter.number())).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert!(now_or_never(limiter.pass(&turn(limiter.number()))).await.is_none(), "one at a time");
    first.worked();
    for expected in [2, 4] {
        let mut more = Vec::new();
        while let Some(pass) = now_or_never(limiter.pass(&turn(limiter.number()))).await {
            more.push(pass.unwrap());
        }
        assert_eq!(more.len(), expected, "twice as many each time");
        more.iter_mut().for_each(AttemptPermit::worked);
        passes.extend(more);
    }
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_too_long_is_refused_at_once() {
    let limiter =
        Limiter::alone(RateLimits { requests_per_minute: NonZeroU32::new(10), ..RateLimits::default() });
    let _first = limiter.pass(&turn(limiter.number())).await.unwrap();
    let begin = Instant::now();
    let hasty = QueueTicket { deadline: begin + Duration::from_secs(6), ..turn(limiter.number()) };
    let refused = limiter.pass(&hasty).await.unwrap_err();
    assert_eq!(
        refused.error("p", Duration::from_secs(6)).message(),
        "p: 10 requests a minute are allowed: it would take 6.1 s, and 6.0 s are left"
    );
    // The calls in the queue count too.
    let waiting: Vec<_> = (0..9).map(|_| turn(limiter.number())).collect();
    let waiting: Vec<_> = waiting.iter().map(|turn| limiter.pass(turn)).collect();
    let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
    for wait in &mut waiting {
        assert!(futures_util::poll!(wait).is_pending());
    }
    let last = QueueTicket { deadline: begin + Duration::from_secs(60), ..turn(limiter.number()) };
    assert!(
        matches!(limiter.pass(&last).await, Err(LimiterRefusal::Limit { wait, .. }) if wait.as_secs() == 61)
    );
    assert_eq!(begin.elapsed(), Duration::ZERO);

    limiter.gate().learn(&"m".into(), &asks(86_400), Instant::now());
    let refused = limiter.pass(&turn(limiter.number())).await.unwrap_err();
    let error = refused.error("p", Duration::from_secs(3_600));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    assert_eq!(error.call().unwrap().retry_after, Some(86_400.0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_the_model_that_said_it_and_nobody_else() {
    let limiter = Limiter::alone(RateLimits::default());
    let begin = Instant::now();
    let all_models = ["m", "n", ""];
    for (seconds, held) in [(60, 60), (120, 120)] {
        let begin = Instant::now();
        limiter.gate().learn(&"m".into(), &asks(seconds), begin);
        // This call waits for its model. It is older than the others and must not block them.
        let waits = next(&limiter, "m");
        let mut waits = Box::pin(limiter.pass(&waits));
        assert!(futures_util::poll!(&mut waits).is_pending());
        for model in ["n", ""] {
            let pass = now_or_never(limiter.pass(&next(&limiter, model))).await;
            assert!(pass.is_some_and(|pass| pass.is_ok()), "`{model}` while `m` is held for {seconds} s");
        }
        waits.await.unwrap().worked();
        assert_eq!(begin.elapsed().as_secs(), held);
    }
    // Longer than the longest wait: refused at once, and sent again after two minutes.
    limiter.gate().learn(&"m".into(), &asks(86_400), Instant::now());
    let since = begin.elapsed();
    let Err(LimiterRefusal::Limit { limit, wait }) = limiter.pass(&next(&limiter, "m")).await else {
        panic!()
    };
    assert_eq!(
        (limit.as_str(), wait.as_secs()),
        ("the provider asked not to be called with `m` for a while", 86_400)
    );
    assert_eq!(begin.elapsed(), since);
    tokio::time::sleep(Duration::from_secs(119)).await;
    assert!(limiter.pass(&next(&limiter, "m")).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for model in all_models {
        limiter.pass(&next(&limiter, model)).await.unwrap().worked();
    }
    // An expired hold does not outweigh a new one.
    limiter.gate().learn(&"m".into(), &asks(2), Instant::now());
    let since = begin.elapsed();
    limiter.pass(&next(&limiter, "m")).await.unwrap().worked();
    assert_eq!(begin.elapsed() - since, Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn calls_in_the_line_learn_of_a_hold_at_once() {
    let limiter = Limiter::alone(RateLimits { in_flight: NonZeroUsize::new(1), ..RateLimits::default() });
    let first = limiter.pass(&next(&limiter, "m")).await.unwrap();
    let (held, other) = (next(&limiter, "m"), next(&limiter, "n"));
    let (mut held, mut other) = (Box::pin(limiter.pass(&held)), Box::pin(limiter.pass(&other)));
    assert!(futures_util::poll!(&mut held).is_pending() && futures_util::poll!(&mut other).is_pending());
    let begin = Instant::now();
    first.failed(&busy(Some(86_400.0)));
    assert!(matches!(held.await, Err(LimiterRefusal::Limit { .. })));
    other.await.unwrap().worked();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_used_up_holds_the_model_that_reported_it() {
    use crate::rate_limit_headers::RateLimit;
    let used_up = RateLimit { limit: None, left: Some(0), reset: Some(Duration::from_secs(30)) };
    for (retry_after, m, n) in [(None, 30, 0), (Some(2), 30, 0), (Some(40), 40, 0)] {
        let limiter = Limiter::alone(RateLimits::default());
        let limits = ReportedLimits {
            requests: used_up,
            retry_after: retry_after.map(Duration::from_secs),
            ..ReportedLimits::default()
        };
        let begin = Instant::now();
        limiter.gate().learn(&"m".into(), &limits, begin);
        for (model, seconds) in [("n", n), ("m", m)] {
            limiter.pass(&next(&limiter, model)).await.unwrap().worked();
            assert_eq!(begin.elapsed().as_secs(), seconds, "{model} after {retry_after:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_down_or_full_does_not_slow_down_others() {
    let limiter = Limiter::alone(RateLimits::default());
    let down = Error::new(ErrorKind::Overloaded, "down")
        .with_call(CallInfo { status: Some(529), ..CallInfo::default() });
    for error in [down, busy(None)] {
        for _ in 0..10 {
            limiter.pass(&next(&limiter, "m")).await.unwrap().failed(&error);
        }
        let slow = limiter.pass(&next(&limiter, "m")).await.unwrap();
        assert!(now_or_never(limiter.pass(&next(&limiter, "m"))).await.is_none(), "one at a time");
        let with_fallback = || QueueTicket { has_fallback: true, ..next(&limiter, "n") };
        let mut passes = Vec::new();
        for _ in 0..10 {
            passes.push(now_or_never(limiter.pass(&with_fallback())).await.unwrap().unwrap());
        }
        drop(slow);
    }
}

#[tokio::test(start_paused = true)]
async fn models_of_which_nothing_matters_are_forgotten() {
    let limiter = Limiter::alone(RateLimits::default());
    limiter.gate().learn(&"held".into(), &asks(60), Instant::now());
    for number in 0..1_000 {
        limiter.pass(&next(&limiter, &format!("proxy/{number}"))).await.unwrap().failed(&busy(None));
    }
    assert!(limiter.gate().models() <= 65, "{}", limiter.gate().models());
    assert!(now_or_never(limiter.pass(&next(&limiter, "held"))).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_tells_is_kept_and_garbage_holds_nobody_for_ever() {
    use crate::rate_limit_headers::RateLimit;
    let limiter = Limiter::alone(RateLimits::default());
    let told = |limit, left, reset| ReportedLimits {
        requests: RateLimit { limit, left, reset },
        ..ReportedLimits::default()
    };
    let begin = Instant::now();
    for nothing in [
        told(None, Some(0), None),
        told(Some(0), None, None),
        told(None, None, Some(Duration::from_secs(9))),
        told(Some(u64::MAX), Some(u64::MAX), Some(Duration::MAX)),
        told(None, Some(0), Some(Duration::ZERO)),
    ] {
        limiter.gate().learn(&"m".into(), &nothing, Instant::now());
        drop(limiter.pass(&turn(limiter.number())).await.unwrap());
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    limiter.gate().learn(&"m".into(), &told(Some(600), Some(0), Some(Duration::MAX)), Instant::now());
    drop(limiter.pass(&turn(limiter.number())).await.unwrap());
    assert_eq!(begin.elapsed(), Duration::from_secs(120));
    limiter.gate().learn(&"m".into(), &told(Some(60), Some(2), None), Instant::now());
    for expected in [120, 120, 121, 122] {
        drop(limiter.pass(&turn(limiter.number())).await.unwrap());
        assert_eq!(begin.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_before_a_call_and_corrected_after_it() {
    let limiter = Limiter::alone(RateLimits {
        tokens_per_minute: std::num::NonZeroU64::new(1_000),
        ..RateLimits::default()
    });
    assert!(limiter.counts_tokens());
    let of = |tokens| QueueTicket { tokens, ..turn(limiter.number()) };
    let begin = Instant::now();
    let mut pass = limiter.pass(&of(100)).await.unwrap();
    pass.worked();
    pass.used(0);
    let _pass = limiter.pass(&of(100)).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let _next = limiter.pass(&of(100)).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 6);
}

#[test]
fn one_key_at_one_address_has_one_limiter() {
    let config = |key: &str, url: &str| {
        ProviderConfig::new("p", crate::ProtocolKind::OpenAiChat, url).unwrap().key(key)
    };
    let pace =
        |requests| RateLimits { requests_per_minute: NonZeroU32::new(requests), ..RateLimits::default() };
    let one = Limiter::of(&config("k", "https://example.com/v1"), pace(60));
    let same = Limiter::of(&config("k", "https://example.com/other"), pace(30));
    assert!(Arc::ptr_eq(&one, &same));
    assert!(format!("{one:?}").contains("limit: 30"), "the strictest holds: {one:?}");
    for (key, url) in
        [("l", "https://example.com/v1"), ("k", "https://example.org/v1"), ("k", "http://example.com/v1")]
    {
        assert!(!Arc::ptr_eq(&one, &Limiter::of(&config(key, url), pace(60))), "{key} {url}");
    }
    drop((one, same));
    let anew = Limiter::of(&config("k", "https://example.com/v1"), RateLimits::default());
    assert!(!format!("{anew:?}").contains("limit: 30"), "nobody used it any more");
}

/// What can happen to a limiter, in any order.
#[derive(Debug, Clone)]
enum LimiterStep {
    /// A call of one of two models begins.
    Join(usize),
    /// The waiting call at this index is cancelled.
    Cancel(usize),
    /// The try at this index ends: it succeeds, is cancelled, or gets a `Retry-After`.
    Worked(usize),
    Dropped(usize),
    Failed(usize, Option<u64>),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<LimiterStep>> {
    let at = 0_usize..8;
    let step = prop_oneof![
        6 => (0_usize..2).prop_map(LimiterStep::Join),
        1 => at.clone().prop_map(LimiterStep::Cancel),
        3 => at.clone().prop_map(LimiterStep::Worked),
        1 => at.clone().prop_map(LimiterStep::Dropped),
        1 => (at, prop::option::of(0_u64..30_000)).prop_map(|(at, wait)| LimiterStep::Failed(at, wait)),
        3 => (0_u64..20_000).prop_map(LimiterStep::Pass),
    ];
    prop::collection::vec(step, 0..80)
}

/// The results of the steps.
#[derive(Debug, Default)]
struct LimiterPlay {
    /// The calls that were let through, in order: time, number and model.
    log: Vec<(Instant, u64, usize)>,
    /// The models on hold: model, end of the hold, and the number of calls let through before it.
    holds: Vec<(usize, Instant, usize)>,
    /// The number of calls that were neither let through nor refused before their deadline.
    forgotten: usize,
}

const MODELS: [&str; 2] = ["m", "n"];

/// Runs the steps, and then ends all calls one after another.
async fn play(steps: Vec<LimiterStep>, most: usize, rate: u32) -> LimiterPlay {
    let limiter = Limiter::alone(RateLimits {
        in_flight: NonZeroUsize::new(most),
        requests_per_minute: NonZeroU32::new(rate),
        ..RateLimits::default()
    });
    let (sender, mut passed) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting: Vec<tokio::task::JoinHandle<Option<LimiterRefusal>>> = Vec::new();
    let mut passes = Vec::<(usize, AttemptPermit)>::new();
    let mut played = LimiterPlay::default();
    let rest = std::iter::repeat_n(LimiterStep::Pass(10_000), 500);
    let begin = steps.len();
    for (at, step) in steps.into_iter().chain(rest).enumerate() {
        match step {
            LimiterStep::Join(model) => {
                let (limiter, sender) = (Arc::clone(&limiter), sender.clone());
                waiting.push(tokio::spawn(async move {
                    let turn = next(&limiter, MODELS[model]);
                    let pass = match limiter.pass(&turn).await {
                        Ok(pass) => pass,
                        Err(refused) => return Some(refused),
                    };
                    let _ = sender.send((Instant::now(), turn.number, model, pass));
                    None
                }));
            }
            LimiterStep::Cancel(at) if at < waiting.len() => waiting.remove(at).abort(),
            LimiterStep::Worked(at) if at < passes.len() => passes.remove(at).1.worked(),
            LimiterStep::Dropped(at) if at < passes.len() => drop(passes.remove(at)),
            LimiterStep::Failed(at, wait) if at < passes.len() => {
                let (model, pass) = passes.remove(at);
                #[expect(clippy::cast_precision_loss, reason = "small")]
                pass.failed(&busy(wait.map(|millis| millis as f64 / 1_000.0)));
                let until = |wait| Instant::now() + Duration::from_millis(wait);
                played.holds.extend(wait.map(|wait| (model, until(wait), played.log.len())));
            }
            LimiterStep::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            _ => {}
        }
        // Lets every task that can proceed do so.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        while let Ok((time, number, model, pass)) = passed.try_recv() {
            played.log.push((time, number, model));
            passes.push((model, pass));
        }
        assert!(passes.len() <= most, "{} in flight", passes.len());
        if at >= begin {
            passes.clear();
        }
    }
    for call in waiting {
        let forgotten = !call.is_finished() || matches!(call.await, Ok(Some(LimiterRefusal::Late)));
        played.forgotten += usize::from(forgotten);
    }
    played
}

proptest! {
    #[test]
    fn no_order_of_things_lets_too_many_through(steps in steps(), most in 1_usize..5, rate in 4_u32..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let LimiterPlay { log, holds, forgotten } = runtime.block_on(play(steps, most, rate));
        for pair in log.windows(rate as usize + 1) {
            let span = pair[rate as usize].0 - pair[0].0;
            prop_assert!(span >= Duration::from_secs(60), "{} in {span:?}", rate + 1);
        }
        for of in 0..MODELS.len() {
            let numbers = || log.iter().filter(|(_, _, model)| *model == of).map(|(_, number, _)| number);
            prop_assert!(numbers().is_sorted(), "in the order in which they came: {log:?}");
        }
        for (held, until, from) in holds {
            let is_kept = |(time, _, model): &(Instant, u64, usize)| *model != held || *time >= until;
            prop_assert!(log[from..].iter().all(is_kept), "held until {until:?}: {log:?}");
        }
        prop_assert_eq!(forgotten, 0, "{:?}", log);
    }
}
