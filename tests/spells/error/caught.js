// An error of a bridge is thrown, and reads as its message.
let caught;
try {
    json.decode("{");
} catch (error) {
    caught = error;
}
console.log([caught.kind, caught.retryable].join("\t"));
console.assert(`failed: ${caught}` === `failed: SpellError: ${caught.message}`);
// @ts-expect-error A question is missing.
const [ok, raised] = await llm.chat().then(
    () => [true],
    (error) => [false, error.message],
);
console.log(`${ok}\t${raised}`);
