// Handlers wait until the work at hand is done, however long it takes.
const order = [];
Promise.resolve().then(() => order.push("handler"));
let steps = 0;
for (let i = 1; i <= 30000000; i++) {
    steps = i;
}
order.push("work");
await promise.delay(0);
console.log(`${steps}\t${order.join(", ")}`);
