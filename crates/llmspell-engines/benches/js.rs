//! What the engine costs, next to bare QuickJS in the same run.
//!
//! `open` has eight bridges of eight functions, as a spell gets them; the calls cross the boundary through `Value`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::cell::RefCell;
use std::sync::Arc;

use divan::Bencher;
use llmspell_core::{Bridge, Context, Engine, Limits, Method, Session, Source, Value};
use llmspell_engines::js::Js;

fn main() {
    let session = open();
    #[expect(clippy::print_stderr, reason = "figures that divan has no column for")]
    {
        eprintln!("a session with 64 host functions holds {} KiB", session.memory() / 1024);
        let (bare, _context) = bare();
        eprintln!("a bare VM holds {} KiB", bare.memory_usage().malloc_size / 1024);
    }
    drop(session);
    divan::main();
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn bridge(name: &'static str) -> Bridge {
    NAMES.into_iter().enumerate().fold(Bridge::new(name), |bridge, (at, name)| {
        bridge.method(if at % 2 == 0 {
            Method::sync(name, |_, mut arguments| {
                let text: String = arguments.take("text")?;
                arguments.end()?;
                Ok(text)
            })
            .param::<String>("text")
        } else {
            Method::future(name, |_, mut arguments| async move {
                let text: String = arguments.take("text")?;
                arguments.end()?;
                Ok(text)
            })
            .param::<String>("text")
        })
    })
}

thread_local! {
    static ENGINE: RefCell<(Js, Vec<Arc<Bridge>>)> = RefCell::new((
        Js::new(),
        ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"].map(|name| Arc::new(bridge(name))).to_vec(),
    ));
}

fn open_with(count: usize) -> Box<dyn Session> {
    let limits = Limits { cpu: std::time::Duration::MAX, ..Limits::default() };
    ENGINE.with_borrow(|(engine, bridges)| {
        engine.open(&bridges[..count], Context::builder().limits(limits).build()).unwrap()
    })
}

fn open() -> Box<dyn Session> {
    open_with(8)
}

fn bare() -> (rquickjs::Runtime, rquickjs::Context) {
    let runtime = rquickjs::Runtime::new().unwrap();
    let context = rquickjs::Context::full(&runtime).unwrap();
    (runtime, context)
}

fn run(session: &dyn Session, text: &str) -> Value {
    run_as(session, "bench.js", text)
}

fn run_as(session: &dyn Session, name: &str, text: &str) -> Value {
    let source = Source::new(name, text);
    let mut future = session.eval(&source);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value.unwrap(),
        std::task::Poll::Pending => panic!("a bench waits"),
    }
}

#[divan::bench(args = [0, 8])]
fn open_and_drop(bencher: Bencher, bridges: usize) {
    bencher.bench(|| open_with(bridges));
}

#[divan::bench]
fn open_and_drop_bare() {
    divan::black_box(bare());
}

#[divan::bench]
fn one_line_spell(bencher: Bencher) {
    bencher.with_inputs(open).bench_local_refs(|session| run(&**session, "export default 1"));
}

/// What the first `console.log`, `Date` or timer of a script brings.
#[divan::bench(args = ["console", "Date", "fetch", "setTimeout"])]
fn first_touch(bencher: Bencher, name: &str) {
    let script = format!("export default typeof {name}");
    bencher.with_inputs(open).bench_local_refs(|session| run(&**session, &script));
}

const CALLS: u32 = 10_000;

fn calls(bencher: Bencher, call: &str) {
    let session = open();
    let script = format!("const f = {call}; for (let i = 0; i < {CALLS}; i++) await f('text')");
    let script = if call.ends_with('a') { script.replace("await", "") } else { script };
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| run(&*session, &script));
}

#[divan::bench]
fn calls_sync(bencher: Bencher) {
    calls(bencher, "aa.a");
}

#[divan::bench]
fn calls_ready_async(bencher: Bencher) {
    calls(bencher, "aa.b");
}

#[divan::bench]
fn calls_of_the_global(bencher: Bencher) {
    let session = open();
    let script = format!("for (let i = 0; i < {CALLS}; i++) aa.a('text')");
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| run(&*session, &script));
}

#[divan::bench]
fn calls_bare_rust(bencher: Bencher) {
    let (_runtime, context) = bare();
    context.with(|ctx| {
        let echo = rquickjs::Function::new(ctx.clone(), |text: String| text).unwrap();
        ctx.globals().set("echo", echo).unwrap();
        let script =
            format!("(function () {{ const f = echo; for (let i = 0; i < {CALLS}; i++) f('text') }})");
        let run: rquickjs::Function = ctx.eval(script).unwrap();
        bencher
            .counter(divan::counter::ItemsCount::new(CALLS))
            .bench_local(|| run.call::<_, ()>(()).unwrap());
    });
}

/// Three hundred lines as people write them, with the types or without.
fn lines(typed: bool) -> String {
    let block = |number: usize| {
        let (shape, argument, result, given) = match typed {
            true => (
                format!(
                    "interface Order{number} {{ id: number; title?: string; tags: readonly string[]; }}\n"
                ),
                format!("order: Order{number}, limit: number = 10"),
                ": Promise<Map<string, number>>",
                " as const",
            ),
            false => (format!("// Orders of the kind {number}.\n"), "order, limit = 10".to_owned(), "", ""),
        };
        format!(
            "{shape}export async function count{number}({argument}){result} {{
    const counts = new Map();
    for (const tag of order.tags) {{
        const known = counts.get(tag) ?? 0;
        if (known < limit) counts.set(tag, known + 1);
    }}
    const kinds = [\"one\", \"two\"]{given};
    return kinds.includes(order.title) ? counts : new Map();
}}
"
        )
    };
    (0..30).map(block).collect()
}

/// What the types cost is the difference: they are taken out, and what is left is compiled.
#[divan::bench(args = ["spell.ts", "spell.js"])]
fn check_300_lines(bencher: Bencher, name: &str) {
    let source = Source::new(name, lines(name.ends_with(".ts")));
    assert_eq!(source.text.lines().count(), 300);
    ENGINE.with_borrow(|(engine, _)| {
        bencher.bench_local(|| assert!(engine.check(&source).is_empty()));
    });
}
