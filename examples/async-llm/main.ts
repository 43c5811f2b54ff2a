// Several model calls at once, in five ways. A call starts at once, and what waits holds up nothing else.

let count = { underWay: 0, most: 0 };

// Asks a model, and counts how many are asked at the same time.
async function ask(prompt: string, options?: Spell.ChatOptions): Promise<string> {
    const mine = count;
    mine.underWay++;
    mine.most = Math.max(mine.most, mine.underWay);
    try {
        return await llm.chat(prompt, options);
    } finally {
        mine.underWay--;
    }
}

// Shows one of the ways, and how many calls overlapped in it.
async function show(title: string, run: () => Promise<void>) {
    // A new one each time: the slower one of two may end when the next way is shown already.
    count = { underWay: 0, most: 0 };
    console.log(`\n## ${title}`);
    await run();
    console.log(`(calls at once: ${count.most})`);
}

await show("All of them", async () => {
    // The questions are asked together, and the answers come in the order of the questions.
    const answers = await Promise.all([
        ask("In five words: what is a tide?"),
        ask("In five words: what is a comet?"),
        ask("In five words: what is yeast?"),
    ]);
    answers.forEach((answer) => console.log(answer));
});

await show("One after the other", async () => {
    const city = await ask("Name one city, and nothing else.");
    console.log(await ask(`In one sentence, what is this city known for? ${city}`));
});

await show("The faster one", async () => {
    // Ask twice, take the answer that comes first. The spell does not end before the other one is there, too.
    const prompt = "Name a colour, and nothing else.";
    const first = Promise.race([ask(prompt), ask(prompt)]);
    console.log(await promise.timeout(first, params.patience));
});

await show("What fails", async () => {
    // What fails rejects a promise; `catch` gives something in its place.
    const answer = await ask("Hello?", { provider: "nobody" }).catch(({ kind }: SpellError) => `no answer (${kind})`);
    console.log(answer);

    // And this waits for all, whatever becomes of each.
    const results = await Promise.allSettled([ask("Say yes."), ask("Say no.", { provider: "nobody" })]);
    for (const result of results) {
        const shown = result.status === "fulfilled" ? result.value : result.reason.kind;
        console.log(`${result.status}\t${shown}`);
    }
});

await show("A long list, two at a time", async () => {
    const words = ["sea", "star", "bread", "stone", "wind"];
    const rhyme = (word: string) => ask(`Name a rhyme for "${word}", and nothing else.`);
    const rhymes = await promise.map(words, rhyme, { concurrency: 2 });
    for (const [at, word] of words.entries()) {
        console.log(`${word}: ${rhymes[at]}`);
    }
});
