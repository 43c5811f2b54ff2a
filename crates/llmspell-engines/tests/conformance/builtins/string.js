// ECMA-262, 22.1: texts.

import { all, check, functions, same, throws } from "./check.js";

functions("String", String, { fromCharCode: 1, fromCodePoint: 1, raw: 1 });
functions("String.prototype", String.prototype, {
    at: 1, charAt: 1, charCodeAt: 1, codePointAt: 1, concat: 1, endsWith: 1, includes: 1, indexOf: 1, isWellFormed: 0,
    lastIndexOf: 1, localeCompare: 1, match: 1, matchAll: 1, normalize: 0, padEnd: 1, padStart: 1, repeat: 1, replace: 2,
    replaceAll: 2, search: 1, slice: 2, split: 2, startsWith: 1, substring: 2, toLocaleLowerCase: 0, toLocaleUpperCase: 0,
    toLowerCase: 0, toString: 0, toUpperCase: 0, toWellFormed: 0, trim: 0, trimEnd: 0, trimStart: 0, valueOf: 0,
    [Symbol.iterator]: 0, substr: 2, anchor: 1, big: 0, link: 1, sub: 0,
});
check("String.prototype is fixed", () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(String, "prototype");
    return !writable && !enumerable && !configurable && String.length === 1 && Object.prototype.toString.call(String.prototype) === "[object String]";
});
check("trimLeft and trimRight are the same functions", () => String.prototype.trimLeft === String.prototype.trimStart && String.prototype.trimRight === String.prototype.trimEnd);
for (const name of Object.getOwnPropertyNames(String.prototype)) {
    const method = String.prototype[name];
    if (typeof method === "function" && name !== "constructor") {
        check(`String.prototype.${name} takes no undefined`, () => throws(TypeError, () => method.call(undefined)));
        check(`String.prototype.${name} takes no null`, () => throws(TypeError, () => method.call(null)));
        if (name !== "toString" && name !== "valueOf") {
            check(`String.prototype.${name} takes no symbol`, () => throws(TypeError, () => method.call(Symbol())));
            check(`String.prototype.${name} asks an object once`, () => {
                let asked = 0;
                try {
                    method.call({ toString: () => { asked++; return "x"; } }, "x", "x");
                } catch {
                    // It takes no such argument.
                }
                return asked === 1;
            });
        }
    }
}
for (const name of ["endsWith", "includes", "startsWith"]) {
    check(`String.prototype.${name} takes no pattern`, () => throws(TypeError, () => "a"[name](/a/)));
    check(`String.prototype.${name} asks whether it is a pattern`, () => { const r = /a/; r[Symbol.match] = false; return "/a/"[name](r); });
}

all("String", [
    () => String() === "" && String(null) === "null" && String(Symbol("x")) === "Symbol(x)" && String(-0) === "0" && String([1, [2]]) === "1,2",
    () => throws(TypeError, () => `${Symbol()}`) && throws(TypeError, () => new String(Symbol())) && typeof new String("a") === "object",
    () => { const s = new String("ab"); return same(Reflect.ownKeys(s), ["0", "1", "length"]) && throws(TypeError, () => { s[0] = "x"; }) && 0 in s && !(2 in s); },
    () => String.fromCharCode(65, 0x10041, -1) === "AA\uffff" && String.fromCodePoint(0x1f600, 65) === "😀A",
    () => throws(RangeError, () => String.fromCodePoint(-1)) && throws(RangeError, () => String.fromCodePoint(1.5)) && throws(RangeError, () => String.fromCodePoint(0x110000)),
    () => String.raw`\n${1}` === "\\n1" && String.raw({ raw: "abc" }, 1, 2, 3) === "a1b2c",
    () => { const tag = (t) => t; const f = () => tag`a`; return f() === f() && Object.isFrozen(f()) && Object.isFrozen(f().raw); },
    () => throws(TypeError, () => String.prototype.toString.call("x" && {})) && String.prototype.valueOf.call(new String("v")) === "v",
    () => (1e21).toString() === "1e+21" && (255).toString(16) === "ff" && (0.1).toString() === "0.1" && (1e-7).toString() === "1e-7" && (123.456).toFixed(1) === "123.5",
]);

all("looking", [
    () => "abc".at(-1) === "c" && "abc".at(3) === undefined && "abc".charAt(-1) === "" && Number.isNaN("a".charCodeAt(1)) && "abc"[1] === "b",
    () => "😀".codePointAt(0) === 0x1f600 && "😀".codePointAt(1) === 0xde00 && "".codePointAt(0) === undefined && "😀".length === 2,
    () => "abcabc".indexOf("c", 3) === 5 && "abc".indexOf("") === 0 && "abc".indexOf("", 9) === 3 && "abc".indexOf("a", -5) === 0 && "undefined".indexOf() === 0,
    () => "abcabc".lastIndexOf("c", 4) === 2 && "abc".lastIndexOf("") === 3 && "abc".lastIndexOf("a", NaN) === 0 && "abc".lastIndexOf("c", -1) === -1,
    () => "abc".startsWith("b", 1) && "abc".endsWith("b", 2) && "abc".includes("") && !"abc".includes("a", 1) && "abc".startsWith("", 3),
    () => "abc".search("c") === 2 && "abc".search(/x/) === -1 && same("abc".match("b").slice(), ["b"]) && "abc".match(/x/) === null,
    () => same("a1b2".match(/\d/g), ["1", "2"]) && "ab".match(/\d/g) === null && same([..."a1b2".matchAll(/\d/g)].map(([d]) => d), ["1", "2"]),
    () => throws(TypeError, () => "a".matchAll(/a/)) && throws(TypeError, () => "a".replaceAll(/a/, "b")),
    () => "a".localeCompare("b") < 0 && "b".localeCompare("a") > 0 && "a".localeCompare("a") === 0 && "o\u0308".localeCompare("ö") === 0,
    () => same([..."a😀\ud83d"], ["a", "😀", "\ud83d"]) && "x"[Symbol.iterator]()[Symbol.toStringTag] === "String Iterator",
    () => "a\ud800b".isWellFormed() === false && "😀".isWellFormed() && "a\ud800b".toWellFormed() === "a\ufffdb",
]);

all("cutting", [
    () => "abcdef".slice(-3, -1) === "de" && "abc".slice(2, 1) === "" && "abc".substring(2, 0) === "ab" && "abc".substring(-1, NaN) === "" && "abc".substr(-2, 1) === "b",
    () => same("a,b,,c".split(","), ["a", "b", "", "c"]) && same("".split(","), [""]) && same("".split(""), []) && same("abc".split(""), ["a", "b", "c"]),
    () => same("abc".split(), ["abc"]) && same("a,b,c".split(",", 2), ["a", "b"]) && same("a,b".split(",", 0), []) && same("a,b".split(",", -1), ["a", "b"]),
    () => same("a1b2c".split(/\d/), ["a", "b", "c"]) && same("a1b".split(/(\d)/), ["a", "1", "b"]) && same("ab".split(/(?:)/), ["a", "b"]) && same("A<B>b</B>".split(/<(\/)?([^<>]+)>/), ["A", undefined, "B", "b", "/", "B", ""]),
    () => "\u00a0\ufeff\t x \n\u2029".trim() === "x" && " x ".trimStart() === "x " && " x ".trimEnd() === " x" && "\u180e".trim() === "\u180e" && "\u200b".trim() === "\u200b",
    () => "abc".split({ [Symbol.split]: (text, limit) => [text, limit] }, 7)[1] === 7,
]);

all("making", [
    () => "ab".repeat(3) === "ababab" && "ab".repeat(0) === "" && throws(RangeError, () => "a".repeat(-1)) && throws(RangeError, () => "a".repeat(Infinity)),
    () => "5".padStart(3, "ab") === "ab5" && "5".padEnd(4, "ab") === "5aba" && "abc".padStart(2) === "abc" && "5".padStart(3, "") === "5" && "5".padEnd(3) === "5  ",
    () => "a".concat(1, null, undefined) === "a1nullundefined",
    () => "aXbX".replace("X", "-") === "a-bX" && "aXbX".replaceAll("X", "-") === "a-b-" && "aa".replaceAll("", "-") === "-a-a-" && "abc".replace("b", (m, at, text) => `[${m}${at}${text}]`) === "a[b1abc]c",
    () => "abc".replace("b", "$&$$$`$'") === "ab$acc" && "abc".replace(/(b)(?<n>c)/, "$2$1$<n>$3") === "acbc$3" && "a".replace("a", "$0$1") === "$0$1",
    () => "abc".replace(/(?<x>b)/, (...values) => values.at(-1).x.toUpperCase()) === "aBc" && "aaa".replace(/a/g, (_, at) => at) === "012" && "x".replace(/x/, "$01") === "$01",
    () => "abcdefghijkl".replace(/(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)/, "$11-$1-$10") === "k-a-jl",
    () => "a.b".replaceAll(/./g, "x") === "xxx" && "aaa".replace(/a/y, "b") === "baa" && "ab".replace(/(?:)/g, "-") === "-a-b-",
    () => "aBc".replace("B", undefined) === "aundefinedc" && "x".replace({ [Symbol.replace]: () => "own" }) === "own",
    () => "ÄÖß".toLowerCase() === "äöß" && "straße".toUpperCase() === "STRASSE" && "ΑΣ".toLowerCase() === "ας" && "ΑΣΑ".toLowerCase() === "ασα" && "ﬁ".toUpperCase() === "FI",
    () => "İ".toLowerCase() === "i\u0307" && "\ud801\udc00".toLowerCase() === "\ud801\udc28",
    () => "o\u0308".normalize() === "ö" && "ö".normalize("NFD") === "o\u0308" && "ﬁ".normalize("NFKC") === "fi" && "\u1e9b\u0323".normalize("NFKD") === "s\u0323\u0307" && throws(RangeError, () => "a".normalize("x")),
    () => "a".anchor('"') === '<a name="&quot;">a</a>' && "b".big() === "<big>b</big>",
    () => "".repeat(2 ** 31) === "",
    () => "\u{61}\x62\
c" === "abc" && "\0" === "\u0000" && `a${1 + 1}\n` === "a2\n" && "a" < "b" && "a" < "aa" && !("Z" > "a"),
]);
