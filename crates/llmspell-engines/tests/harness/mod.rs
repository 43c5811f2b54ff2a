//! A run like the library's: a context, a watchdog, and a thread that charges its polls to the meter. The tests of each
//! engine define their `engine` and their `FILE` name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use llmspell_core::capability::Modules;
use llmspell_core::{
    Bridge, Context, ContextBuilder, Engine as _, Error, Event, Limits, Result, Session, Sink, Source, Value,
};

use crate::{FILE, engine};

#[derive(Default)]
pub(crate) struct Printed(Mutex<String>);

impl Printed {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for Printed {
    fn emit(&self, event: Event) {
        if let Event::Output { text } = event {
            self.0.lock().unwrap().push_str(&text);
        }
    }
}

pub(crate) struct Files(pub(crate) HashMap<&'static str, &'static str>);

impl Modules for Files {
    fn read(&self, path: &str) -> Result<Option<String>> {
        Ok(self.0.get(path).map(|text| (*text).to_owned()))
    }
}

/// Checks a meter every millisecond, like the library's watchdog thread.
struct Watchdog(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Watchdog {
    fn start(cx: &Context) -> Self {
        let (over, cx) = (Arc::new(AtomicBool::new(false)), cx.clone());
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                cx.meter().watch();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self(over, Some(thread))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// A session and its context.
pub(crate) struct Stage {
    pub(crate) cx: Context,
    pub(crate) session: Box<dyn Session>,
    pub(crate) printed: Arc<Printed>,
    _watchdog: Watchdog,
}

impl Stage {
    pub(crate) fn new(bridges: impl IntoIterator<Item = Bridge>) -> Self {
        Self::with(bridges, |builder| builder)
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        Self::with([], |builder| builder.limits(limits))
    }

    pub(crate) fn with_files<const N: usize>(files: [(&'static str, &'static str); N]) -> Self {
        Self::with([], |builder| builder.modules(Arc::new(Files(HashMap::from(files)))))
    }

    pub(crate) fn with(
        bridges: impl IntoIterator<Item = Bridge>,
        build: impl FnOnce(ContextBuilder) -> ContextBuilder,
    ) -> Self {
        let printed = Arc::<Printed>::default();
        let cx = build(Context::builder().sink(Arc::clone(&printed) as Arc<dyn Sink>)).build();
        let bridges: Vec<_> = bridges.into_iter().map(Arc::new).collect();
        let session = engine().open(&bridges, cx.clone()).unwrap();
        let watchdog = Watchdog::start(&cx);
        Self { cx, session, printed, _watchdog: watchdog }
    }

    /// Resets the session for another run.
    pub(crate) fn renew(&mut self, build: impl FnOnce(ContextBuilder) -> ContextBuilder) {
        self.cx = build(Context::builder().sink(Arc::clone(&self.printed) as Arc<dyn Sink>)).build();
        self.session.renew(self.cx.clone()).unwrap();
        self._watchdog = Watchdog::start(&self.cx);
    }

    /// Runs a script.
    pub(crate) fn eval(&self, text: &str) -> Result<Value> {
        let source = Source::new(FILE, text);
        self.finish(self.session.eval(&source))
    }

    pub(crate) fn call(&self, name: &str, arguments: Vec<Value>) -> Result<Value> {
        self.finish(self.session.call(name, arguments))
    }

    /// Polls a future to its end, and charges each poll to the meter.
    pub(crate) fn finish<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        let charged = std::future::poll_fn(|cx| {
            let _work = self.cx.meter().work();
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(value),
                Poll::Pending => Poll::Pending,
            }
        });
        runtime().block_on(charged)
    }
}

/// Returns a runtime whose clock jumps ahead when all tasks wait.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Returns the value of a script in a new session.
#[track_caller]
pub(crate) fn eval(text: &str) -> Value {
    Stage::new([]).eval(text).unwrap_or_else(|error| panic!("{text}\n{error:?}"))
}

/// Returns the error of a script in a new session.
#[track_caller]
pub(crate) fn fails(text: &str) -> Error {
    match Stage::new([]).eval(text) {
        Ok(value) => panic!("{text}\nreturned {value:?}"),
        Err(error) => error,
    }
}

/// Formats an error as `file:line: message [kind]`.
pub(crate) fn shown(error: &Error) -> String {
    let place = error.place().map(|place| format!("{place}: ")).unwrap_or_default();
    format!("{place}{} [{}]", error.message(), error.kind())
}
