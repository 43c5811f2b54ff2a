//! Calls every method of every bridge with generated values, in both languages, in runs with limits. A panic, an error
//! of kind `internal` or a run that cannot be stopped fails the test, with the script and its seed.
//!
//! The functions come from the registry of bridges, so a new method is included automatically. A value fits the
//! method's type, or is one of `hostile.luau` and `hostile.js`, or contains one.
//!
//! `FUZZ_SEED=7 FUZZ_CALLS=100000 cargo test -p llmspell --test fuzz -- --nocapture` uses another seed and makes more
//! calls. Each script has its own seed, with which it can be repeated.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "a test is told by the environment how long to try")]
#![expect(clippy::print_stdout, reason = "tells how many calls were made")]

mod script;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use llmspell::{Bridge, ErrorKind, Method, Outcome, Runtime, Spell};
use script::{HostSurface, ScriptGenerator, ScriptLanguage};

/// The maximum number of calls per script.
const CALLS_A_SCRIPT: usize = 40;
/// The default number of calls.
const CALLS: usize = 4_000;
/// The number of concurrent scripts.
const AT_ONCE: usize = 4;
/// A script that still runs this long after its limits cannot be stopped.
const STUCK: Duration = Duration::from_secs(30);

/// The number of panics in this process, on any thread.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_from_luau_is_a_bug() {
    fuzz(ScriptLanguage::Luau).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_from_javascript_is_a_bug() {
    fuzz(ScriptLanguage::JavaScript).await;
}

async fn fuzz(language: ScriptLanguage) {
    static COUNT_PANICS: Once = Once::new();
    COUNT_PANICS.call_once(|| {
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            show(info);
        }));
    });
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse().expect(name));
    let (seed, wanted) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_CALLS").unwrap_or(CALLS as u64));
    let surface = HostSurface::new(language, &Runtime::builder().build().unwrap());
    let port = world::serve().await;
    let mut made = BTreeMap::new();
    let mut total = 0;
    let mut scripts = stream::iter(seed..).map(|seed| run(&surface, seed, port)).buffered(AT_ONCE);
    while total < wanted {
        let calls = scripts.next().await.expect("seeds have no end");
        for name in calls {
            total += 1;
            *made.entry(name).or_insert(0_u64) += 1;
        }
    }
    drop(scripts);
    println!("{language:?}: {total} calls of {} functions from seed {seed}, no panic", made.len());
    if wanted >= CALLS as u64 {
        let missing: Vec<_> =
            surface.all.iter().map(|it| &it.name).filter(|name| !made.contains_key(*name)).collect();
        assert!(missing.is_empty(), "never called: {missing:?}");
    }
}

/// The calls that a script reported.
#[derive(Default)]
struct Told {
    made: Vec<String>,
    internal: Vec<String>,
}

/// Runs one script. Returns the names of the functions that it called.
async fn run(surface: &HostSurface, seed: u64, port: u16) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}");
    let text = ScriptGenerator::new(surface, seed, &url).script(CALLS_A_SCRIPT);
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Told::default()));
    let runtime = world::runtime(folder.path(), &mut rng)
        .bridge(bridge(&told))
        .on_stuck(STUCK, {
            let text = text.clone();
            move |error| {
                println!("seed {seed} cannot be stopped: {error}\n{text}");
                std::process::abort();
            }
        })
        .build()
        .unwrap();
    let spell = Spell::from_source(surface.language.file(), &*text).unwrap();
    let mut cast = runtime.run(spell).permissions(world::permissions(folder.path(), port)).limits(|limits| {
        limits.cpu = Duration::from_secs(2);
        limits.wall = Duration::from_secs(2);
        limits.memory = 64 << 20;
        limits.output = 1 << 20;
    });
    // Some runs are also recorded, so their effects are written to a file, read and sorted.
    if rng.u32(0..4) == 0 {
        cast = cast.record(folder.path().join("recording.json"));
    }
    let panics = PANICS.load(Ordering::SeqCst);
    let outcome = cast.start().outcome().await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    if let Some(bug) = bug(&outcome, &told).or_else(|| {
        (PANICS.load(Ordering::SeqCst) > panics)
            .then(|| "a panic, of this script or of one beside it".to_owned())
    }) {
        panic!("{bug}\nwith FUZZ_SEED={seed} FUZZ_CALLS=1 and this script:\n{text}");
    }
    told.made
}

/// Returns the fault in a script's end, if there is one.
fn bug(outcome: &Outcome, told: &Told) -> Option<String> {
    // The outcome must always be serializable.
    let _ = serde_json::to_string(outcome);
    let internal = outcome.error.as_ref().filter(|error| error.kind() == ErrorKind::Internal);
    let loading = outcome.error.as_ref().filter(|_| told.made.is_empty());
    internal
        .or(loading)
        .map(|error| format!("{}: {error}", error.kind()))
        .or_else(|| told.internal.first().cloned())
}

/// Returns the bridge with which a script reports its calls.
fn bridge(told: &Arc<Mutex<Told>>) -> Bridge {
    let (counting, reporting) = (Arc::clone(told), Arc::clone(told));
    let made = Method::sync("made", move |_, mut arguments| {
        let name: String = arguments.take("name")?;
        counting.lock().unwrap().made.push(name);
        Ok(())
    });
    let internal = Method::sync("internal", move |_, mut arguments| {
        let (name, message): (String, String) = (arguments.take("name")?, arguments.take("message")?);
        reporting.lock().unwrap().internal.push(format!("{name}: internal: {message}"));
        Ok(())
    });
    Bridge::new("fuzz").method(made).method(internal)
}
