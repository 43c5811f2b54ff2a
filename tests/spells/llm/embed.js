const say = (...values) => console.log(values.join("\t"));

// A text becomes a vector, a list a list of them; the mock's are near when the texts share words.
const one = /** @type {number[]} */ (await llm.embed("a cat sat on the mat"));
say(one.length, typeof one[0]);
const texts = ["a cat sat on the mat", "a cat lay on a mat", "stock prices fell"];
const many = /** @type {number[][]} */ (await llm.embed(texts));
say(many.length, many[0].length, text.similarity(one, many[0]) > 0.999);
say(text.similarity(many[0], many[1]) > text.similarity(many[0], many[2]));
say((await llm.embed([])).length, (await llm.embed("short", { model: "mock/echo", dimensions: 8 })).length);
say(llm.usage().input_tokens > 0);

say(text.similarity([1, 0], [0, 2]), text.similarity([3, 4], [-3, -4]), text.similarity([0, 0], [1, 1]));
const refusal = async (call) => {
  try {
    await call();
  } catch (error) {
    say(error.message);
  }
};
await refusal(() => text.similarity([1, 2], [1, 2, 3]));
await refusal(() => text.similarity("one", [1]));
// @ts-expect-error A number is no text.
await refusal(() => llm.embed(7));
const err = await llm.embed("hi", { provider: "nobody" }).catch((error) => error);
say("nil", err.kind);
