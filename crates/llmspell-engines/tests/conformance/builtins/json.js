// ECMA-262, 25.5: the JSON object.

import { all, check, functions, same, throws } from "./check.js";

functions("JSON", JSON, { parse: 2, stringify: 3 });
check("JSON is a plain object with a tag", () => {
    const tag = Object.getOwnPropertyDescriptor(JSON, Symbol.toStringTag);
    return Object.getPrototypeOf(JSON) === Object.prototype && same(tag, { value: "JSON", writable: false, enumerable: false, configurable: true });
});
check("JSON can be replaced and is not listed", () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(globalThis, "JSON");
    return writable && !enumerable && configurable;
});

const bad = (text) => throws(SyntaxError, () => JSON.parse(text));

all("JSON.parse", [
    () => same(JSON.parse('{"a":[1,2.5,-0,1e3,"x",true,false,null]}'), { a: [1, 2.5, -0, 1000, "x", true, false, null] }),
    () => JSON.parse(" \t\n\r1 \t\n\r") === 1,
    () => JSON.parse('"\\u0041\\n\\t\\"\\\\\\/\\b\\f\\r"') === 'A\n\t"\\/\b\f\r',
    () => JSON.parse('"\\ud83d\\ude00"') === "😀",
    () => JSON.parse('"\\ud83d"') === "\ud83d",
    () => JSON.parse('"\u2028\u2029"') === "\u2028\u2029",
    () => same(JSON.parse('{"a":1,"a":2}'), { a: 2 }),
    () => JSON.parse('{"__proto__":[]}') instanceof Array === false && Object.hasOwn(JSON.parse('{"__proto__":1}'), "__proto__"),
    () => same(Object.keys(JSON.parse('{"b":1,"2":1,"a":1,"1":1}')), ["1", "2", "b", "a"]),
    () => Object.is(JSON.parse("-0"), -0),
    () => JSON.parse("1e400") === Infinity,
    () => JSON.parse(new String("[1]"))[0] === 1,
    () => JSON.parse({ toString: () => "7" }) === 7,
    () => throws(TypeError, () => JSON.parse(Symbol())),
    () => JSON.parse(null) === null,
    () => bad() && bad("") && bad(" ") && bad("undefined"),
    () => bad("01") && bad("1.") && bad(".5") && bad("+1") && bad("1e") && bad("- 1") && bad("0x1") && bad("NaN") && bad("Infinity"),
    () => bad("'a'") && bad('"a') && bad('"\t"') && bad('"\\x41"') && bad('"\\u00g0"') && bad('"\\"'),
    () => bad("[1,]") && bad("[,1]") && bad("[1") && bad("]") && bad("[1 2]"),
    () => bad('{"a":1,}') && bad("{a:1}") && bad('{"a"}') && bad('{"a":}') && bad('{1:1}') && bad("{"),
    () => bad("1 2") && bad("\u00a01") && bad("\v1") && bad("// x\n1") && bad("\ufeff1"),
]);

all("JSON.parse with a reviver", [
    () => same(JSON.parse("[1,2,3]", (key, value) => (typeof value === "number" ? value * 2 : value)), [2, 4, 6]),
    () => {
        const seen = [];
        JSON.parse('{"a":{"b":1},"c":[2]}', (key) => void seen.push(key));
        return same(seen, ["b", "a", "0", "c", ""]);
    },
    () => same(JSON.parse('{"a":1,"b":2}', (key, value) => (key === "a" ? undefined : value)), { b: 2 }),
    () => same(Object.keys(JSON.parse("[1,2]", (key, value) => (key === "0" ? undefined : value))), ["1"]),
    () => JSON.parse("1", function (key, value) {
        return key === "" && this[""] === value ? "root" : "other";
    }) === "root",
    () => throws(RangeError, () => JSON.parse("[1]", () => { throw new RangeError(); })),
    () => JSON.parse("1", "no function") === 1,
]);

const cycle = [];
cycle[0] = cycle;
const text = (...values) => JSON.stringify(...values);

all("JSON.stringify", [
    () => text({ b: 1, a: [true, null, "x"] }) === '{"b":1,"a":[true,null,"x"]}',
    () => text(undefined) === undefined && text(() => 1) === undefined && text(Symbol()) === undefined,
    () => text([undefined, () => 1, Symbol()]) === "[null,null,null]",
    () => text({ a: undefined, b: () => 1, [Symbol()]: 1 }) === "{}",
    () => text(NaN) === "null" && text(-Infinity) === "null" && text(-0) === "0",
    () => text(1e21) === "1e+21" && text(123e-20) === "1.23e-18",
    () => text(new Number(3)) === "3" && text(new String("x")) === '"x"' && text(new Boolean(false)) === "false",
    () => text('"\\/\b\f\n\r\t\u0000\u001f\u007f') === '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u007f"',
    () => text("\ud800") === '"\\ud800"' && text("😀") === '"😀"' && text("\u2028") === '"\u2028"',
    () => text([1, [2, { a: [] }], {}], null, 2) === '[\n  1,\n  [\n    2,\n    {\n      "a": []\n    }\n  ],\n  {}\n]',
    () => text([1], null, "--") === "[\n--1\n]" && text([1], null, 0) === "[1]" && text([1], null, "") === "[1]",
    () => text([1], null, 99) === `[\n${" ".repeat(10)}1\n]` && text([1], null, "x".repeat(99)) === `[\n${"x".repeat(10)}1\n]`,
    () => text([1], null, new Number(1)) === "[\n 1\n]" && text([1], null, true) === "[1]",
    () => text({ a: 1, b: { a: 2, c: 3 } }, ["a", "b"]) === '{"a":1,"b":{"a":2}}',
    () => text({ b: 1, a: 2, 1: 3 }, ["a", new String("b"), 1, 1, {}, "a"]) === '{"a":2,"b":1,"1":3}',
    () => text({ a: 1 }, (key, value) => (key === "a" ? undefined : value)) === "{}",
    () => text({ a: [1] }, (key, value) => (typeof value === "number" ? `${key}:${value}` : value)) === '{"a":["0:1"]}',
    () => text({ toJSON: (key) => `key ${key}` }) === '"key "',
    () => text({ a: { toJSON(key) { return `${key} ${this.x}`; }, x: 7 } }) === '{"a":"a 7"}',
    () => text(new Date(0)) === '"1970-01-01T00:00:00.000Z"' && text(new Date(NaN)) === "null",
    () => text(Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true }, hidden: { value: 3 } })) === '{"own":2}',
    () => text(new Proxy([1, 2], {})) === "[1,2]" && text(new Proxy({ a: 1 }, {})) === '{"a":1}',
    () => text([, 1]) === "[null,1]" && text(new Map([[1, 2]])) === "{}",
    () => throws(TypeError, () => text(cycle)) && throws(TypeError, () => text(1n)),
    () => throws(RangeError, () => text({ get a() { throw new RangeError(); } })),
    () => {
        BigInt.prototype.toJSON = () => "big";
        const written = text([1n]);
        delete BigInt.prototype.toJSON;
        return written === '["big"]';
    },
]);
