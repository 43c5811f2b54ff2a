//! The web APIs of the prelude.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llmspell_core::capability::{Clock, Random};
use llmspell_core::effect::Permit;
use llmspell_core::{Bridge, Event, LogLevel, Map, Method, Result, Sink, Value};

use crate::harness::{Stage, fails, shown};

struct Fixed;

impl Clock for Fixed {
    fn now(&self, _: Permit) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    }
    fn ticks(&self, _: Permit) -> Duration {
        Duration::ZERO
    }
}

impl Random for Fixed {
    fn fill(&self, _: Permit, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0xab);
        Ok(())
    }
}

fn stage(bridges: impl IntoIterator<Item = Bridge>) -> Stage {
    Stage::with(bridges, |cx| cx.clock(Arc::new(Fixed)).random(Arc::new(Fixed)))
}

#[test]
fn the_webs_own_are_there() {
    let cases = [
        ("btoa('h\\xe9llo')", "aOlsbG8="),
        ("atob('aOlsbG8=') === 'h\\xe9llo'", "true"),
        ("new TextDecoder().decode(new TextEncoder().encode('é😀'))", "é😀"),
        (
            "(() => { const d = new TextDecoder(); return d.decode(new Uint8Array([0xc3]), { stream: true }) + d.decode(new Uint8Array([0xa9])) })()",
            "é",
        ),
        ("new TextDecoder().decode(new Uint8Array([0xff, 65]))", "\u{fffd}A"),
        (
            "new URL('../b?x=1#y', 'https://user:pw@example.com:8080/a/c').href",
            "https://user:pw@example.com:8080/b?x=1#y",
        ),
        (
            "(() => { const u = new URL('https://example.com/?a=1&b=2'); u.searchParams.set('a', 'x y'); u.hash = 'z'; u.port = '81'; return `${u}` })()",
            "https://example.com:81/?a=x+y&b=2#z",
        ),
        ("new URLSearchParams({ a: '1 2', b: 'é' }).toString()", "a=1+2&b=%C3%A9"),
        ("[...new URLSearchParams('?a=1&b=2&a=3')].join(';')", "a,1;b,2;a,3"),
        ("URL.canParse('nope')", "false"),
        ("JSON.stringify(structuredClone({ a: [1, { b: 2 }], c: 'x' }))", r#"{"a":[1,{"b":2}],"c":"x"}"#),
        (
            "(() => { const a = { d: new Date(5), m: new Map([[1, new Set([2])]]) }; a.self = a; const b = structuredClone(a); return [b !== a, b.self === b, b.d.getTime(), b.m.get(1).has(2)] })()",
            "true,true,5,true",
        ),
        ("crypto.randomUUID()", "abababab-abab-4bab-abab-abababababab"),
        ("crypto.getRandomValues(new Uint16Array(2)).join()", "43947,43947"),
        // Its second answer claims a length of a petabyte.
        (
            "(() => { let asked = 0, got; crypto.getRandomValues({ get byteLength() { return asked++ ? 1e15 : 1 }, set(bytes) { got = bytes.length } }); return got })()",
            "65536",
        ),
        ("Date.now()", "1700000000123"),
        ("new Date().toISOString()", "2023-11-14T22:13:20.123Z"),
        ("new Date(2020, 1, 29, 12).getTime()", "1582977600000"),
        ("Date.parse('2020-02-29T12:00')", "1582977600000"),
        ("Date.parse('29 Feb 2020 12:00 +0100')", "1582974000000"),
        ("new Date(NaN).toString()", "Invalid Date"),
        ("new (class D extends Date { x = 1 })(0) instanceof Date", "true"),
        ("new Headers({ 'Content-Type': 'a', X: '1' }).get('content-type')", "a"),
        ("await new Response('{\"a\":1}').json().then(v => v.a)", "1"),
        ("await promise.map([3, 1, 2], n => n * 2, { concurrency: 2 })", "6,2,4"),
        ("await promise.spawn((a, b) => a + b, 1, 2)", "3"),
        ("await promise.retry(n => { if (n < 2) throw 1; return n }, { delay: 0.01 })", "2"),
        ("await promise.timeout(promise.delay(60), 0.01).catch(e => e.kind)", "timeout"),
        ("await promise.timeout(promise.delay(0.01, 'x'), 60)", "x"),
        ("new AbortController().signal.aborted", "false"),
        ("AbortSignal.abort('why').reason", "why"),
        (
            "await new Promise(r => { const c = new AbortController(); c.signal.addEventListener('abort', () => r(c.signal.reason.name)); c.abort() })",
            "AbortError",
        ),
    ];
    for (script, expected) in cases {
        let script = format!("export default String({script})");
        let value = stage([]).eval(&script).unwrap_or_else(|error| panic!("{script}: {error:?}"));
        assert_eq!(value, expected.into(), "{script}");
    }
}

#[test]
fn timers_run_in_the_order_of_their_times_and_can_be_cleared() {
    let stage = stage([]);
    let script = "
        setTimeout(console.log, 30, 'third');
        setTimeout(() => console.log('first'), 10);
        const cleared = setTimeout(() => console.log('never'), 1e9);
        const id = setInterval(() => { console.log('tick'); if (++n === 2) clearInterval(id) }, 12);
        let n = 0;
        clearTimeout(cleared);
        queueMicrotask(() => console.log('before'));
        console.log('now')";
    stage.eval(script).unwrap();
    assert_eq!(stage.printed.text(), "now\nbefore\nfirst\ntick\ntick\nthird\n");
    assert_eq!(
        shown(&fails("setTimeout(() => { throw new Error('late') }, 1)")),
        "main.js:1:30: late [runtime]"
    );
    assert_eq!(
        shown(&fails("setTimeout('1')")),
        "main.js:1:1: TypeError: a timer runs a function, and no text [runtime]"
    );
}

#[derive(Default)]
struct Logged(std::sync::Mutex<Vec<(LogLevel, String)>>);

impl Sink for Logged {
    fn emit(&self, event: Event) {
        if let Event::Log(entry) = event {
            self.0.lock().unwrap().push((entry.level, entry.message));
        }
    }
}

#[test]
fn the_console_prints_and_logs() {
    let stage = stage([]);
    let script = "
        console.log('text', 1, -0, true, null, undefined, 5n, Symbol('s'));
        console.log([1, 'two', [3]], { a: 1, 'b-c': { d: [] } }, new Map([[1, { x: 2 }]]), new Set(['a']));
        console.log(function f() {}, () => {}, class A {}, new (class P { x = 1 }));
        console.log('%s is %d, %j', 'it', '5', { a: 1 }, 'rest', '%');
        console.log(new Error('no').message, Object.create(null), new Uint8Array([1, 2]));
        const round = { name: 'r' }; round.self = round; console.log(round);
        console.log({ get x() { return 1 } }, \"it's\", [\"it's\"]);
        console.log({ long: 'x'.repeat(50), other: 'y'.repeat(50) });
        console.log()";
    stage.eval(script).unwrap();
    let expected = "text 1 -0 true null undefined 5n Symbol(s)
[ 1, 'two', [ 3 ] ] { a: 1, 'b-c': { d: [] } } Map(1) { 1 => { x: 2 } } Set(1) { 'a' }
[Function: f] [Function] [Function: A] P { x: 1 }
it is 5, {\"a\":1} rest %
no [Object: null prototype] {} Uint8Array(2) [ 1, 2 ]
{ name: 'r', self: [Circular] }
{ x: [Getter] } it's [ \"it's\" ]
{
  long: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
  other: 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'
}

";
    assert_eq!(stage.printed.text(), expected);

    let logged = Arc::<Logged>::default();
    let stage = Stage::with([], |cx| cx.sink(Arc::clone(&logged) as Arc<dyn Sink>));
    stage
        .eval("console.warn('w', 1); console.error('e'); console.debug('d'); console.assert(1 > 2, 'a')")
        .unwrap();
    let expected = [
        (LogLevel::Warn, "w 1"),
        (LogLevel::Error, "e"),
        (LogLevel::Debug, "d"),
        (LogLevel::Error, "Assertion failed: a"),
    ];
    assert_eq!(*logged.0.lock().unwrap(), expected.map(|(level, text)| (level, text.to_owned())));
}

#[test]
fn a_bridge_adds_to_the_prelude_global_of_its_name() {
    let bridges = || {
        ["console", "crypto"]
            .map(|name| Bridge::new(name).method(Method::sync("of_bridge", move |_, _| Ok(name))))
    };
    let stage = stage(bridges());
    let script =
        "console.log('x'); export default [console.ofBridge(), crypto.ofBridge(), typeof crypto.randomUUID]";
    assert_eq!(
        stage.eval(script).unwrap(),
        Value::List(vec!["console".into(), "crypto".into(), "function".into()])
    );
}

#[test]
fn fetch_goes_through_the_bridge() {
    let http = || {
        Bridge::new("http").method(Method::future("request", |_, mut arguments| async move {
            let request: Map = arguments.take("request")?;
            let mut answer = Map::from_iter([("status".to_owned(), Value::from(201))]);
            answer.insert(
                "headers".to_owned(),
                Value::Map(Map::from_iter([("X-Seen".to_owned(), "yes".into())])),
            );
            answer.insert("body".to_owned(), serde_json::to_string(&request).unwrap_or_default().into());
            Ok(answer)
        }))
    };
    let script = "
        const answer = await fetch(new URL('https://example.com/a'), { method: 'post', headers: { A: 'b' }, body: 'text' });
        export default [answer.ok, answer.status, answer.headers.get('x-seen'), await answer.text()]";
    let sent =
        r#"{"url":"https://example.com/a","method":"POST","headers":{"a":"b"},"follow":true,"body":"text"}"#;
    let expected = Value::List(vec![true.into(), 201.into(), "yes".into(), sent.into()]);
    assert_eq!(stage([http()]).eval(script).unwrap(), expected);
    let forever =
        Bridge::new("http").method(Method::future("request", |_, _| std::future::pending::<Result<()>>()));
    let script = "export default await fetch('https://example.com', { signal: AbortSignal.timeout(10) }).catch(e => e.name)";
    assert_eq!(stage([forever]).eval(script).unwrap(), "TimeoutError".into());
    assert_eq!(
        shown(&fails("await fetch('https://example.com')")),
        "main.js:1:6: this runtime has no network [unsupported]"
    );
}
