// Model calls in promises run at once.
const names = ["Ada", "Grace", "Barbara"];
console.log((await Promise.all(names.map((name) => llm.chat(`Hello ${name}`)))).join("\n"));

// What fails is rejected.
const outcome = promise
    .spawn(llm.chat, "hello", { model: "no-such-model" })
    .then(() => "answered")
    .catch((error) => `${error.kind}: ${error.message}`);
console.log(await outcome);

const numbered = await promise.map(names, (name, at) => llm.chat(`${at + 1} ${name}`), { concurrency: 2 });
console.log(numbered.join("\n"));
export default Promise.resolve("a promise as the result");
