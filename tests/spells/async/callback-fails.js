// What a callback throws fails the spell.
llm.chatAsync("hello", (answer) => {
    throw new Error(`cannot use ${answer}`);
});
while (async.pendingCount() > 0) {
    await async.processCallbacks();
}
console.log("not reached");
