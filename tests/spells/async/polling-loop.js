// Old spells poll: with work between two looks, with a bound on the looks, and with `while (true)`.
const answers = [];
let errors = 0;
const ask = (count) => {
    for (let i = 1; i <= count; i++) {
        llm.chatAsync(`question ${i}`, (answer, error) => {
            if (error) {
                errors++;
            } else {
                answers.push(answer);
            }
        });
    }
};

ask(50);
while (async.pendingCount() > 0) {
    await async.processCallbacks();
    for (let i = 0; i < 10000; i++);
}
console.log([answers.length, errors, async.pendingCount()].join("\t"));

ask(20);
let looks = 0;
let seen = 0;
while (seen < 20 && looks < 100000) {
    seen += await async.processCallbacks();
    looks++;
}
console.log([answers.length, seen].join("\t"));

ask(1);
while (true) {
    await async.processCallbacks();
    if (answers.length === 71) {
        break;
    }
}
console.log(answers[70]);
