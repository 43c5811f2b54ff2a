// A tool is a function with a schema. The spell can call it, and a model can: both get what the schema lets through.

tools.register("to_miles", "Turns kilometres into miles.", { km: "number" }, ({ km }) => km * 0.621371);

tools.register({
    name: "count_words",
    description: "Counts the words of a text.",
    parameters: {
        type: "object",
        properties: {
            text: { type: "string" },
            // What is left out is filled in before the function runs.
            least: { type: "integer", minimum: 1, default: 1, description: "the fewest letters of a word" },
        },
        required: ["text"],
    },
    run: ({ text, least }: { text: string; least: number }) =>
        text.split(/\s+/).filter((word) => [...word].length >= least).length,
});

const print = (...values: unknown[]) => console.log(values.join("\t"));

// Both are in the list now, behind those that are built in.
for (const tool of tools.list().filter(({ origin }) => origin === "function")) {
    print(`${tool.name}: ${tool.description}`);
}

// The spell calls them.
print("10 km in miles:", await tools.execute("to_miles", { km: 10 }));
print("words:", await tools.execute("count_words", { text: "the quick brown fox" }));

// What does not fit is an error that names the place, and the function is not called.
try {
    print("fits:", tools.validate("to_miles", { km: "ten" }));
} catch (error) {
    print("fits:", (error as Error).message);
}

// A model calls them. What it wants and what it is told are events.
const agent = agents.create({
    name: "helper",
    systemPrompt: "Answer in one sentence. Use the tools for what they are made for.",
    tools: ["to_miles", "count_words"],
    onEvent(event) {
        if (event.type === "tool_call") {
            console.log(`  ${event.name} ${JSON.stringify(event.arguments)}`);
        } else if (event.type === "tool_result") {
            console.log(`  ${event.name} = ${event.content}`);
        }
    },
});
console.log((await agent.run(params.question)).text);
