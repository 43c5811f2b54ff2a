// The three shapes of a question.
const same = async (question) => (await llm.chat(question)) === (await llm.chat("hi"));
/** @type {Spell.Message[]} */
const messages = [{ role: "user", content: "hi" }];
console.assert(typeof (await llm.chat("hi")) === "string");
console.assert(await same(messages));
console.assert(await same({ messages, maxTokens: 50 }));
const response = await llm.generate({ messages });
const { usage } = response;
console.log([response.provider, response.finish_reason, usage.input_tokens > 0, usage.output_tokens > 0].join("\t"));
console.assert(response.text === (await llm.chat("hi")));
console.log(llm.usage().output_tokens > 0);
console.log((await llm.complete("Once upon", 5)) === (await llm.chat("Once upon")));
