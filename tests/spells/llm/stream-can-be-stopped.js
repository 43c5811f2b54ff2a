// onChunk stops a stream quietly with false, with an error by a string, and with its own error by throwing.
let pieces = 0;
await llm.streamChat("one two three four", () => ++pieces < 2);
console.log(`${pieces}\tnil`);
const stopped = async (onChunk) => {
    const error = await llm.streamChat("one two three", onChunk).catch((error) => error);
    console.log(`${error.kind}\t${error.message}`);
};
await stopped(() => "enough");
await stopped(() => {
    throw new Error("oops");
});
let whole = "";
await llm.streamChat("one two three", async (text) => {
    whole += text;
});
console.log(whole === (await llm.chat("one two three")));
