// An agent may have other agents as its tools. Those that it calls in one turn work at the same time, each with a memory of
// its own, which begins anew with each task.

const helper = (name: string, description: string, systemPrompt: string) =>
    agents.create({ name, description, systemPrompt, budget: { modelCalls: 5 } });

const cook = helper("cook", "Says what to eat and drink, and how much of it.", "You plan food. Answer with a short list.");
const scout = helper("scout", "Says where to go and what to bring.", "You plan outings. Answer with a short list.");

const planner = agents.create({
    name: "planner",
    systemPrompt:
        "You plan. Hand one task to the cook and one to the scout, both at once, and join what they say to one plan.",
    tools: [cook, scout],
    // What the cook and the scout spend is part of it.
    budget: { modelCalls: 20 },
    onEvent(event) {
        if (event.type === "tool_call") {
            // As the model gave them: they are not checked yet, and may be anything.
            log.info(`${event.name} is asked ${JSON.stringify(event.arguments)}`);
        } else if (event.type === "tool_result" && event.is_error) {
            // The planner is told of it too, and may do without.
            log.warn(`${event.name} has failed`, { reason: event.content });
        } else if (event.type === "tool_result") {
            log.info(`${event.name} has answered`);
        }
    },
});

const result = await planner.run(params.goal);
console.log(result.text);
log.info("done", { turns: result.turns, tokens: result.usage.output_tokens });
