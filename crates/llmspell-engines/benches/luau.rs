//! What the engine costs, next to bare mlua in the same run.
//!
//! `open` has eight bridges of eight functions, as a spell gets them; the calls cross the boundary through `Value`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::cell::RefCell;
use std::sync::Arc;

use divan::Bencher;
use llmspell_core::{Bridge, Context, Engine, Limits, Method, Session, Source, Value};
use llmspell_engines::luau::Luau;

fn main() {
    let session = open();
    #[expect(clippy::print_stderr, reason = "a figure that divan has no column for")]
    {
        eprintln!("a session with 64 host functions holds {} KiB", session.memory() / 1024);
    }
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
    static ENGINE: RefCell<(Luau, Vec<Arc<Bridge>>)> = RefCell::new((
        Luau::new(),
        ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"].map(|name| Arc::new(bridge(name))).to_vec(),
    ));
}

fn open() -> Box<dyn Session> {
    let limits = Limits { cpu: std::time::Duration::MAX, ..Limits::default() };
    ENGINE.with_borrow(|(engine, bridges)| {
        engine.open(bridges, Context::builder().limits(limits).build()).unwrap()
    })
}

fn run(session: &dyn Session, text: &str) -> Value {
    let source = Source::new("bench.luau", text);
    let mut future = session.eval(&source);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value.unwrap(),
        std::task::Poll::Pending => panic!("a bench waits"),
    }
}

#[divan::bench]
fn open_and_drop(bencher: Bencher) {
    bencher.bench(open);
}

#[divan::bench]
fn open_and_drop_bare() {
    divan::black_box(mlua::Lua::new());
}

#[divan::bench]
fn one_line_spell(bencher: Bencher) {
    bencher.with_inputs(open).bench_refs(|session| run(&**session, "return 1"));
}

const CALLS: u32 = 10_000;

fn calls(bencher: Bencher, call: &str) {
    let session = open();
    let script = format!("local f = {call} for i = 1, {CALLS} do f('text') end");
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| run(&*session, &script));
}

#[divan::bench]
fn calls_sync(bencher: Bencher) {
    calls(bencher, "aa.a");
}

#[divan::bench]
fn calls_sync_number(bencher: Bencher) {
    let session = open();
    let method = Method::sync("echo", |_, mut arguments| arguments.take::<f64>("number"));
    session.register(method).unwrap();
    let script = format!("local f = echo for i = 1, {CALLS} do f(0.5) end");
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| run(&*session, &script));
}

#[divan::bench]
fn calls_ready_async(bencher: Bencher) {
    calls(bencher, "aa.b");
}

#[divan::bench]
fn calls_pcall(bencher: Bencher) {
    calls(bencher, "function() pcall(rawlen, '') end");
}

#[divan::bench]
fn calls_bare_rust(bencher: Bencher) {
    let lua = mlua::Lua::new();
    let echo = lua.create_function(|_, text: mlua::LuaString| Ok(text)).unwrap();
    lua.globals().set("echo", echo).unwrap();
    let chunk = format!("local f = echo for i = 1, {CALLS} do f('text') end");
    let run = lua.load(chunk).into_function().unwrap();
    bencher.counter(divan::counter::ItemsCount::new(CALLS)).bench_local(|| run.call::<()>(()).unwrap());
}

const LOOP: &str = "local n = 0 for i = 1, 1e6 do n = n + i % 7 end return n";
const FUNCTIONS: &str =
    "local function f(a) return a + 1 end local n = 0 for i = 1, 1e6 do n = f(n) end return n";

#[divan::bench(args = [LOOP, FUNCTIONS])]
fn armed(bencher: Bencher, script: &str) {
    let session = open();
    bencher.bench_local(|| run(&*session, script));
}

#[divan::bench(args = [LOOP, FUNCTIONS])]
fn bare(bencher: Bencher, script: &str) {
    let lua = mlua::Lua::new();
    let run = lua.load(script).into_function().unwrap();
    bencher.bench_local(|| run.call::<f64>(()).unwrap());
}
