// An agent with a function, a built-in tool and another agent.
const critic = agents.create({name: "critic", systemPrompt: "You judge.", description: "Judges an answer."});
const agent = agents.create({
    name: "scribe",
    systemPrompt: "You explain.",
    maxTurns: 4,
    budget: {modelCalls: 20, cost: 1},
    tools: [
        {
            name: "lookup",
            description: "Explains a word.",
            parameters: {word: "string"},
            run: async ({word}) => ({meaning: `${word}: words with power`}),
        },
        "calculator",
        critic,
    ],
    onEvent(event) {
        if (event.type === "tool_call") {
            const {word, expression, input} = event.arguments;
            console.log([event.agent, event.turn, event.name, word ?? expression ?? input ?? "nothing"].join("\t"));
        } else if (event.type === "tool_result") {
            console.log([event.agent, event.turn, event.name, event.content, event.is_error].join("\t"));
        }
    },
});
const result = await agent.run("What is a spell?");
console.log([result.text, result.turns, result.tool_calls, result.finish_reason].join("\t"));
console.log([agent.name, agent.messages.length, agent.messages[1].role, agent.messages[2].role, critic.messages.length].join("\t"));

// A follow-up knows what was said; a fork goes its own way.
const fork = agent.fork();
let text = "";
await agent.stream("Thank you.", (event) => {
    if (event.type === "text") text += event.text;
});
console.log([text, agent.messages.length, fork.messages.length].join("\t"));

// A tool that was not given is refused, whatever the model says.
const answer = await fork.run("Launch it.");
console.log([answer.text, fork.messages.length].join("\t"));

const failure = (config) => {
    try {
        agents.create(config);
    } catch (error) {
        return error;
    }
};
const missing = failure({name: "x", tools: ["calculater"]});
console.log([missing.message, missing.hint].join("\t"));
console.log(failure({name: "x", tools: ["calculator", "calculator"]}).message);
console.log(failure({name: "x", model: "nowhere/none"}).kind);
