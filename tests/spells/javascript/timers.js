// Timers, and what waits for nobody.
setTimeout(() => console.log("third"), 20);
setTimeout(console.log, 5, "second");
queueMicrotask(() => console.log("first"));
const slow = setTimeout(() => console.log("never"), 60_000);
clearTimeout(slow);
console.log("now");
