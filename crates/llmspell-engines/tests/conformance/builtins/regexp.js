// ECMA-262, 22.2: regular expressions.

import { all, check, functions, getters, same, throws } from "./check.js";

functions("RegExp.prototype", RegExp.prototype, {
    exec: 1, test: 1, toString: 0, compile: 2, [Symbol.match]: 1, [Symbol.matchAll]: 1, [Symbol.replace]: 2, [Symbol.search]: 1, [Symbol.split]: 2,
});
getters("RegExp.prototype", RegExp.prototype, ["dotAll", "flags", "global", "hasIndices", "ignoreCase", "multiline", "source", "sticky", "unicode", "unicodeSets"]);
getters("RegExp", RegExp, [Symbol.species]);
check("RegExp.prototype is fixed", () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(RegExp, "prototype");
    return !writable && !enumerable && !configurable && RegExp.length === 2 && RegExp.name === "RegExp";
});
check("lastIndex is an own property", () =>
    same(Object.getOwnPropertyDescriptor(/x/, "lastIndex"), { value: 0, writable: true, enumerable: false, configurable: false }));

const bad = (source, flags) => throws(SyntaxError, () => new RegExp(source, flags));
const found = (pattern, text) => pattern.exec(text)?.slice() ?? null;

all("new RegExp", [
    () => RegExp("a", "g").flags === "g" && RegExp(/a/gi).flags === "gi" && RegExp(/a/gi, "m").flags === "m",
    () => { const r = /a/; return RegExp(r) === r && new RegExp(r) !== r; },
    () => new RegExp("").source === "(?:)" && new RegExp("/").source === "\\/" && new RegExp("\n").source === "\\n",
    () => String(new RegExp("[/]", "g")) === "/[/]/g" && `${/a\/b/i}` === "/a\\/b/i",
    () => new RegExp(undefined).source === "(?:)" && new RegExp("a", undefined).flags === "",
    () => /x/dgimsuy.flags === "dgimsuy" && /x/v.unicodeSets && !/x/u.unicodeSets,
    () => bad("(") && bad("[") && bad("*") && bad("a**") && bad("\\") && bad("(?<a>x)(?<a>y)") && bad("a", "gg") && bad("a", "z") && bad("a", "uv"),
    () => bad("\\u{110000}", "u") && bad("{1}", "u") && bad("\\-", "u") && bad("]", "u") && bad("a{2,1}") && bad("[b-a]"),
    () => RegExp.prototype.source === "(?:)" && RegExp.prototype.flags === "" && RegExp.prototype.global === undefined,
    () => throws(TypeError, () => Object.getOwnPropertyDescriptor(RegExp.prototype, "global").get.call({})),
]);

all("matching", [
    () => same(found(/(a+)(b)?/, "xaab"), ["aab", "aa", "b"]) && same(found(/(a)|(b)/, "b"), ["b", undefined, "b"]),
    () => { const m = /b(.)/.exec("abc"); return m.index === 1 && m.input === "abc" && m.groups === undefined && m.length === 2; },
    () => same(found(/a*?b/, "aab"), ["aab"]) && same(found(/(?:a|ab)(?:c|bcd)(d*)/, "abcd"), ["abcd", ""]),
    () => same(found(/(z)((a+)?(b+)?(c))*/, "zaacbbbcac"), ["zaacbbbcac", "z", "ac", "a", undefined, "c"]),
    () => same(found(/(?=(a+))a*b\1/, "baaabac"), ["aba", "a"]) && same(found(/(.*?)a(?!(a+)b\2c)\2(.*)/, "baaabaac"), ["baaabaac", "ba", undefined, "abaac"]),
    () => same(found(/(?<=\$)\d+/, "a$42"), ["42"]) && found(/(?<!\$)\b\d+/, "$42") === null && same(found(/(?<=(\d+)(\d+))$/, "1053"), ["", "1", "053"]),
    () => { const { groups } = /(?<year>\d{4})-(?<month>\d\d)/.exec("2020-05"); return groups.year === "2020" && groups.month === "05" && Object.getPrototypeOf(groups) === null; },
    () => same(found(/(?<a>x)\k<a>/, "xx"), ["xx", "x"]) && same(found(/\bfoo\b/, "a foo b"), ["foo"]) && found(/\Bfoo/, "foo") === null,
    () => /^.$/s.test("\n") && !/^.$/.test("\n") && !/^.$/.test("\u2028") && /^b$/m.test("a\nb\nc") && !/^b$/.test("a\nb"),
    () => /^.$/u.test("😀") && !/^.$/.test("😀") && /\u{1F600}/u.test("😀") && /^[😀]$/u.test("😀"),
    () => /\p{Lu}/u.test("Ä") && !/\p{Lu}/u.test("ä") && /\p{Script=Greek}/u.test("λ") && /\P{L}/u.test("1") && /^\p{ASCII_Hex_Digit}+$/u.test("09aF"),
    () => /ä/i.test("Ä") && /\u212a/iu.test("k") && !/\u212a/i.test("k") && /[^x]/iu.test("y") && /ſ/iu.test("S"),
    () => /^[\d\s\w]+$/.test("1 a_") && /^\s+$/.test("\u00a0\ufeff\u2029\t\v\f") && /\cJ/.test("\n") && /\x41\u0042\0/.test("AB\0"),
    () => /[\b]/.test("\b") && /^[^]$/.test("\n") && !/[]/.test("x") && /a{2}/.test("aa") && !/^a{3,}$/.test("aa") && /a{,2}/.test("a{,2}"),
    () => /^[\w--\d]$/v.test("a") && !/^[\w--\d]$/v.test("1") && /^[\q{abc|d}]$/v.test("abc") && /^[[a-z]&&[aeiou]]$/v.test("e") && !/^[[a-z]&&[aeiou]]$/v.test("b"),
    () => same(/(?<n>b)(c)?/d.exec("ab").indices.slice(), [[1, 2], [1, 2], undefined]) && same(/(?<n>b)/d.exec("ab").indices.groups.n, [1, 2]),
]);

all("lastIndex", [
    () => { const r = /a/g; return r.test("aa") && r.lastIndex === 1 && r.test("aa") && r.lastIndex === 2 && !r.test("aa") && r.lastIndex === 0; },
    () => { const r = /a/y; r.lastIndex = 1; return r.test("ba") && r.lastIndex === 2 && !r.test("ba") && r.lastIndex === 0; },
    () => { const r = /a/; r.lastIndex = 5; return r.test("a") && r.lastIndex === 5; },
    () => { const r = /a/g; r.lastIndex = 99; return r.exec("a") === null && r.lastIndex === 0; },
    () => { const r = /(?:)/gu; r.lastIndex = 1; return r.exec("😀").index === 0; },
    () => throws(TypeError, () => { const r = Object.freeze(/a/g); r.test("a"); }),
    () => { const r = /a/g; "aXa".replace(r, ""); return r.lastIndex === 0; },
    () => { const r = /b/g; r.lastIndex = 3; return "abab".search(r) === 1 && r.lastIndex === 3; },
]);

all("methods", [
    () => throws(TypeError, () => RegExp.prototype.exec.call({}, "a")) && RegExp.prototype.test.call({ exec: () => ({}) }, "a"),
    () => throws(TypeError, () => RegExp.prototype.test.call({ exec: () => 1 }, "a")),
    () => same([.../(\d)/g[Symbol.matchAll]("1a2")].map((m) => [m[0], m.index]), [["1", 0], ["2", 2]]),
    () => same(/,/[Symbol.split]("a,b,c", 2), ["a", "b"]) && /b/[Symbol.search]("abc") === 1 && /b/[Symbol.replace]("abc", "x") === "axc",
    () => { class R extends RegExp {} const r = new R("a", "g"); return r instanceof R && r[Symbol.matchAll]("a").next().value[0] === "a" && r.test("a"); },
    () => RegExp.prototype.toString.call({ source: "s", flags: "f" }) === "/s/f",
    () => Object.getOwnPropertyDescriptor(RegExp.prototype, "flags").get.call({ global: 1, sticky: true, hasIndices: "x" }) === "dgy",
    () => { const r = /a/; r.compile("b", "g"); return r.source === "b" && r.global && r.lastIndex === 0; },
]);
