// A named step is taken once in a run; a step that failed was not taken.

let taken = 0;
const step = (name, value, error) =>
    spell.step(name, () => {
        taken++;
        console.log(`taking ${name}`);
        if (error) throw new Error(error);
        return value;
    });
const failure = (work) => work.catch((error) => error.message);

console.log([(await step("plan", [1, { two: true }]))[1].two, (await step("plan", "not again"))[0], taken].join("\t"));
console.log([(await step("nothing")) === undefined, (await step("nothing", 1)) === undefined, taken].join("\t"));

// A step that fails, and another try.
const boom = () => {
    throw new Error("boom");
};
console.log(await failure(spell.step("raises", boom)));
console.log(await failure(step("returns", null, "no")));
console.log([await step("returns", "yes"), await step("returns", "no"), taken].join("\t"));

// One in another, and one beside another.
console.log(await spell.step("outer", async () => `${await spell.step("inner", () => llm.chat("inside"))}!`));
console.log(await spell.step("inner", () => "not again"));
const first = spell.step("slow", () => time.sleep(0.01).then(() => 1));
console.log(await failure(spell.step("slow", () => 2)));
console.log(`${await first}\t${await spell.step("slow", () => 3)}`);

// What cannot be kept, and names that are none.
console.log(await failure(spell.step("function", () => console.log)));
console.log(await failure(spell.step("", () => {})));
console.log(await spell.step("with.dot #1 100%", () => "any text"));
const isFrozen = !Reflect.set(spell, "name", "x");
console.log([spell.name, spell.version === null, typeof spell.runId, isFrozen].join("\t"));
