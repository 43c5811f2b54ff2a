// Summarises the texts in a folder, several at a time. Each summary is written as soon as it is there, and what has one
// already is skipped: after Ctrl-C, or a failure, a second run does the rest.

const summaryOf = (path: string) => `${params.out}/${path.replace(/^.*\//, "").replace(/\.txt$/, ".md")}`;

const todo: string[] = [];
let skipped = 0;
for (const path of await fs.glob(`${params.dir}/*.txt`)) {
    if (await fs.exists(summaryOf(path))) {
        skipped++;
    } else {
        todo.push(path);
    }
}

// What is beyond the budget is left out.
async function summarise(path: string) {
    const [beginning] = text.chunk(await fs.read(path), { size: params.budget });
    if (beginning === undefined) {
        throw new Error("the file is empty");
    }
    const summary = await llm.chat(`Summarise this text in two sentences.\n\n${beginning}`);
    await fs.write(summaryOf(path), `${summary}\n`);
}

const bar = console.progress(todo.length, "summarising");
let failed = 0;
async function work(path: string) {
    try {
        await summarise(path);
    } catch (error) {
        // It would be the same with all others.
        if (error instanceof SpellError && error.kind === "permission.denied") throw error;
        failed++;
        log.error(`${path}: ${(error as Error).message}`);
    }
    bar.advance();
}
await promise.map(todo, work, { concurrency: params.at_once });
bar.finish();

console.log(`${todo.length - failed} summarised, ${skipped} skipped, ${failed} failed`);
if (failed > 0) {
    throw new Error("not every file has a summary; a second run tries the others again");
}
