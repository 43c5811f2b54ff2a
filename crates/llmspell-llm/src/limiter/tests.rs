//! The limiter on a clock that stands still.

use std::num::{NonZeroU32, NonZeroUsize};

use llmspell_core::CallInfo;
use proptest::prelude::*;

use super::*;

fn turn(number: u64) -> Turn {
    let patience = Instant::now() + Duration::from_secs(3_600);
    Turn { number, tokens: 0, has_fallback: false, is_again: false, patience }
}

fn busy(retry_after: Option<f64>) -> Error {
    Error::new(ErrorKind::RateLimited, "busy").with_call(CallInfo {
        status: Some(429),
        retry_after,
        ..CallInfo::default()
    })
}

/// What comes of a wait when nothing else happens meanwhile.
async fn now_or_never<T>(wait: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, wait).await.ok()
}

#[tokio::test(start_paused = true)]
async fn who_came_first_goes_first_also_with_another_try() {
    let limiter = Limiter::alone(Pace { in_flight: NonZeroUsize::new(1), ..Pace::default() });
    let numbers: Vec<u64> = (0..3).map(|_| limiter.number()).collect();
    let first = limiter.pass(turn(numbers[0])).await.unwrap();
    let waits = |number| {
        let limiter = Arc::clone(&limiter);
        tokio::spawn(async move { limiter.pass(turn(number)).await.map(|pass| (number, pass)) })
    };
    let (second, third) = (waits(numbers[1]), waits(numbers[2]));
    tokio::task::yield_now().await;
    first.failed(&busy(None));
    // Its place is taken already; but of those that wait, it came first.
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
    let limiter = Limiter::alone(Pace::default());
    let pass = limiter.pass(turn(limiter.number())).await.unwrap();
    pass.failed(&busy(Some(2.0)));
    let begin = Instant::now();
    let mut passes = Vec::new();
    let mut first = limiter.pass(turn(limiter.number())).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert!(now_or_never(limiter.pass(turn(limiter.number()))).await.is_none(), "one at a time");
    first.worked();
    for expected in [2, 4] {
        let mut more = Vec::new();
        while let Some(pass) = now_or_never(limiter.pass(turn(limiter.number()))).await {
            more.push(pass.unwrap());
        }
        assert_eq!(more.len(), expected, "twice as many each time");
        more.iter_mut().for_each(Pass::worked);
        passes.extend(more);
    }
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_too_long_is_refused_at_once() {
    let limiter = Limiter::alone(Pace { requests_per_minute: NonZeroU32::new(10), ..Pace::default() });
    let _first = limiter.pass(turn(limiter.number())).await.unwrap();
    let begin = Instant::now();
    let hasty = Turn { patience: begin + Duration::from_secs(6), ..turn(limiter.number()) };
    let refused = limiter.pass(hasty).await.unwrap_err();
    assert_eq!(
        refused.error("p", Duration::from_secs(6)).message(),
        "p: 10 requests a minute are allowed: it would take 6.1 s, and 6.0 s are left"
    );
    // The line counts too.
    let waiting: Vec<_> = (0..9).map(|_| turn(limiter.number())).collect();
    let waiting: Vec<_> = waiting.into_iter().map(|turn| limiter.pass(turn)).collect();
    let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
    for wait in &mut waiting {
        assert!(futures_util::poll!(wait).is_pending());
    }
    let last = Turn { patience: begin + Duration::from_secs(60), ..turn(limiter.number()) };
    assert!(matches!(limiter.pass(last).await, Err(Refused::Limit { wait, .. }) if wait.as_secs() == 61));
    assert_eq!(begin.elapsed(), Duration::ZERO);

    limiter.gate().learn(
        &Limits { retry_after: Some(Duration::from_secs(86_400)), ..Limits::default() },
        Instant::now(),
    );
    let refused = limiter.pass(turn(limiter.number())).await.unwrap_err();
    let error = refused.error("p", Duration::from_secs(3_600));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    assert_eq!(error.call().unwrap().retry_after, Some(86_400.0));
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_tells_is_kept_and_garbage_holds_nobody_for_ever() {
    use crate::told::Told;
    let limiter = Limiter::alone(Pace::default());
    let told = |limit, left, reset| Limits { requests: Told { limit, left, reset }, ..Limits::default() };
    let begin = Instant::now();
    for nothing in [
        told(None, Some(0), None),
        told(Some(0), None, None),
        told(None, None, Some(Duration::from_secs(9))),
        told(Some(u64::MAX), Some(u64::MAX), Some(Duration::MAX)),
        told(None, Some(0), Some(Duration::ZERO)),
    ] {
        limiter.gate().learn(&nothing, Instant::now());
        drop(limiter.pass(turn(limiter.number())).await.unwrap());
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    limiter.gate().learn(&told(Some(600), Some(0), Some(Duration::MAX)), Instant::now());
    drop(limiter.pass(turn(limiter.number())).await.unwrap());
    assert_eq!(begin.elapsed(), Duration::from_secs(120));
    limiter.gate().learn(&told(Some(60), Some(2), None), Instant::now());
    for expected in [120, 120, 121, 122] {
        drop(limiter.pass(turn(limiter.number())).await.unwrap());
        assert_eq!(begin.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_before_a_call_and_corrected_after_it() {
    let limiter =
        Limiter::alone(Pace { tokens_per_minute: std::num::NonZeroU64::new(1_000), ..Pace::default() });
    assert!(limiter.counts_tokens());
    let of = |tokens| Turn { tokens, ..turn(limiter.number()) };
    let begin = Instant::now();
    let mut pass = limiter.pass(of(100)).await.unwrap();
    pass.worked();
    pass.used(0);
    let _pass = limiter.pass(of(100)).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let _next = limiter.pass(of(100)).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 6);
}

#[test]
fn one_key_at_one_address_has_one_limiter() {
    let config =
        |key: &str, url: &str| ProviderConfig::new("p", crate::ShapeKind::OpenAiChat, url).unwrap().key(key);
    let pace = |requests| Pace { requests_per_minute: NonZeroU32::new(requests), ..Pace::default() };
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
    let anew = Limiter::of(&config("k", "https://example.com/v1"), Pace::default());
    assert!(!format!("{anew:?}").contains("limit: 30"), "nobody used it any more");
}

/// What may happen to a limiter, in any order.
#[derive(Debug, Clone)]
enum Step {
    Join,
    /// The waiting call at this place gives up.
    Cancel(usize),
    /// The try at this place ends: it worked, was cancelled, or was told to wait.
    Worked(usize),
    Dropped(usize),
    Failed(usize, Option<u64>),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0_usize..8;
    let step = prop_oneof![
        6 => Just(Step::Join),
        1 => at.clone().prop_map(Step::Cancel),
        3 => at.clone().prop_map(Step::Worked),
        1 => at.clone().prop_map(Step::Dropped),
        1 => (at, prop::option::of(0_u64..30_000)).prop_map(|(at, wait)| Step::Failed(at, wait)),
        3 => (0_u64..20_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..80)
}

/// Plays steps; returns when each call was let through and its number, and what nobody may be let through in.
async fn play(steps: Vec<Step>, most: usize, rate: u32) -> (Vec<(Instant, u64)>, Vec<(usize, Instant)>) {
    let limiter = Limiter::alone(Pace {
        in_flight: NonZeroUsize::new(most),
        requests_per_minute: NonZeroU32::new(rate),
        ..Pace::default()
    });
    let (sender, mut passed) = tokio::sync::mpsc::unbounded_channel();
    let (mut waiting, mut passes) = (Vec::new(), Vec::<Pass>::new());
    let (mut log, mut holds) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Join => {
                let (limiter, sender) = (Arc::clone(&limiter), sender.clone());
                waiting.push(tokio::spawn(async move {
                    let number = limiter.number();
                    if let Ok(pass) = limiter.pass(turn(number)).await {
                        let _ = sender.send((Instant::now(), number, pass));
                    }
                }));
            }
            Step::Cancel(at) if at < waiting.len() => waiting.remove(at).abort(),
            Step::Worked(at) if at < passes.len() => passes.remove(at).worked(),
            Step::Dropped(at) if at < passes.len() => drop(passes.remove(at)),
            Step::Failed(at, wait) if at < passes.len() => {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                passes.remove(at).failed(&busy(wait.map(|millis| millis as f64 / 1_000.0)));
                holds.extend(wait.map(|wait| (log.len(), Instant::now() + Duration::from_millis(wait))));
            }
            Step::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            _ => {}
        }
        // Whoever may go goes now.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        while let Ok((time, number, pass)) = passed.try_recv() {
            log.push((time, number));
            passes.push(pass);
        }
        assert!(passes.len() <= most, "{} in flight", passes.len());
    }
    (log, holds)
}

proptest! {
    #[test]
    fn no_order_of_things_lets_too_many_through(steps in steps(), most in 1_usize..5, rate in 1_u32..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (log, holds) = runtime.block_on(play(steps, most, rate));
        for pair in log.windows(rate as usize + 1) {
            let span = pair[rate as usize].0 - pair[0].0;
            prop_assert!(span >= Duration::from_secs(60), "{} in {span:?}", rate + 1);
        }
        prop_assert!(log.is_sorted_by_key(|(_, number)| *number), "in the order in which they came: {log:?}");
        for (from, until) in holds {
            prop_assert!(log[from..].iter().all(|(time, _)| *time >= until), "held until {until:?}: {log:?}");
        }
    }
}
