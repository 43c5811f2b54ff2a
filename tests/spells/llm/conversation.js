// A conversation remembers, and a fork goes its own way.
const talk = llm.conversation({ system: "Be brief." });
await talk.send("one");
const fork = talk.fork();
await fork.send("two");
console.log([talk.messages.length, fork.messages.length, talk.messages[0].role, fork.messages[2].content].join("\t"));
let text = "";
await talk.stream("three", (piece) => {
    text += piece;
});
console.log([talk.messages.length, talk.messages[3].content === text].join("\t"));
