//! Limits: a script at its limit ends soon with a typed error, and cannot survive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use llmspell_core::{Bridge, ErrorKind, Limit, Limits, MAX_MESSAGE, Method};

use crate::harness::Stage;

/// Endless work in many forms. The line after each loop calls `after`, which must never happen.
const ENDLESS: &[(&str, &str)] = &[
    ("a loop", "while true do end"),
    ("a loop inside pcall in a loop", "while true do pcall(function() while true do end end) end"),
    ("pcall, and then on", "pcall(function() while true do end end) after()"),
    ("pcall without a call after", "local t = {} pcall(function() while true do end end) t.x = 1 after()"),
    ("xpcall's handler", "xpcall(function() while true do end end, function() after() end) after()"),
    ("a handler that loops", "xpcall(error, function() while true do end end) after()"),
    ("nested pcall", "pcall(pcall, pcall, function() while true do end end) after()"),
    ("a metamethod", "local t = setmetatable({}, {__index = function() while true do end end}) return t.x"),
    ("an operator", "local t = setmetatable({}, {__add = function() while true do end end}) return t + 1"),
    ("a length", "local t = setmetatable({}, {__len = function() while true do end end}) return #t"),
    ("an iterator", "for _ in function() return 1 end do end"),
    ("a coroutine", "coroutine.resume(coroutine.create(function() while true do end end)) after()"),
    ("a wrapped coroutine", "pcall(coroutine.wrap(function() while true do end end)) after()"),
    ("coroutines without end", "while true do coroutine.wrap(function() coroutine.yield() end)() end"),
    (
        "a closed coroutine",
        "local co = coroutine.create(function() pcall(function() while true do end end) end)
         coroutine.resume(co) coroutine.close(co) after()",
    ),
    ("a comparator", "table.sort({3, 1, 2}, function(a, b) while true do end end)"),
    ("a replacement", "string.gsub('aaa', 'a', function() while true do end end)"),
    ("a pattern", "string.find(('a'):rep(1e5), '.-.-.-.-b')"),
    ("a pattern by gmatch", "for _ in string.gmatch(('a'):rep(1e5), '.-.-.-.-b') do end"),
    ("a pattern by match as a method", "return (('a'):rep(1e5)):match('.-.-.-.-b')"),
    ("a tostring", "print(setmetatable({}, {__tostring = function() while true do end end}))"),
    ("a tostring of an error", "error(setmetatable({}, {__tostring = function() while true do end end}))"),
    (
        "plain finds",
        "local a = ('a'):rep(2e6) local b = ('a'):rep(1e6) .. 'b' while true do a:find(b, 1, true) end",
    ),
    (
        "finds without specials",
        "local a = ('a'):rep(2e6) local b = ('a'):rep(1e6) .. 'b' while true do a:find(b) end",
    ),
    ("splits", "local a = ('a'):rep(2e6) local b = ('a'):rep(1e6) .. 'b' while true do a:split(b) end"),
    (
        "a sort of long strings that differ in the end",
        "local s = ('a'):rep(1e6) local one, two = s .. 1, s .. 2 local t = {}
         for i = 1, 65000 do t[i] = if i * 7919 % 2 == 0 then one else two end table.sort(t)",
    ),
    ("a long move", "while true do table.move({}, 1, 2^31 - 2, 1, {}) end"),
    ("a long move upwards", "local t = {1} while true do table.move(t, 1, 2^30, 2) end"),
    (
        "a long sort",
        "local t = table.create(1e6, 0) for i = 1, 1e6 do t[i] = -i % 7919 end while true do table.sort(t) end",
    ),
    ("recursion that catches its end", "local function f() pcall(f) end while true do f() end"),
    ("a returned value that is walked", "local t = {} for i = 1, 30 do t = {t, t} end return t"),
];

#[test]
fn endless_work_ends_with_the_cpu_limit_and_nothing_runs_after_it() {
    for (shape, script) in ENDLESS {
        let after = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&after);
        let probe = Method::sync("after", move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let cpu = Duration::from_millis(100);
        let stage = Stage::with([], |cx| cx.limits(Limits { cpu, ..Limits::default() }));
        stage.session.register(probe).unwrap();
        let began = Instant::now();
        let error = stage.eval(script).expect_err(shape);
        let took = began.elapsed();
        let allowed = [ErrorKind::Limit(Limit::Cpu), ErrorKind::Limit(Limit::Memory)];
        let expected = if *shape == "a returned value that is walked" { &allowed[..] } else { &allowed[..1] };
        assert!(expected.contains(&error.kind()), "{shape}: {error:?}");
        assert_eq!(after.load(Ordering::Relaxed), 0, "{shape}: something ran afterwards");
        // The contract is the limit plus 250 ms in a release build on an idle machine. Here, the tests share the
        // processors.
        assert!(took < Duration::from_secs(3), "{shape}: took {took:?}");
        // Nothing runs in this session afterwards.
        assert_eq!(stage.eval("after()").unwrap_err().kind(), error.kind(), "{shape}");
        assert_eq!(after.load(Ordering::Relaxed), 0, "{shape}");
    }
}

#[test]
fn a_limit_error_says_where() {
    let stage = Stage::limited(Limits { cpu: Duration::from_millis(20), ..Limits::default() });
    let error = stage.eval("local function spin()\n  while true do end\nend\nspin()").unwrap_err();
    assert_eq!(error.message(), "the spell reached its cpu limit of 20ms");
    assert_eq!(error.place().unwrap().to_string(), "main.luau:2");
    let frames: Vec<_> = error.traceback().iter().map(|frame| frame.place.line).collect();
    assert_eq!(frames, [2, 4]);
}

/// Excessive memory in many forms.
const BOMBS: &[(&str, &str)] = &[
    ("a table", "local t = {} while true do t[#t + 1] = {} end"),
    ("a string", "local s = 'x' while true do s = s .. s end"),
    ("a string kept through pcall", "local s = 'x' while true do pcall(function() s = s .. s end) end"),
    ("rep", "return ('x'):rep(2^30)"),
    ("rep caught", "pcall(string.rep, 'x', 1e9) after()"),
    ("concat", "local t = table.create(1000, ('x'):rep(1e6)) return table.concat(t)"),
    ("create", "return table.create(1e8, 0)"),
    ("buffers", "local t = {} while true do t[#t + 1] = buffer.create(1e6) end"),
    ("gsub", "local s = ('x'):rep(1e6) return (s:gsub('x', s))"),
    (
        "format",
        "local s = ('x'):rep(1e6) local t = {} while true do t[#t + 1] = string.format('%s%d', s, #t) end",
    ),
    ("closures", "local t = {} while true do t[#t + 1] = function() return t end end"),
    ("coroutines", "local t = {} while true do t[#t + 1] = coroutine.create(print) end"),
    ("captures", "local t = {} for i = 1, 1e9 do t[i] = tostring(i) end"),
    (
        "a handler",
        "xpcall(function() local s = 'x' while true do s = s .. s end end, function() after() end) after()",
    ),
    (
        "a result larger than the rest",
        "local t = {} local s = ('x'):rep(1e6) for i = 1, 1e3 do t[i] = s end return t",
    ),
    ("arguments", "local t = {} local s = ('x'):rep(1e6) for i = 1, 1e3 do t[i] = s end after(t)"),
];

#[test]
fn memory_bombs_end_with_the_memory_limit_and_nothing_runs_after_it() {
    for (shape, script) in BOMBS {
        let after = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&after);
        let probe = Method::sync("after", move |_, mut arguments| {
            let _ = arguments.rest();
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let stage = Stage::limited(Limits { memory: 32 << 20, ..Limits::default() });
        stage.session.register(probe).unwrap();
        let error = stage.eval(script).expect_err(shape);
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Memory), "{shape}: {error:?}");
        assert_eq!(after.load(Ordering::Relaxed), 0, "{shape}: something ran afterwards");
    }
}

#[test]
fn garbage_is_collected_before_it_counts() {
    let stage = Stage::limited(Limits { memory: 64 << 20, ..Limits::default() });
    let live = stage.eval(
        "local live = {}
         for i = 1, 40 do live[i] = buffer.create(1024 * 1024) end
         for i = 1, 2000 do local garbage = ('x'):rep(1024 * 1024) .. i end
         for i = 1, 200000 do local garbage = {i, i} end
         return #live",
    );
    assert_eq!(live.unwrap(), 40.into());
}

#[test]
fn a_long_text_is_not_matched_against_a_long_set() {
    for set in ["'[' .. long .. 'a]*x'", "'[' .. ('a-b'):rep(7e5) .. '~]+x'", "'[]%]' .. long .. 'a]-x'"] {
        for (call, name) in [("find", "find"), ("match", "match"), ("gmatch", "gmatch"), ("gsub", "gsub")] {
            let script = format!(
                "local text, long = ('a'):rep(2e6), ('b'):rep(2e6)
                 local ok, message = pcall(string.{call}, text, {set}, '')
                 return message"
            );
            let message = Stage::new([]).eval(&script).unwrap();
            let message = message.as_str().unwrap().to_owned();
            assert!(
                message.starts_with("a text of 2000000 bytes is too long for a pattern"),
                "{name}: {message}"
            );
        }
    }
    let value = Stage::new([]).eval(
        "local lines = ('x'):rep(2e7) .. '\\n'
         return #lines:match('[^\\n]*') + lines:find('\\n', 1, true) + #lines:gsub('[\\r\\n]+$', '')",
    );
    assert_eq!(value.unwrap(), (20_000_000 * 3 + 1).into());
}

#[test]
fn a_long_error_is_cut_and_never_searched_through() {
    for script in
        ["error((':'):rep(4e6), 0)", "error((': 1: '):rep(1e6))", "error({message = ('\\255'):rep(4e6)})"]
    {
        let began = Instant::now();
        let error = Stage::new([]).eval(script).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime, "{script}");
        assert!(error.message().len() < MAX_MESSAGE + 4 && error.message().ends_with('…'), "{script}");
        assert!(began.elapsed() < Duration::from_secs(3), "{script}");
    }
}

#[test]
fn all_arguments_together_count_against_the_memory() {
    let probe = Method::sync("probe", |_, _| Ok(()));
    for script in [
        "local s = ('x'):rep(8e6) probe(table.unpack(table.create(100, s)))",
        "local t = {} for i = 1, 60 do t = {t, t} end probe(t)",
        "local t = {print} for i = 1, 60 do t = {t, t} end probe(t)",
    ] {
        let stage = Stage::limited(Limits { memory: 32 << 20, ..Limits::default() });
        stage.session.register(probe.clone()).unwrap();
        let error = stage.eval(script).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Memory), "{script}: {error:?}");
    }
}

#[test]
fn what_the_host_holds_counts_with_what_the_vm_uses() {
    for script in [
        "while true do pcall(hold) end",
        "hold() hold() hold() local t = {} while true do hold_nothing() t[#t + 1] = buffer.create(1e6) end",
    ] {
        let keep = |bytes| {
            move |cx: &llmspell_core::Context, _| {
                // Leak the guard: the memory stays in use until the end of the run, like a bridge's state.
                std::mem::forget(cx.hold(bytes)?);
                Ok(())
            }
        };
        let stage = Stage::limited(Limits { memory: 32 << 20, ..Limits::default() });
        stage.session.register(Method::sync("hold", keep(8 << 20))).unwrap();
        stage.session.register(Method::sync("hold_nothing", keep(0))).unwrap();
        let error = stage.eval(script).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Memory), "{script}");
        assert!(stage.session.memory() < 10 << 20, "{script}: {}", stage.session.memory());
    }
}

#[test]
fn too_much_output_ends_the_run() {
    let stage = Stage::limited(Limits { output: 1000, ..Limits::default() });
    let error = stage.eval("while true do pcall(print, 'hello') end").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Output));
    assert_eq!(stage.printed.text().len(), 996);
}

#[test]
fn cancelling_stops_a_loop_and_cannot_be_caught() {
    let bridge = Bridge::new("host").method(Method::sync("cancel", |cx, _| {
        cx.cancel();
        Ok(())
    }));
    let stage = Stage::new([bridge]);
    let error = stage.eval("pcall(host.cancel) while true do pcall(function() end) end").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn recursion_without_end_is_an_ordinary_error() {
    for script in [
        "local function f() return 1 + f() end return (select(2, pcall(f)))",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end
         return (select(2, pcall(function() return t.x end)))",
        "local function f() return pcall(f) end f() return 'stack overflow'",
    ] {
        let value = Stage::new([]).eval(script).unwrap();
        assert!(value.as_str().unwrap().contains("stack overflow"), "{value:?}");
    }
}

#[test]
fn long_cases_of_the_bounded_natives_answer_like_the_short_ones() {
    let value = Stage::new([]).eval(
        "local long = ('ab'):rep(400000) .. 'needle' .. ('cd'):rep(10)
         assert(long:find('needle', 1, true) == 800001)
         assert(select(2, long:find('needle')) == 800006)
         assert(long:find('needle', -26, true) == 800001)
         assert(long:find('needle', 800002, true) == nil)
         local parts = long:split('needle')
         assert(#parts == 2 and parts[2] == ('cd'):rep(10))
         local list = table.create(200000, 0)
         for i = 1, #list do list[i] = i end
         table.move(list, 1, 200000, 5)
         assert(list[5] == 1 and list[200004] == 200000 and list[100005] == 100001 and list[4] == 4)
         table.move(list, 5, 200004, 1)
         assert(list[1] == 1 and list[200000] == 200000 and list[70000] == 70000)
         local other = table.move(list, 1, 200000, 1, {})
         assert(#other == 200000 and other[131073] == 131073)
         for i = 1, #other do other[i] = -i end
         table.sort(other)
         for i = 2, #other do assert(other[i - 1] < other[i]) end
         return 'same'",
    );
    assert_eq!(value.unwrap(), "same".into());
}
