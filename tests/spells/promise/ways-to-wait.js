// The first, the first that succeeds, all whatever becomes of them, and again until it works.
const soon = (seconds, value) => promise.delay(seconds, value);
const failing = (why) => Promise.reject({ why });

console.log(await Promise.race([soon(0.02, "slow"), soon(0, "fast")]));
console.log(await Promise.any([failing("no"), soon(0, "works")]));
const settled = await Promise.allSettled([Promise.resolve(1), failing("broken")]);
const told = settled.map((one) => [one.status, one.status === "fulfilled" ? one.value : one.reason.why]);
console.log(told.flat().join("\t"));

let tries = 0;
const work = () => {
    tries++;
    if (tries < 3) throw new Error("not yet");
    return `after ${tries}`;
};
console.log(await promise.retry(work, { attempts: 5, delay: 0 }));
console.log(await promise.timeout(soon(0.05, "too late"), 0.01).catch((error) => error.kind));
const order = [];
await promise.map(["a", "b"], (item) => void order.push(item)).finally(() => order.push("finally"));
console.log(order.join(" "));
