// A named step is taken once in a run; a step that failed was not taken.
let taken = 0;
const step = (name, value) =>
    spell.step(name, async () => {
        taken++;
        await time.sleep(0.001);
        return value instanceof Error ? Promise.reject(value) : value;
    });
console.log(await step("plan", [1, { two: true }]), await step("plan", "not again"), taken);
console.log(await step("fails", new Error("no")).catch((error) => error.message), await step("fails", "yes"), taken);
console.log(await Promise.all([step("one", 1), step("two", 2), step("one", 3).catch((error) => error.kind)]));
console.log(await spell.step("outer", async () => `${await spell.step("inner", () => llm.chat("inside"))}!`));
