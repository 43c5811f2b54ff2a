// A conversation with a model in the terminal. The model sees all that was said before, in earlier runs too.

const HISTORY = "history";

// A conversation that goes on behind these messages.
const conversation = (messages: Spell.Message[]) =>
    llm.conversation({ system: params.system, maxTokens: params.max_tokens, messages });

const before: Spell.Message[] | undefined = await storage.get(HISTORY);
let talk = conversation(before ?? []);

const commands = new Map<string, (rest: string) => void | Promise<void>>([
    [
        "/help",
        () => {
            console.log("/model [NAME]  show or change the model\n/history       show what was said");
            console.log("/new           forget what was said\n/quit          leave");
        },
    ],
    [
        "/history",
        () => {
            for (const { role, content } of talk.messages) {
                console.log(`${role}: ${content}`);
            }
        },
    ],
    [
        "/model",
        (name) => {
            try {
                if (name !== "") llm.setModel(name);
                console.log(`model: ${llm.getProvider()}/${llm.getModel()}`);
            } catch (error) {
                console.log(`cannot use ${name}: ${(error as SpellError).message}`);
            }
        },
    ],
    [
        "/new",
        async () => {
            await storage.delete(HISTORY);
            talk = conversation([]);
            console.log("a new conversation");
        },
    ],
]);

// Says a text to the model, shows its answer as it arrives and keeps both. What fails is said; the conversation goes on.
async function say(text: string) {
    try {
        await talk.stream(text, (chunk: string) => console.write(chunk));
        await storage.set(HISTORY, talk.messages);
        console.log();
    } catch (error) {
        if (!(error instanceof SpellError)) throw error;
        console.log(`[${error.kind}] ${error.message}`);
    }
}

console.log("Talk to me. /help lists the commands; /quit, or the end of input, leaves.");
if (before) {
    console.log(`We go on behind ${before.length} messages; /new forgets them.`);
}
for (;;) {
    const line = await console.readLine("> ");
    // The end of input.
    if (line == null) break;
    const [word = "", ...rest] = line.trim().split(/\s+/);
    if (word === "/quit") break;
    const command = commands.get(word);
    if (command) {
        await command(rest.join(" "));
    } else if (word.startsWith("/")) {
        console.log(`there is no command ${word}; /help lists them`);
    } else if (word !== "") {
        await say(line);
    }
}
