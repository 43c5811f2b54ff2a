// A loop gets an answer piece by piece, and may be left early.
const stream = llm.stream("one two three");
let pieces: number = 0;
for await (const chunk of stream) {
    pieces += 1;
}
console.log(`${pieces > 1}\t${stream.text === (await llm.chat("one two three"))}\t${stream.reply?.finish_reason}`);

const left = llm.stream("one two three");
for await (const chunk of left) {
    console.log(chunk);
    break;
}
console.log(`${left.text}\t${left.reply ?? "nil"}`);

const never = llm.stream({ messages: [{ role: "user", content: "hello" }] }, { temperature: 0 });
console.log(`${never.text === ""}\t${never.reply ?? "nil"}`);

try {
    for await (const chunk of llm.stream("hello", { model: "no-such-provider/model" }));
} catch (error) {
    if (error instanceof SpellError) {
        console.log(`false\t${error.kind}`);
    }
}
