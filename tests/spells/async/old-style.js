// A spell in the old manner: callbacks, a polling loop, busy work meanwhile.
const answers = [];
const failures = [];

for (const name of ["Ada", "Grace", "Barbara"]) {
    llm.chatAsync(`Hello ${name}`, (answer) => answers.push(answer));
}
const id = llm.completeAsync("Once", 5, (rest, error) => answers.push(rest ?? error.kind));
console.log(`id of the fourth: ${id}\tpending: ${async.pendingCount()}`);

let processed = 0;
while (async.pendingCount() > 0) {
    processed += await async.processCallbacks();
}
console.log(answers.sort().join("\n"));
console.log(`processed: ${processed}\tpending: ${async.pendingCount()}`);
console.log(`nothing left: ${await async.processCallbacks()}`);

// From inside a function that waits, and with an error.
/** @type {Spell.ChatRequest} */
const question = { messages: [{ role: "user", content: "?" }], model: "no-such-model" };
const ask = async () => {
    llm.chatAsync(question, console.log, (error) => failures.push(`${error.kind}: ${error.message}`));
    llm.chatAsync(question, (answer, error) => failures.push(`${answer ?? "nil"} ${error.kind}`));
    await async.processCallbacks();
};
await ask();
while (async.pendingCount() > 0) {
    await async.processCallbacks();
}
console.log(failures.join("\n"));

// What is still pending when the script returns is delivered before the spell ends.
llm.chatAsync("last", (answer) => {
    console.log(`after the end: ${answer}`);
    llm.chatAsync("the very last", (answer) => console.log(answer));
});
export default "returned";
