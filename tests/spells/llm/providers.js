// Which models there are, and which of them answers.
console.log([llm.listProviders().join(" "), llm.getProvider(), llm.getModel()].join("\t"));
llm.setModel("mock/echo-large");
console.log(llm.getModel());
llm.setProvider("mock");
console.log(llm.getModel());
const models = await llm.listModels();
const [first] = models;
const same = models.length === (await llm.listModelsForProvider("mock")).length;
console.log([same, first.provider, (first.context_window ?? 0) > 0].join("\t"));
console.log([first.capabilities !== undefined, llm.countTokens("one two three", "mock/echo") > 0].join("\t"));
