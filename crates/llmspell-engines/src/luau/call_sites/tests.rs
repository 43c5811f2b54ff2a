//! The table of call sites. In each source, `get` is the function that fails.

use std::rc::Rc;

use llmspell_core::Source;

use super::super::compile::{self, ChunkCache};
use super::{CallSites, Callee, FailedCall, FailureResults, MAX_NESTING, Room};

/// The globals that the host defines.
fn is_native(name: &str) -> bool {
    ["assert", "select", "table", "print", "tostring", "string", "host", "json", "setmetatable"]
        .contains(&name)
}

#[track_caller]
fn room(source: &str, line: u32, failed: FailedCall<'_>) -> Room {
    let calls = CallSites::read(source).unwrap_or_else(|| panic!("not understood: {source}"));
    calls.room(line, failed, &is_native)
}

const GET: FailedCall<'_> =
    FailedCall { name: Some("get"), results: FailureResults::NilAndError, before: 0, has_default: true };

/// Checks that `get` on the first line of each source has, or has not, room for `nil, err`.
#[track_caller]
fn check(expected: Room, failed: FailedCall<'_>, sources: &[&str]) {
    for source in sources {
        assert_eq!(room(source, 1, failed), expected, "{source}");
    }
}

#[test]
fn room_for_a_value_and_an_error() {
    let sources = [
        "local value, err = host.get()",
        "local value, err, more = host.get(1, 2)",
        "local value: string?, err: any = host.get()",
        "value, err = host.get()",
        "t.value, t[1] = host.get()",
        "local a, value, err = 1, host.get()",
        "assert(host.get())",
        "assert(host.get(), 'no luck')",
        "local value = assert(host.get())",
        "select('#', host.get())",
        "return (select(2, host.get()))",
        "local t = table.pack(host.get())",
        "local t = {host.get()}",
        "local t = {1, host.get(),}",
        "local t = {x = 1; host.get();}",
        "local value, err = object:get()",
        "local value, err = make():get {}",
        "local value, err = host.get 'text'",
        "local value, err = host.get `text {1}`",
        "local value = host.get() or ''",
        "print(host.get() or '')",
        "if host.get() or x then end",
        "local value = x or host.get() or ''",
        "return host.get() or nil",
        "local get = host.get local value, err = get()",
        "local fetch = host.get local value, err = fetch()",
        "local h = host local value, err = h.get()",
        "local value, err = host['get']()",
        "local value, err = host[name]()",
        "local function use(value, err) end use(host.get())",
        "local function use(value, err) end print(use(host.get()))",
        "local function use(...) end use(1, 2, host.get())",
        "local function use(n, value, err) end use(1, host.get())",
        "use(host.get()) function use(value, err) end",
        "local use = function(value, err) end use(host.get())",
        "use = function(value, err) end use(host.get())",
        "function m.use(value, err) end m.use(host.get())",
        "function m:use(value, err) end x:use(host.get())",
        "local m = {use = function(self, value, err) end} m:use(host.get())",
        "m.use = function(self, value, err) end m:use(host.get())",
        "m.use = function(self, value, err) end local use = m.use use(m, host.get())",
        "local print = function(value, err) end print(host.get())",
        "local f = function() local value, err = host.get() end",
        "@native local function f() local value, err = host.get() end",
        "for i = 1, 2 do local value, err = host.get() end",
        "repeat local value, err = host.get() until value",
        "const value, err = host.get()",
        "x = if y then z else w value, err = host.get()",
    ];
    check(Room::Yes, GET, &sources);
}

#[test]
fn no_room_for_an_error() {
    let sources = [
        "host.get()",
        "object:get()",
        "host.get() host.other()",
        "local value = host.get()",
        "value = host.get()",
        "value ..= host.get()",
        "value += host.get()",
        "local value, err = host.get(), nil",
        "local value, err = 1, host.get()",
        "local value = 1, host.get()",
        "print(host.get())",
        "print(1, host.get())",
        "tostring(host.get())",
        "string.format('%s', host.get())",
        "json.decode(host.get())",
        "('x'):rep(host.get())",
        "object:use(host.get())",
        "local p = print p(host.get())",
        "local s = string s.format('%s', host.get())",
        "string['format']('%s', host.get())",
        // The source does not define the function, so it may be one of the host.
        "use(host.get())",
        "util.use(host.get())",
        "uses[1](host.get())",
        "make()(host.get())",
        "local function run(use) use(host.get()) end",
        "m.say = print m.say(host.get())",
        "local say = if x then print else nil say(host.get())",
        // The function takes the value alone.
        "local function use(value) end use(host.get())",
        "local function use(n, value) end use(1, host.get())",
        "function m:use(value) end m:use(host.get())",
        "local m = {use = function(self, value) end} m:use(host.get())",
        "local function use(value, err) end use(host.get(), 1)",
        "select(host.get(), 1)",
        "assert(x, host.get())",
        "local t = {host.get(), 1}",
        "local t = {host.get(), x = 1}",
        "local t = {x = host.get()}",
        "local t = {[1] = host.get()}",
        "for line in host.get() do end",
        "for i = 1, host.get() do end",
        "if host.get() then end",
        "if x then elseif host.get() then end",
        "while host.get() do end",
        "repeat until host.get()",
        "if host.get() and x then end",
        "local value = x and host.get()",
        "local value = x and host.get() or ''",
        "local value = x or host.get()",
        "local value = 'a' .. host.get() or ''",
        "local value = host.get() .. 'a'",
        "local value = host.get() == nil or x",
        "local value = not host.get() or x",
        "local value = #host.get()",
        "local value = -host.get() + 1",
        "local value, err = (host.get())",
        "return (host.get())",
        "local value, err = host.get() :: any",
        "local value, err = host.get().x",
        "local value, err = host.get():trim()",
        "local value, err = host.get()[1]",
        "local value, err = host.get()()",
        "local value = if host.get() then 1 else 2",
        "local value, err = if x then host.get() else y",
        "local value = if x then y elseif host.get() then z else w",
        "local value = `text {host.get()}`",
        "local value = `a {`b {host.get()}`} c`",
        "local value = `a {x} b {host.get()}`",
        "t[host.get()] = 1",
        "return host.get(), 1",
        "local value = t.x",
        "local value, err = print(t.x)",
        "local function g() end local value, err = g(t.x)",
    ];
    check(Room::No, GET, &sources);
}

#[test]
fn the_caller_decides_about_what_is_returned() {
    let caller = |before| Room::Caller(before);
    check(caller(0), GET, &["return host.get()", "if x then return host.get() end", "return host.get();"]);
    check(caller(1), GET, &["return 1, host.get()"]);
    check(caller(3), FailedCall { before: 2, ..GET }, &["return 1, host.get()"]);
    let second = FailedCall { before: 1, ..GET };
    check(
        Room::Yes,
        second,
        &["local a, value, err = get()", "function use(a, value, err) end use(get())", "local t = {get()}"],
    );
    check(
        Room::No,
        second,
        &[
            "local value, err = get()",
            "function use(a, value) end use(get())",
            "assert(get())",
            "local x = get() or ''",
        ],
    );
}

#[test]
fn a_permission_has_no_default() {
    let denied = FailedCall { has_default: false, ..GET };
    check(Room::No, denied, &["local value = host.get() or ''"]);
    check(Room::Yes, denied, &["local value, err = host.get()"]);
}

#[test]
fn an_error_alone_goes_to_one_target() {
    let failed = FailedCall { results: FailureResults::Error, ..GET };
    let room = ["local err = host.get()", "err = host.get()", "local a, err = 1, host.get()"];
    check(Room::Yes, failed, &room);
    let no_room = [
        "host.get()",
        "local ok, err = host.get()",
        "assert(host.get())",
        "use(host.get())",
        "select('#', host.get())",
        "local t = {host.get()}",
        "if host.get() then end",
        "local err = host.get() or x",
    ];
    check(Room::No, failed, &no_room);
    check(Room::Caller(0), failed, &["return host.get()"]);
}

#[test]
fn await_gives_an_error_to_two_targets_alone() {
    let failed = FailedCall { results: FailureResults::NilAndErrorForTargets, ..GET };
    check(Room::Yes, failed, &["local value, err = p:get(30)", "value, err = make():get()"]);
    let no_room =
        ["p:get()", "local value = p:get()", "assert(p:get())", "use(p:get())", "local x = p:get() or ''"];
    check(Room::No, failed, &no_room);
    check(Room::Caller(0), failed, &["return p:get()"]);
}

#[test]
fn a_call_is_on_the_line_where_its_name_ends() {
    let cases = [
        ("local value, err =\n  host\n  .get(\n  1)", 3, Room::Yes),
        ("local value, err = host:get(\n  1,\n  2\n)", 1, Room::Yes),
        ("local value, err = host\n  :other()\n  :get()", 3, Room::Yes),
        ("print(\n  host.get()\n)", 2, Room::No),
        ("local text = [[\n]] .. `\n{\n1}` local value, err = host.get()", 4, Room::Yes),
        ("--[[\n]] --x\nlocal value, err = host.get()", 3, Room::Yes),
        ("local text = 'a\\\n\\z\n  b' local value, err = host.get()", 3, Room::Yes),
        ("local t = {\n  a = 1,\n  host.get()\n}", 3, Room::Yes),
        ("local f = function()\n  return host.get()\nend\nlocal x = f()", 2, Room::Caller(0)),
    ];
    for (source, line, expected) in cases {
        assert_eq!(room(source, line, GET), expected, "{source}");
    }
}

#[test]
fn a_call_is_found_by_its_name() {
    let cases = [
        ("local value, err = host.get(print(1))", Some("get"), Room::Yes),
        // Two calls of one name that agree, and two that do not.
        ("local value, err = host.get(host.get() or '')", Some("get"), Room::Yes),
        ("local value, err = host.get() host.get()", Some("get"), Room::Unclear),
        ("local value, err = host.get(host.get())", Some("get"), Room::Unclear),
        // A variable reaches the function, so calls of other known functions do not count.
        ("local function try(f) local value, err = f() print(1) end", Some("get"), Room::Yes),
        ("local value, err = handlers[name](print(1))", None, Room::Yes),
        ("local function g() end local value, err = g(print(1))", None, Room::No),
    ];
    for (source, name, expected) in cases {
        assert_eq!(room(source, 1, FailedCall { name, ..GET }), expected, "{source}");
    }
}

#[test]
fn all_syntax_is_read() {
    let source = r#"
        export type Point<T = string> = { read x: T, write y: number, [string]: any } | nil
        type Call = <A..., B>(A...) -> (B, ...number) | (() -> ()) & typeof(f(x))
        type function Id(t) return t end
        type = 1 export = 2 const = 3 continue = 4
        @[deprecated { use = "g" }] @native
        function m.f<T, U...>(self: m.X<T>, ...: U...): (T?, ...any) for _, x in self do continue end end
        function m:g() return end
        local n = 0x1F + 1_000 // 2 ^ -3e-5 % .5 .. "\"" .. '\'' .. [==[ ]] ]==] .. `\{ \u{41} {`{n}`} {n}: {m} \``
        local a: number, b: (string) -> () = if n then 1 elseif m then 2 else 3, function(x: any) return x end
        local c = (n :: any) :: number, m.f<<number>>(1), n < m, m > n
        n //= 1 n ..= "x"; t = { 1; [2] = 3, x = 4, ... }
        if not a == b then elseif #t <= -1 then else end
        while true do break end
        repeat local done = true until done
        local value, err = host.get()"#;
    assert_eq!(room(source, 16, GET), Room::Yes);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the scripts of this repository")]
fn every_script_here_is_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![root.join("examples"), root.join("tests/spells")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "luau") {
                let source = Source::new(path.display().to_string(), std::fs::read_to_string(&path).unwrap());
                let compiles = compile::check(&ChunkCache::default(), &source).is_none();
                assert_eq!(CallSites::read(&source.text).is_some(), compiles, "{}", source.name);
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn deep_nesting_is_refused() {
    let nests =
        [("(", ")", "1"), ("{", "}", ""), ("f(", ")", ""), ("`{", "}`", "1")].map(|(open, close, inner)| {
            move |depth: usize| format!("local x = {}{inner}{}", open.repeat(depth), close.repeat(depth))
        });
    for nest in nests {
        assert!(CallSites::read(&nest(MAX_NESTING / 4)).is_some(), "{}", nest(1));
        assert!(CallSites::read(&nest(100_000)).is_none(), "{}", nest(1));
    }
    let blocks = |depth: usize| format!("{}{}", "do ".repeat(depth), "end ".repeat(depth));
    assert!(CallSites::read(&blocks(MAX_NESTING / 2)).is_some());
    assert!(CallSites::read(&blocks(100_000)).is_none());
    assert!(CallSites::read(&format!("local x = {} 1", "if a then b else ".repeat(100_000))).is_none());
    // What does not nest is read, however long it is.
    for chain in ["not ", "- ", "1 + ", "'a' .. ", "f() or "] {
        assert!(CallSites::read(&format!("local x = {} 1", chain.repeat(100_000))).is_some(), "{chain}");
    }
    assert!(CallSites::read(&format!("local x: {}A", "A<B<C>> | ".repeat(100_000))).is_some());
    assert!(CallSites::read(&format!("local x = f{}", "()".repeat(100_000))).is_some());
}

#[test]
fn whatever_is_read_ends() {
    // Damaged sources never get here, but reading one must neither fail nor hang.
    let source =
        "local a, b = f(`x {g()} y`, {1, x = 2}) if a then return b:c'd' end --[[ x ]] local t: {A<B>} = {}";
    for from in 0..source.len() {
        for to in from..source.len() {
            let _ = CallSites::read(&source[from..to]);
        }
    }
}

#[test]
fn calls_of_one_name_share_its_text() {
    // Each call of `a` is a call of the long name.
    let source = format!("local {name}; local a = {name}; a() a() a()", name = "x".repeat(1_000));
    let calls = CallSites::read(&source).unwrap().calls;
    let Callee::Variable(first) = &calls[0].callee else { panic!("{:?}", calls[0].callee) };
    for call in &calls {
        assert!(matches!(&call.callee, Callee::Variable(name) if Rc::ptr_eq(name, first)));
    }
}
