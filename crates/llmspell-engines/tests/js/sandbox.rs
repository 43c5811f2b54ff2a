//! The sandbox: what a spell cannot reach, and cannot change.

use llmspell_core::{Bridge, Map, Method, Value};

use crate::harness::{Stage, eval, shown};

fn host() -> Bridge {
    Bridge::new("host")
        .method(Method::sync("echo", |_, mut arguments| arguments.take::<Value>("value")))
        .method(Method::future("later", |_, mut arguments| async move {
            tokio::task::yield_now().await;
            arguments.take::<Value>("value")
        }))
        .constant(llmspell_core::bridge::Field::new("settings", "", |_, _| {
            Ok(Map::from_iter([("deep".to_owned(), Value::List(vec![1.into()]))]))
        }))
}

#[test]
fn what_is_dangerous_is_not_there() {
    let gone = [
        "eval",
        "SharedArrayBuffer",
        "Atomics",
        "WeakRef",
        "FinalizationRegistry",
        "require",
        "process",
        "Deno",
        "std",
        "os",
        "gc",
        "load",
        "print",
        "performance",
        "navigator",
        "WebAssembly",
        "XMLHttpRequest",
        "scriptArgs",
    ];
    for name in gone {
        assert_eq!(eval(&format!("export default typeof globalThis.{name}")), "undefined".into(), "{name}");
        assert_eq!(eval(&format!("export default typeof {name}")), "undefined".into(), "{name}");
    }
}

#[test]
fn no_text_becomes_code() {
    let ways = [
        "Function('return 1')",
        "new Function('return 1')",
        "(() => {}).constructor('return 1')",
        "(async () => {}).constructor('return 1')",
        "(function* () {}).constructor('yield 1')",
        "(async function* () {}).constructor('yield 1')",
        "Reflect.construct(Function, ['return 1'])",
        "Reflect.construct(Object, ['return 1'], (() => {}).constructor)",
        "Function.prototype.constructor('return 1')",
        "Object.getPrototypeOf(async () => {}).constructor('return 1')",
        "new (class extends Function {})('return 1')",
        "console.log.constructor('return 1')",
        "host.echo.constructor('return 1')",
        "(setTimeout('globalThis.x = 1', 0), 0)",
        "eval('1')",
        "(0, globalThis.eval)('1')",
    ];
    for way in ways {
        let script = format!(
            "let made; try {{ made = {way} }} catch (e) {{ made = e }} export default typeof made === 'function' || globalThis.x === 1 ? 'code' : 'none'"
        );
        assert_eq!(Stage::new([host()]).eval(&script).unwrap(), "none".into(), "{way}");
    }
    let error = Stage::new([]).eval("await import('data:text/javascript,1')").unwrap_err();
    assert_eq!(
        error.message(),
        "cannot import `data:text/javascript,1`: a module's path begins with ./ or ../"
    );
}

#[test]
fn functions_are_still_functions() {
    let script = "const f = () => 1; export default [f instanceof Function, typeof Function, f.constructor === Function,
        Function.prototype.call.call(f), f.bind(null)(), Object.prototype.toString.call(f)].join()";
    assert_eq!(eval(script), "true,function,true,1,1,[object Function]".into());
}

#[test]
fn bridges_cannot_be_changed() {
    let ways = [
        "host.echo = 1",
        "host.more = 1",
        "delete host.echo",
        "host.settings.deep = 1",
        "host.settings.deep.push(2)",
        "host.echo.x = 1",
        "Object.defineProperty(host, 'echo', { value: 1 })",
        "Object.setPrototypeOf(host, {})",
        "host = 1",
        "delete globalThis.host",
        "globalThis.host = 1",
        "Object.defineProperty(globalThis, 'host', { value: 1 })",
        "SpellError.prototype.name.x = 1",
    ];
    for way in ways {
        let error = Stage::new([host()]).eval(way).unwrap_err();
        assert!(error.message().starts_with("TypeError"), "{way}: {error:?}");
    }
    assert_eq!(Stage::new([host()]).eval("export default host.settings.deep[0]").unwrap(), 1.into());
}

#[test]
fn poisoned_built_ins_do_not_change_what_the_host_sees() {
    let poisons = [
        "Object.prototype.then = function (r) { r('poison') }",
        "Object.prototype.evil = 'poison'",
        "Object.defineProperty(Object.prototype, 'a', { set() { throw 'poison' }, get() { return 'poison' } })",
        "Object.defineProperty(Array.prototype, 0, { set() { throw 'poison' }, configurable: true })",
        "Array.prototype[Symbol.iterator] = () => { throw 'poison' }",
        "Array.prototype.map = Array.prototype.push = Array.prototype.join = () => { throw 'poison' }",
        "Object.defineProperty(Array, Symbol.species, { get() { throw 'poison' } })",
        "Promise.prototype.then = () => { throw 'poison' }; Promise.prototype.catch = Promise.prototype.then",
        "Promise.resolve = Promise.all = () => { throw 'poison' }; globalThis.Promise = null",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 'poison' }",
        "WeakMap.prototype.get = WeakMap.prototype.set = Map.prototype.get = () => { throw 'poison' }",
        "Object.freeze = Object.create = Object.keys = Reflect.apply = Reflect.ownKeys = () => { throw 'poison' }",
        "Error.prototype.toString = () => { throw 'poison' }; Error.prepareStackTrace = () => 'poison'; Error.stackTraceLimit = 0",
        "globalThis.Object = globalThis.Array = globalThis.Error = globalThis.TypeError = null",
        "globalThis.SpellError = null; String.prototype.toString = () => 'poison'",
        "JSON.stringify = JSON.parse = () => 'poison'",
        "Symbol.prototype.toString = () => 'poison'; Object.prototype.toString = () => 'poison'",
        "Uint8Array.prototype.subarray = null; Object.defineProperty(Object.getPrototypeOf(Uint8Array.prototype), 'length', { get: () => 0 })",
        "String.fromCharCode = () => 'poison'; String.prototype.toWellFormed = () => 'poison'",
    ];
    let data = "({ a: [1, 'two', { b: null }], c: new Uint8Array([1, 2]) })";
    let expected = {
        let inner = Value::Map(Map::from_iter([("b".to_owned(), Value::Nil)]));
        let list = Value::List(vec![1.into(), "two".into(), inner]);
        Value::Map(Map::from_iter([("a".to_owned(), list), ("c".to_owned(), Value::Bytes(vec![1, 2]))]))
    };
    for poison in poisons {
        let script = format!(
            "const sent = {data}; const Nothing = Error; {poison};
             const echoed = host.echo(sent);
             const kept = Object === null ? echoed : await host.later(echoed);
             export default kept"
        );
        let stage = Stage::new([host()]);
        // A poisoned `then` affects only the script; the host still receives the sent values.
        let result = stage.eval(&script).unwrap_or_else(|error| panic!("{poison}: {error:?}"));
        assert_eq!(
            result,
            if poison.contains("prototype.then = function") { "poison".into() } else { expected.clone() }
        );
        let stage = Stage::new([host()]);
        let error = stage.eval(&format!("{poison};\nhost.echo(Symbol())")).unwrap_err();
        assert_eq!(error.message(), "argument 1: a symbol cannot leave the script", "{poison}");
    }
}

#[test]
fn an_argument_is_read_once() {
    let script = "let reads = 0; const sly = { get a() { return ++reads } };
        export default [host.echo(sly).a, host.echo(sly).a, reads]";
    assert_eq!(Stage::new([host()]).eval(script).unwrap(), Value::List(vec![1.into(), 2.into(), 2.into()]));
}

#[test]
fn a_spell_is_the_same_each_time() {
    let script = "export default [Math.random(), Math.random(), new Date(2024, 0, 31, 12).toISOString(),
        new Date('2024-03-10T02:30:00').getHours(), new Date(0).getTimezoneOffset(), String(new Date(0))]";
    let first = eval(script);
    assert_eq!(eval(script), first);
    let Value::List(items) = first else { panic!("no list") };
    assert_eq!(
        items[2..],
        [
            "2024-01-31T12:00:00.000Z".into(),
            2.into(),
            0.into(),
            "Thu Jan 01 1970 00:00:00 GMT+0000 (UTC)".into()
        ]
    );
}

#[test]
fn the_time_of_day_is_the_hosts() {
    let error = Stage::new([]).eval("new Date()").unwrap_err();
    assert_eq!(shown(&error), "main.js:1:5: this runtime has no clock [unsupported]");
}

/// Bridges and prelude globals are created when a script first touches them.
#[test]
fn what_is_made_late_is_what_it_would_have_been_early() {
    const POISONS: [&str; 14] = [
        "Object.defineProperty(Object.prototype, 'get', { get() { throw 'poison' } })",
        "Object.defineProperty(Object.prototype, 'echo', { set() { throw 'poison' }, get() { return 'poison' } })",
        "Object.defineProperty(Array.prototype, 0, { set() { throw 'poison' }, configurable: true })",
        "Array.isArray = Array.from = () => 'poison'; Array.prototype[Symbol.iterator] = () => { throw 'poison' }",
        "Promise.prototype.then = () => { throw 'poison' }; Promise.resolve = () => 'poison'",
        "globalThis.Promise = class { constructor() { throw 'poison' } }",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 'poison' }",
        "for (const name of Reflect.ownKeys(Reflect)) Object.defineProperty(Reflect, name, { value() { throw 'poison' } })",
        "for (const name of Object.getOwnPropertyNames(Object)) { try { Object[name] = () => { throw 'poison' } } catch {} }",
        "JSON.stringify = () => 'poison'; ArrayBuffer.isView = () => true; Math.max = () => NaN; Number.isNaN = () => true",
        "globalThis.Map = globalThis.Set = globalThis.WeakMap = globalThis.Number = globalThis.String = null",
        "globalThis.Error = globalThis.TypeError = globalThis.RegExp = globalThis.Uint8Array = globalThis.Symbol = null",
        "WeakMap.prototype.get = Map.prototype.get = Set.prototype.add = String.prototype.replace = () => { throw 'poison' }",
        "RegExp.prototype.test = RegExp.prototype[Symbol.replace] = () => { throw 'poison' }",
    ];
    const TOUCHES: [&str; 9] = [
        "console.log('%s %o', 'a', { b: [1, 'two', new NativeMap([[1, -0]])] }, nothing)",
        "globalThis.host === host ? host.echo(7) : 'another'",
        "host.settings.deep[0]",
        "`${new Date(86400000)} ${Date.UTC(2024, 1)} ${Date.parse('2024-03-10T02:30:00')}`",
        "typeof setTimeout(() => {}, 1)",
        "new TextDecoder().decode(new TextEncoder().encode('é')) + btoa('a') + atob('YQ==')",
        "structuredClone({ a: [1], b: nothing }).a[0]",
        "crypto === globalThis.crypto && typeof AbortSignal.abort().reason",
        "new URL('?a=1&b=2', 'https://example.com/x').searchParams.get('b') + new Headers({ A: 'b' }).get('a')",
    ];
    const ALL: &str = "[console.log, host.settings, Date.name, setTimeout, TextDecoder, URL];";
    let run = |touched: &str, poison: &str, touch: &str| {
        let stage = Stage::new([host()]);
        let result = stage.eval(&format!(
            "const NativeMap = Map, nothing = new Error('nothing'); nothing.stack = '';
             let result; {touched}
             {poison};
             try {{ result = {touch} }} catch (e) {{ result = `threw ${{e?.message ?? e}}` }}
             export {{ result as default }}"
        ));
        (result.map_err(|error| shown(&error)), stage.printed.text())
    };
    for poison in POISONS {
        for touch in TOUCHES {
            assert_eq!(run("", poison, touch), run(ALL, poison, touch), "{poison}\n{touch}");
        }
    }
}
