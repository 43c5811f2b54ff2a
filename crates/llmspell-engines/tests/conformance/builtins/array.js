// ECMA-262, 23.1: arrays.

import { all, check, functions, getters, same, throws } from "./check.js";

functions("Array", Array, { from: 1, fromAsync: 1, isArray: 1, of: 0 });
functions("Array.prototype", Array.prototype, {
    at: 1, concat: 1, copyWithin: 2, entries: 0, every: 1, fill: 1, filter: 1, find: 1, findIndex: 1, findLast: 1,
    findLastIndex: 1, flat: 0, flatMap: 1, forEach: 1, includes: 1, indexOf: 1, join: 1, keys: 0, lastIndexOf: 1, map: 1,
    pop: 0, push: 1, reduce: 1, reduceRight: 1, reverse: 0, shift: 0, slice: 2, some: 1, sort: 1, splice: 2,
    toLocaleString: 0, toReversed: 0, toSorted: 1, toSpliced: 2, toString: 0, unshift: 1, values: 0, with: 2,
});
getters("Array", Array, [Symbol.species]);
check("Array.prototype is fixed", () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(Array, "prototype");
    return !writable && !enumerable && !configurable && Array.length === 1 && Array.name === "Array";
});
check("Array.prototype is an array", () => Array.isArray(Array.prototype) && Array.prototype.length === 0);
check("values and the iterator are one", () => Array.prototype.values === Array.prototype[Symbol.iterator]);
check("unscopables are named", () => {
    const names = Array.prototype[Symbol.unscopables];
    const expected = ["at", "copyWithin", "entries", "fill", "find", "findIndex", "findLast", "findLastIndex", "flat", "flatMap", "includes", "keys", "toReversed", "toSorted", "toSpliced", "values"];
    return Object.getPrototypeOf(names) === null && same(Object.keys(names).sort(), expected);
});

// Every method takes any object with a length, and no `null`.
for (const name of Object.getOwnPropertyNames(Array.prototype)) {
    const method = Array.prototype[name];
    if (typeof method === "function" && name !== "constructor") {
        check(`Array.prototype.${name} takes no undefined`, () => throws(TypeError, () => method.call(undefined, () => {})));
        check(`Array.prototype.${name} takes no null`, () => throws(TypeError, () => method.call(null, () => {})));
    }
}
for (const name of ["every", "filter", "find", "findIndex", "findLast", "findLastIndex", "flatMap", "forEach", "map", "reduce", "reduceRight", "some"]) {
    check(`Array.prototype.${name} wants a function`, () => [undefined, null, 1, "x", {}].every((f) => throws(TypeError, () => [1][name](f))));
    check(`Array.prototype.${name} hands over item, place and list`, () => {
        const list = [7];
        let given;
        list[name]((...values) => { given = values; return []; }, "start");
        const expected = name.startsWith("reduce") ? ["start", 7, 0, list] : [7, 0, list];
        return same(given, expected) && given.at(-1) === list;
    });
    check(`Array.prototype.${name} passes on what is thrown`, () => throws(RangeError, () => [1][name](() => { throw new RangeError(); }, 1)));
}

const like = (...items) => ({ length: items.length, ...items });

all("new Array", [
    () => new Array(3).length === 3 && !(0 in new Array(3)) && same(new Array(1, 2), [1, 2]) && same(Array("3"), ["3"]),
    () => throws(RangeError, () => new Array(-1)) && throws(RangeError, () => new Array(1.5)) && throws(RangeError, () => new Array(2 ** 32)),
    () => { const a = []; a[2 ** 32 - 2] = 1; return a.length === 2 ** 32 - 1; },
    () => { const a = []; a[2 ** 32 - 1] = 1; return a.length === 0; },
    () => { const a = [1, 2, 3]; a.length = 1; return same(a, [1]) && throws(RangeError, () => { a.length = -1; }); },
    () => { const a = [1, 2]; Object.defineProperty(a, "length", { writable: false }); return throws(TypeError, () => a.push(1)) && a.length === 2; },
    () => { const a = [1, 2, 3]; Object.defineProperty(a, 1, { configurable: false }); return throws(TypeError, () => { a.length = 0; }) && a.length === 2; },
    () => same(Object.getOwnPropertyDescriptor([1], "length"), { value: 1, writable: true, enumerable: false, configurable: false }),
    () => class extends Array {}.from([1]) instanceof Array && new (class A extends Array {})(2).length === 2,
]);

all("Array.from, of and isArray", [
    () => same(Array.from("a😀"), ["a", "😀"]) && same(Array.from(new Set([1, 1, 2])), [1, 2]) && same(Array.from({ length: 2, 0: "x" }), ["x", undefined]),
    () => same(Array.from([1, 2], (x, i) => x * 10 + i), [10, 21]) && same(Array.from([1], function () { return this.k; }, { k: 5 }), [5]),
    () => throws(TypeError, () => Array.from(null)) && throws(TypeError, () => Array.from([], {})) && same(Array.from(5), []),
    () => { let closed = false; const i = { [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }), return() { closed = true; return {}; } }) }; return throws(RangeError, () => Array.from(i, () => { throw new RangeError(); })) && closed; },
    () => { function F(n) { this.n = n; } return same(Array.of.call(F, 1, 2), Object.assign(new F(2), { 0: 1, 1: 2, length: 2 })) && Array.from.call(F, { length: 3 }).n === 3; },
    () => same(Array.of(7), [7]) && same(Array.of(), []),
    () => Array.isArray(new Proxy([], {})) && !Array.isArray({ __proto__: Array.prototype }) && !Array.isArray(new Uint8Array(1)),
    async () => same(await Array.fromAsync([Promise.resolve(1), 2]), [1, 2]),
]);

all("reading", [
    () => [1, 2, 3].at(-1) === 3 && [1].at(1) === undefined && [1, 2].at("1") === 2 && [1, 2].at(NaN) === 1 && Array.prototype.at.call(like(5), -1) === 5,
    () => same([1].concat(2, [3, [4]], like(5)), [1, 2, 3, [4], like(5)]) && same([].concat({ ...like(1, 2), [Symbol.isConcatSpreadable]: true }), [1, 2]),
    () => { const a = [1]; a[Symbol.isConcatSpreadable] = false; return [].concat(a).length === 1 && [].concat(a)[0] === a; },
    () => { const c = [1, , 3].concat([, 4]); return c.length === 5 && !(1 in c) && !(3 in c); },
    () => same([...[7, 8].entries()], [[0, 7], [1, 8]]) && same([...[, 1].keys()], [0, 1]) && same([...[, 1].values()], [undefined, 1]),
    () => { const i = [1][Symbol.iterator](); return i[Symbol.toStringTag] === "Array Iterator" && i.next().value === 1 && same(i.next(), { value: undefined, done: true }) && i[Symbol.iterator]() === i; },
    () => { const a = [1]; const seen = []; for (const x of a) { seen.push(x); if (a.length < 3) a.push(a.length + 1); } return same(seen, [1, 2, 3]); },
    () => [NaN].includes(NaN) && [-0].includes(0) && [,].includes(undefined) && ![1].includes(1, 1) && [1, 2].includes(1, -2),
    () => [NaN].indexOf(NaN) === -1 && [,].indexOf(undefined) === -1 && [1, 2, 1].indexOf(1, -1) === 2 && Object.is([0].indexOf(-0), 0),
    () => [1, 2, 1].lastIndexOf(1) === 2 && [1, 2, 1].lastIndexOf(1, 1) === 0 && [1].lastIndexOf(1, -2) === -1 && [1, 2].lastIndexOf(1, undefined) === 0,
    () => [1, null, undefined, [2, [3]]].join() === "1,,,2,3" && [1, 2].join("") === "12" && [1, 2].join(null) === "1null2" && Array.prototype.join.call({ length: 3 }, "-") === "--",
    () => String([[[]]]) === "" && [[1, [2]], 3].join(";") === "1,2;3",
    () => Array.prototype.toString.call({ join: () => "joined" }) === "joined" && Array.prototype.toString.call({}) === "[object Object]",
    () => [1, null, { toLocaleString: () => "l" }].toLocaleString() === "1,,l",
    () => same([1, 2, 3].slice(1), [2, 3]) && same([1, 2, 3].slice(-2, -1), [2]) && same([1, 2].slice(5), []) && same(Array.prototype.slice.call(like(1, 2)), [1, 2]),
    () => !(0 in [, 1].slice(0, 1)) && [, 1].slice(0, 1).length === 1,
]);

all("calling", [
    () => same([1, , 3].map((x) => x * 2), [2, , 6]) && same([3, 1].map(String), ["3", "1"]),
    () => { let n = 0; [1, , 3].forEach(() => n++); return n === 2 && [].forEach(() => {}) === undefined; },
    () => { const a = [1, 2, 3]; const seen = []; a.forEach((x) => { seen.push(x); a.push(9); if (x === 1) delete a[1]; }); return same(seen, [1, 3]); },
    () => same([1, 2, 3].filter((x) => x & 1), [1, 3]) && same([, undefined].filter(() => true), [undefined]),
    () => [].every(() => false) && ![].some(() => true) && [1, 2].some((x) => x > 1) && ![1, 2].every((x) => x > 1),
    () => [1, 2, 3].find((x) => x > 1) === 2 && [1, 2, 3].findLast((x) => x < 3) === 2 && [1].find(() => false) === undefined && [,].find((x) => x === undefined) === undefined,
    () => [1, 2].findIndex((x) => x === 2) === 1 && [1, 2].findLastIndex((x) => x === 3) === -1 && [, 1].findIndex((x) => x === undefined) === 0,
    () => [1, 2, 3].reduce((a, b) => a + b) === 6 && [1, 2, 3].reduceRight((a, b) => `${a}${b}`) === "321" && [].reduce(() => 0, "s") === "s",
    () => throws(TypeError, () => [].reduce(() => {})) && throws(TypeError, () => [, ,].reduceRight(() => {})) && [, 5].reduce(() => 0) === 5,
    () => same([[1, [2, [3]]], , 4].flat(), [1, [2, [3]], 4]) && same([[1, [2, [3]]]].flat(Infinity), [1, 2, 3]) && same([[1]].flat(0), [[1]]),
    () => same([1, 2].flatMap((x) => [x, [x]]), [1, [1], 2, [2]]),
    () => [1].map(function () { return this.k; }, { k: 3 })[0] === 3 && [1].map(function () { return this; })[0] === undefined,
    () => { class A extends Array {} const a = A.from([1]); return a.map((x) => x) instanceof A && a.filter(() => true) instanceof A && a.slice() instanceof A && !(a.toSorted() instanceof A); },
    () => { const a = [1]; a.constructor = { [Symbol.species]: function (n) { this.n = n; } }; return a.map((x) => x).n === 1; },
    () => throws(TypeError, () => { const a = [1]; a.constructor = 5; a.map((x) => x); }),
]);

all("changing", [
    () => { const a = [1]; return a.push(2, 3) === 3 && a.pop() === 3 && a.shift() === 1 && a.unshift(8, 9) === 3 && same(a, [8, 9, 2]); },
    () => [].pop() === undefined && [].shift() === undefined && [].push() === 0 && [1].unshift() === 1,
    () => { const o = { length: 2 ** 53 - 1 }; return throws(TypeError, () => Array.prototype.push.call(o, 1)); },
    () => { const o = {}; Array.prototype.push.call(o, "x"); return same(o, { 0: "x", length: 1 }); },
    () => { const a = [1, 2, 3, 4]; return same(a.splice(1, 2, "a", "b", "c"), [2, 3]) && same(a, [1, "a", "b", "c", 4]); },
    () => { const a = [1, 2, 3]; return same(a.splice(-1), [3]) && same(a.splice(), []) && same(a.splice(undefined), [1, 2]) && a.length === 0; },
    () => { const a = [3, 1, 2]; return a.reverse() === a && same(a, [2, 1, 3]) && same([, 1].reverse(), [1, ,]); },
    () => same([1, 2, 3, 4, 5].copyWithin(0, 3), [4, 5, 3, 4, 5]) && same([1, 2, 3, 4, 5].copyWithin(1, 0, 3), [1, 1, 2, 3, 5]) && same([1, 2, 3].copyWithin(-1), [1, 2, 1]),
    () => same([1, 2, 3].fill(0), [0, 0, 0]) && same([1, 2, 3].fill(0, -1), [1, 2, 0]) && same(new Array(2).fill(), [undefined, undefined]),
    () => same([10, 9, 1].sort(), [1, 10, 9]) && same([3, undefined, 1, , 2].sort(), [1, 2, 3, undefined, ,]) && same([3, 1, 2].sort((a, b) => b - a), [3, 2, 1]),
    () => throws(TypeError, () => [1].sort(null)) && throws(TypeError, () => [1].sort("x")) && same([2, 1].sort(undefined), [1, 2]),
    () => { const list = Array.from({ length: 600 }, (_, i) => ({ k: i % 3, i })); list.sort((a, b) => a.k - b.k); return list.every((x, at) => at === 0 || list[at - 1].k < x.k || (list[at - 1].k === x.k && list[at - 1].i < x.i)); },
    () => throws(RangeError, () => [2, 1].sort(() => { throw new RangeError(); })) && throws(TypeError, () => Object.freeze([2, 1]).sort()),
    () => { const a = [3, 1]; return same(a.toSorted(), [1, 3]) && same(a.toReversed(), [1, 3]) && same(a.with(0, 9), [9, 1]) && same(a.toSpliced(0, 1, 7, 8), [7, 8, 1]) && same(a, [3, 1]); },
    () => throws(RangeError, () => [1].with(1, 0)) && throws(RangeError, () => [1].with(-2, 0)) && throws(TypeError, () => [1].toSorted(5)) && same([, 1].toSorted(), [1, undefined]),
    () => throws(TypeError, () => Object.freeze([1]).push(2)) && throws(TypeError, () => Object.freeze([1]).pop()) && throws(TypeError, () => Object.freeze([1]).fill(2)),
    () => { const [a, , b = 5, ...rest] = [1, 2, undefined, 4, 5]; return a === 1 && b === 5 && same(rest, [4, 5]) && same([...[1], ..."ab"], [1, "a", "b"]); },
]);
