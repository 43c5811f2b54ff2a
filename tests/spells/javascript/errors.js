// An error of the host is one of the language, with all that is known of it.
const error = await llm.chat("hi", { model: "no-such-model" }).catch((error) => error);
console.log(error instanceof Error, error.name, error.kind, error.retryable, error.message);
console.log(error.hint);
try {
    // @ts-expect-error There is no such field.
    await llm.chat({ messages: [], temprature: 1 });
} catch (error) {
    console.log(error.kind, error.stack.includes("errors.js:7"));
}
function fail() {
    throw new RangeError("too far", { cause: new Error("the beginning") });
}
fail();
