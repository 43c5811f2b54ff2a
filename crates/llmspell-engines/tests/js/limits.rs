//! Limits: a script at its limit ends soon with a typed error, and cannot survive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llmspell_core::{Error, ErrorKind, Limit, Limits, Method, Value};

use crate::harness::{Stage, shown};

/// Runs a script that calls `after` at places it must never reach. Returns the error and the processor time.
fn stopped(shape: &str, script: &str, limits: Limits) -> (Error, Duration) {
    let after = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&after);
    let stage = Stage::with([], |cx| cx.limits(limits));
    let probe = Method::sync("after", move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    stage.session.register(probe).unwrap();
    stage
        .session
        .register(Method::future("nap", |_, _| async {
            tokio::task::yield_now().await;
            Ok(())
        }))
        .unwrap();
    let error = stage.eval(script).expect_err(shape);
    let took = stage.cx.meter().cpu();
    assert_eq!(after.load(Ordering::Relaxed), 0, "{shape}: the script went on");
    // Later evaluations do not run either.
    assert_eq!(stage.eval("after()").unwrap_err().kind(), error.kind(), "{shape}");
    assert_eq!(after.load(Ordering::Relaxed), 0, "{shape}: another script went on");
    (error, took)
}

/// Endless work in many forms.
const ENDLESS: &[(&str, &str)] = &[
    ("a loop", "for (;;) {}"),
    ("a loop in try", "try { for (;;) {} } catch { after() } finally { after() } after()"),
    ("a loop of tries", "for (;;) { try { for (;;) {} } catch {} finally {} }"),
    ("a getter", "({ get x() { for (;;) {} } }).x; after()"),
    ("a proxy", "new Proxy({}, { get() { for (;;) {} } }).x; after()"),
    ("a toString", "try { `${{ toString() { for (;;) {} } }}` } catch { after() }"),
    (
        "a toString of what is printed",
        "console.log({ toString() { for (;;) {} }, get [Symbol.toStringTag]() { for (;;) {} } }); `${{ toString() { for (;;) {} } }}`",
    ),
    ("a toString of what is thrown", "throw { toString() { for (;;) {} } }"),
    (
        "a getter of what is thrown",
        "throw Object.defineProperty(new Error(), 'message', { get() { for (;;) {} } })",
    ),
    ("a generator", "function* g() { try { for (;;) yield 1 } finally { after() } } for (const x of g()) {}"),
    ("a generator that loops", "function* g() { for (;;) {} } try { [...g()] } catch { after() }"),
    (
        "an iterator's return",
        "const it = { [Symbol.iterator]() { return this }, next() { return { value: 1 } }, return() { after(); return {} } }; Array.from(it, () => { for (;;) {} })",
    ),
    (
        "an endless iterator",
        "const it = { [Symbol.iterator]() { return this }, next() { return { value: 1 } } }; for (const x of it) {}",
    ),
    ("a comparator", "[3, 1, 2].sort(() => { for (;;) {} }); after()"),
    ("a callback of an array", "try { [1].map(() => { for (;;) {} }) } catch { after() }"),
    ("a replacer", "'a'.replace(/a/, () => { for (;;) {} })"),
    ("a reviver", "JSON.parse('[1]', () => { for (;;) {} })"),
    ("a toJSON", "JSON.stringify({ toJSON() { for (;;) {} } })"),
    ("a regular expression", "/(a+)+$/.test('a'.repeat(50) + 'b'); after()"),
    ("a regular expression in a loop", "for (;;) { try { /(a|a)*$/.test('a'.repeat(50) + 'b') } catch {} }"),
    (
        "an async function",
        "(async () => { try { for (;;) {} } catch { after() } finally { after() } })().catch(after).finally(after); await 0; after()",
    ),
    ("a handler", "Promise.resolve().then(() => { for (;;) {} }).finally(after)"),
    ("jobs without end", "function f() { Promise.resolve().then(f) } f()"),
    ("microtasks without end", "function f() { queueMicrotask(f) } f(); await nap(); after()"),
    ("awaits without end", "for (;;) await 0"),
    ("calls of the host without end", "for (;;) await nap()"),
    ("a thenable that loops", "await { then() { for (;;) {} } }"),
    ("a thenable without end", "const t = { then(r) { r(t) } }; await t; after()"),
    ("an async generator", "async function* g() { for (;;) yield 1 } for await (const x of g()) {}"),
    ("a constructor", "class A { constructor() { for (;;) {} } } try { new A() } catch { after() }"),
    ("a field", "class A { x = (() => { for (;;) {} })() } new A()"),
    ("a static block", "class A { static { for (;;) {} } }"),
    ("a default", "const f = (x = (() => { for (;;) {} })()) => x; f()"),
    ("a tag", "((...x) => { for (;;) {} })`x`"),
    (
        "a species",
        "class A extends Array { static get [Symbol.species]() { for (;;) {} } } new A(1).map(x => x)",
    ),
    ("a returned value's getter", "export default { get x() { for (;;) {} } }"),
    ("a returned function", "export default () => { for (;;) {} }"),
    ("recursion that catches its end", "function f() { try { f() } catch { f() } } f()"),
    ("a dynamic import", "for (;;) { try { await import('./none.js') } catch {} }"),
    (
        "a sort of many",
        "const a = Array.from({ length: 3e5 }, (_, i) => (i * 7919) % 1000003); for (;;) a.sort((x, y) => x - y)",
    ),
    (
        "an array of growing length",
        "const a = []; for (;;) { a.length = 0; for (let i = 0; i < 1e5; i++) a.push(i) }",
    ),
    ("errors in a function", "for (;;) { try { (() => null.x)() } catch {} }"),
    ("errors that are made", "for (;;) { try { throw new RangeError('x') } catch {} }"),
    (
        "errors of a class of its own",
        "class E extends Error {} function f() { try { throw new E() } catch {} } for (;;) f()",
    ),
    ("names that are not there", "for (;;) { try { nothing() } catch {} }"),
    ("long texts", "const s = '[' + '1,'.repeat(1e5) + '1]'; for (;;) JSON.parse(s)"),
    ("long joins", "const a = new Array(1e5).fill('x'); for (;;) { try { a.join() } catch { after() } }"),
    ("long repeats", "for (;;) 'x'.repeat(1e5).split('')"),
];

#[test]
fn endless_work_ends_with_the_cpu_limit_and_nothing_runs_after_it() {
    for (shape, script) in ENDLESS {
        let limits = Limits { cpu: Duration::from_millis(100), ..Limits::default() };
        let (error, took) = stopped(shape, script, limits);
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Cpu), "{shape}: {error:?}");
        assert!(took < Duration::from_millis(350), "{shape}: took {took:?}");
    }
}

/// Excessive memory in many forms.
const GREEDY: &[(&str, &str)] = &[
    ("a list of lists", "let a = []; for (;;) a = [a]"),
    (
        "a list of lists in try",
        "try { let a = []; for (;;) a = [a] } catch { after() } finally { after() } after()",
    ),
    ("the same, over and over", "for (;;) { try { let a = []; for (;;) a = [a] } catch {} }"),
    ("a long list", "const a = []; for (;;) a.push(1)"),
    ("a long list in try", "try { const a = []; for (;;) a.push({}) } catch { after() }"),
    (
        "lists of a thousand",
        "try { const a = []; for (;;) a.push(new Array(1000).fill(1)) } catch { after() }",
    ),
    ("a doubled text", "try { let s = 'x'; for (;;) { s += s; s.indexOf('y') } } catch { after() }"),
    ("a repeated text", "try { 'x'.repeat(2 ** 29) } catch { after() } after()"),
    (
        "many texts",
        "try { const a = []; for (let i = 0; ; i++) a.push('x'.repeat(1000) + i) } catch { after() }",
    ),
    (
        "a split text",
        "const s = 'x'.repeat(2 ** 20); try { for (const a = []; ;) a.push(s.split('')) } catch { after() }",
    ),
    ("a padded text", "try { 'x'.padEnd(2 ** 29) } catch { after() } after()"),
    ("a large buffer", "try { new ArrayBuffer(2 ** 30) } catch { after() } after()"),
    ("many buffers", "try { for (const a = []; ;) a.push(new Uint8Array(2 ** 20)) } catch { after() }"),
    ("a map", "try { const m = new Map(); for (let i = 0; ; i++) m.set(i, {}) } catch { after() }"),
    (
        "a JSON text",
        "const s = '[' + '[],'.repeat(2 ** 20) + '[]]'; try { for (const a = []; ;) a.push(JSON.parse(s)) } catch { after() }",
    ),
    ("closures", "const a = []; for (let i = 0; ; i++) a.push(() => i)"),
    ("promises", "const a = []; for (;;) a.push(new Promise(() => {}))"),
    (
        "async functions",
        "async function f() { await new Promise(() => {}) } const a = []; for (;;) a.push(f())",
    ),
    ("an error that is caught", "for (;;) { try { 'x'.repeat(2 ** 29) } catch {} }"),
    ("a rejection", "(async () => { let a = []; for (;;) a = [a] })().catch(after); await 0; after()"),
    ("jobs", "function f() { Promise.resolve().then(f); Promise.resolve().then(f) } f()"),
    ("a concat", "let a = [1]; try { for (;;) a = a.concat(a) } catch { after() }"),
    ("a spread", "let a = [1]; try { for (;;) a = [...a, ...a] } catch { after() }"),
    (
        "a join",
        "const a = new Array(2 ** 20).fill('x'.repeat(100)); try { for (const s = []; ;) s.push(a.join('')) } catch { after() }",
    ),
    ("a replaced text", "try { 'x'.repeat(2 ** 20).replaceAll('x', 'y'.repeat(2 ** 10)) } catch { after() }"),
    (
        "a big integer",
        "try { 2n ** (2n ** 32n) } catch (e) { if (e instanceof RangeError) for (const a = []; ;) a.push([]); after() }",
    ),
    ("a returned value", "const a = []; for (let i = 0; i < 20; i++) a.push(a.slice()); export default a"),
];

#[test]
fn memory_ends_with_the_memory_limit_and_nothing_runs_after_it() {
    for (shape, script) in GREEDY {
        let limits = Limits { memory: 32 << 20, ..Limits::default() };
        let (error, took) = stopped(shape, script, limits);
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Memory), "{shape}: {error:?}");
        assert!(took < Duration::from_secs(5), "{shape}: took {took:?}");
    }
}

#[test]
fn garbage_is_no_use_of_memory() {
    let scripts = [
        ("lists", "for (let i = 0; i < 200; i++) new Array(2 ** 16).fill(i)"),
        (
            "circles, with jobs between",
            "for (let i = 0; i < 40; i++) { for (let k = 0; k < 4e3; k++) { const a = {}; a.a = a } await 0 }",
        ),
        (
            "circles, with calls between",
            "for (let i = 0; i < 4e5; i++) { const a = {}; a.a = a; if (i % 10 === 0) touch() }",
        ),
        ("promises", "for (let i = 0; i < 1e5; i++) await Promise.all([1, 2])"),
    ];
    for (shape, script) in scripts {
        let stage = Stage::limited(Limits { memory: 16 << 20, ..Limits::default() });
        stage.session.register(Method::sync("touch", |_, _| Ok(()))).unwrap();
        stage.eval(script).unwrap_or_else(|error| panic!("{shape}: {error:?}"));
    }
}

#[test]
fn a_limit_error_says_where() {
    let stage = Stage::limited(Limits { cpu: Duration::from_millis(30), ..Limits::default() });
    let error = stage.eval("function spin() {\n  for (;;) {}\n}\nspin()").unwrap_err();
    assert_eq!(error.message(), "the spell reached its cpu limit of 30ms");
    assert_eq!(error.place().unwrap().file, "main.js");
    assert_eq!(error.traceback()[0].function.as_deref(), Some("spin"));
}

#[test]
fn recursion_without_end_is_an_ordinary_error() {
    let cases = [
        "function f() { f() } f()",
        "class A { get x() { return this.x } } new A().x",
        "const p = new Proxy({}, { get: (t, k, r) => r[k] }); p.x",
        "JSON.parse('['.repeat(1e6))",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; a.flat(Infinity)",
        "async function f() { await f() } await f()",
        "async function f(n) { return f(n + 1) } await f(0)",
        "async function* g() { for await (const x of g()) yield x } await g().next()",
        "function* g() { yield* g() } [...g()]",
        "const o = { toString() { return `${o}` } }; `${o}`",
    ];
    for script in cases {
        let error = Stage::new([]).eval(script).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime, "{script}: {error:?}");
        assert!(error.message().contains("stack"), "{script}: {error:?}");
    }
    let deep = format!("export default {}1{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(Stage::new([]).eval(&deep).is_err());
}

#[test]
fn output_and_tasks_are_limited() {
    let limits = Limits { output: 1000, ..Limits::default() };
    let (error, _) = stopped("output", "for (;;) { try { console.log('x'.repeat(100)) } catch {} }", limits);
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Output));
    let limits = Limits { output: 1000, ..Limits::default() };
    let (error, _) = stopped("log", "for (;;) { try { console.error('x'.repeat(100)) } catch {} }", limits);
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Output));
    let limits = Limits { tasks: 100, ..Limits::default() };
    let (error, _) = stopped("calls", "for (;;) { try { nap().catch(after) } catch {} }", limits);
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Tasks));
    let limits = Limits { tasks: 100, ..Limits::default() };
    let (error, _) = stopped("timers", "for (;;) { try { setTimeout(after, 1e6) } catch {} }", limits);
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Tasks));
}

#[test]
fn a_cancelled_run_runs_nothing_more() {
    let stage = Stage::new([]);
    stage.cx.cancel();
    assert!(stage.eval("console.log('on')").unwrap_err().is_cancelled());
    assert_eq!(stage.printed.text(), "");
}

#[test]
fn a_limit_that_the_host_reaches_ends_the_script() {
    let stage = Stage::limited(Limits { model_calls: 0, ..Limits::default() });
    let reach = Method::sync("reach", |cx, _| Err::<Value, _>(cx.meter().trip(Limit::ModelCalls)));
    stage.session.register(reach).unwrap();
    let error = stage.eval("try { reach() } catch {}\nconsole.log('on')").unwrap_err();
    assert_eq!(
        shown(&error),
        "main.js:1:6: the spell reached its model_calls limit of 0 [limit.model_calls]"
    );
    assert_eq!(stage.printed.text(), "");
}

#[test]
fn jobs_let_the_neighbours_on_the_thread_go_first() {
    let stage = Stage::limited(Limits { cpu: Duration::from_millis(400), ..Limits::default() });
    let script = llmspell_core::Source::new("main.js", "function f() { Promise.resolve().then(f) } f()");
    let ticks = stage.finish(async {
        let mut ticks = 0;
        let run = stage.session.eval(&script);
        let tick = async {
            loop {
                tokio::task::yield_now().await;
                ticks += 1;
            }
        };
        tokio::select! {
            biased;
            _ = run => {}
            () = tick => {}
        }
        ticks
    });
    assert!(ticks >= 5, "{ticks} ticks beside a flood of jobs");
}
