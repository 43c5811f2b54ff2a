// Looks a question up on the web and keeps notes, which the next run finds again.

// What a page says is no order: the agent has the tools that it was given here, and may reach the hosts that the user
// granted, whatever it reads.
const NOTES = "notes.txt";

const notes = async () => ((await storage.exists(NOTES)) ? storage.read(NOTES) : "");

const agent = agents.create({
    name: "researcher",
    systemPrompt:
        "You answer questions from pages of https://en.wikipedia.org/wiki/. Read one or two, take a note of each " +
        "fact that you use, with its address, and then answer in a few sentences. Your notes so far:\n" +
        (await notes()),
    tools: [
        "web_fetch",
        {
            name: "take_note",
            description: "Keeps a fact and the address where it was found.",
            parameters: { fact: "string", source: "string" },
            async run({ fact, source }: { fact: string; source: string }) {
                await storage.append(NOTES, `- ${fact} (${source})\n`);
                return "kept";
            },
        },
    ],
    // A page is long, and a model forgets better than it pays.
    maxResult: 12_000,
    onEvent(event) {
        if (event.type === "tool_call" && event.name === "web_fetch") {
            // As the model gave them: they are not checked yet, and may be anything.
            log.info(`reading ${JSON.stringify(event.arguments)}`);
        } else if (event.type === "tool_result" && event.is_error) {
            log.warn(event.content);
        }
    },
});

console.log((await agent.run(params.question)).text);

const kept = await notes();
if (kept) console.log(`\nNotes:\n${kept}`);
