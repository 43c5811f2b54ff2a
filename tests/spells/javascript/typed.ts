// Types are left out, and lines and columns stay.
interface Answer {
    text: string;
    words: number;
}

type Asked = Record<string, Answer>;

async function ask<T extends string>(question: T, options?: { model?: string }): Promise<Answer> {
    const text = (await llm.chat(question, options)) as string;
    return { text, words: text.split(" ").length } satisfies Answer;
}

const asked: Asked = { ada: await ask("Hello Ada") };
console.log(asked.ada!.text, asked["ada"].words);
await ask("Hello", { model: "no-such-model" });
