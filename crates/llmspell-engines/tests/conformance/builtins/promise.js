// ECMA-262, 27.2: promises. The rules of `then` are those of Promises/A+, whose suite is beside this.

import { all, check, functions, getters, rejects, same, throws } from "./check.js";

functions("Promise", Promise, { all: 1, allSettled: 1, any: 1, race: 1, reject: 1, resolve: 1, withResolvers: 0 });
functions("Promise.prototype", Promise.prototype, { catch: 1, finally: 1, then: 2 });
getters("Promise", Promise, [Symbol.species]);
check("Promise.prototype is fixed", () => {
    const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(Promise, "prototype");
    return !writable && !enumerable && !configurable && Promise.length === 1 && Promise.name === "Promise";
});
check("Promise.prototype has a tag", () =>
    same(Object.getOwnPropertyDescriptor(Promise.prototype, Symbol.toStringTag), {
        value: "Promise", writable: false, enumerable: false, configurable: true,
    }));

const order = async (f) => {
    const seen = [];
    f((what) => seen.push(what));
    for (let i = 0; i < 20; i++) await null;
    return seen.join("");
};

all("new Promise", [
    () => throws(TypeError, () => Promise(() => {})) && throws(TypeError, () => new Promise()) && throws(TypeError, () => new Promise({})),
    () => new Promise(() => {}) instanceof Promise && Object.prototype.toString.call(Promise.resolve()) === "[object Promise]",
    async () => (await new Promise((resolve) => { resolve(1); resolve(2); throw 3; })) === 1,
    () => rejects(new Promise(() => { throw "x"; }), "x"),
    () => new Promise((resolve, reject) => resolve(resolve.length === 1 && reject.length === 1 && resolve.name === "" && !Object.hasOwn(resolve, "prototype"))),
    () => rejects(new Promise((resolve) => { const p = Promise.resolve().then(() => p); resolve(p); }), TypeError),
    async () => {
        let self;
        self = new Promise((resolve) => queueMicrotaskish(() => resolve(self)));
        return rejects(self, TypeError);
    },
]);

function queueMicrotaskish(f) {
    Promise.resolve().then(f);
}

class Sub extends Promise {}

all("Promise.resolve and reject", [
    () => { const p = Promise.resolve(1); return Promise.resolve(p) === p && Promise.reject(p).catch(() => {}) !== p; },
    async () => (await Promise.resolve({ then: (ok) => ok(5) })) === 5,
    async () => (await Promise.resolve({ then: 5 })).then === 5,
    () => rejects(Promise.resolve({ get then() { throw "getter"; } }), "getter"),
    () => Sub.resolve(1) instanceof Sub && Promise.resolve(Sub.resolve(1)) instanceof Promise,
    () => throws(TypeError, () => Promise.resolve.call(undefined)) && throws(TypeError, () => Promise.reject.call(1)),
    () => { const thenable = { then() {} }; return rejects(Promise.reject(thenable), thenable); },
]);

all("Promise.prototype.then, catch and finally", [
    () => throws(TypeError, () => Promise.prototype.then.call({}, () => {})),
    () => Promise.resolve().then(() => {}) instanceof Promise && new Sub(() => {}).then() instanceof Sub,
    async () => (await order((see) => {
        Promise.resolve().then(() => see("a")).then(() => see("c"));
        Promise.resolve().then(() => see("b")).then(() => see("d"));
        see("0");
    })) === "0abcd",
    async () => (await order((see) => {
        const p = Promise.resolve();
        Promise.resolve().then(() => p).then(() => see("x"));
        Promise.resolve().then(() => see("1")).then(() => see("2")).then(() => see("3")).then(() => see("4"));
    })) === "123x4",
    async () => (await order((see) => {
        (async () => { await null; see("a"); await null; see("c"); })();
        (async () => { await { then: (ok) => ok() }; see("b"); })();
    })) === "acb",
    async () => (await Promise.resolve(1).then(2)) === 1 && (await rejects(Promise.reject("r").then(2, 3), "r")),
    async () => (await Promise.reject(1).catch((e) => e + 1)) === 2,
    () => Promise.prototype.catch.call({ then: (a, b) => [a, b] }, 7)[1] === 7,
    async () => (await Promise.resolve(1).finally(() => 2)) === 1,
    () => rejects(Promise.resolve(1).finally(() => { throw "f"; }), "f"),
    () => rejects(Promise.reject("r").finally(() => "ignored"), "r"),
    async () => { let count = -1; await Promise.resolve(1).finally((...values) => { count = values.length; }); return count === 0; },
    () => throws(TypeError, () => Promise.prototype.finally.call(1)),
]);

all("Promise.all and its like", [
    async () => same(await Promise.all([1, Promise.resolve(2), { then: (ok) => ok(3) }]), [1, 2, 3]),
    async () => same(await Promise.all([]), []) && same(await Promise.all("ab"), ["a", "b"]),
    () => rejects(Promise.all([1, Promise.reject("r"), Promise.reject("s")]), "r"),
    () => rejects(Promise.all(5), TypeError),
    () => rejects(Promise.all({ [Symbol.iterator]() { throw "i"; } }), "i"),
    async () => same(await Promise.allSettled([1, Promise.reject("r")]), [{ status: "fulfilled", value: 1 }, { status: "rejected", reason: "r" }]),
    async () => same(await Promise.allSettled([]), []),
    async () => (await Promise.any([Promise.reject(1), 2])) === 2,
    async () => Promise.any([Promise.reject(1), Promise.reject(2)]).catch((e) => e instanceof AggregateError && same(e.errors, [1, 2])),
    () => rejects(Promise.any([]), AggregateError),
    async () => (await Promise.race([new Promise(() => {}), Promise.resolve(2), 3])) === 2,
    () => { const seen = []; const p = Promise.race([]); p.then(() => seen.push(1)); return Promise.resolve().then(() => seen.length === 0); },
    () => rejects(Promise.race([Promise.reject("r"), 1]), "r"),
    () => { const { promise, resolve, reject } = Promise.withResolvers(); resolve(1); reject(2); return promise.then((v) => v === 1); },
    () => same(Object.keys(Promise.withResolvers()), ["promise", "resolve", "reject"]),
    async () => {
        let closed = 0;
        const list = { [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }), return() { closed++; return {}; } }) };
        const odd = class extends Promise { static resolve() { throw "resolve"; } };
        return (await rejects(odd.all(list), "resolve")) && closed === 1;
    },
    () => throws(TypeError, () => Promise.all.call(undefined, [])),
    async () => (await Sub.all([])) && Sub.all([]) instanceof Sub,
    () => { const e = new AggregateError([1], "m", { cause: 2 }); return same(e.errors, [1]) && e.message === "m" && e.cause === 2 && e instanceof Error; },
]);

all("async functions", [
    () => { const p = (async () => 1)(); return p instanceof Promise && p.constructor === Promise; },
    () => rejects((async () => { throw "x"; })(), "x"),
    async () => { try { await Promise.reject("x"); } catch (e) { return e === "x"; } return false; },
    async () => { const seen = []; for await (const x of [Promise.resolve(1), 2]) seen.push(x); return same(seen, [1, 2]); },
    async () => { async function* g() { yield 1; yield Promise.resolve(2); } const seen = []; for await (const x of g()) seen.push(x); return same(seen, [1, 2]); },
    async () => { async function* g() { try { yield 1; } finally { yield "last"; } } const i = g(); await i.next(); return (await i.return("r")).value === "last" && same(await i.next(), { value: "r", done: true }); },
]);
