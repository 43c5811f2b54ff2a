// Wrong names are told with the usable ones.
const kind = async (work) => {
    try {
        await work();
    } catch (error) {
        return error.kind;
    }
};
await llm
    // @ts-expect-error There is no such field.
    .chat({ messages: [], temprature: 1 })
    .catch((error) => console.log(error.message.match(/argument.*; it has `messages`/)[0]));
console.log(await kind(() => llm.setProvider("opnai")));
console.log(await kind(() => llm.setModel("mock/huge")));
console.log(await kind(() => llm.listModelsForProvider("opnai")));
