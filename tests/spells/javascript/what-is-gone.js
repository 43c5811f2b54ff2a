// Every door out of the sandbox is shut, and asking for it is an ordinary undefined.
const gone = ["eval", "require", "process", "Deno", "Bun", "std", "os", "SharedArrayBuffer", "Atomics", "WeakRef"];
for (const name of gone) {
    console.assert(globalThis[name] === undefined, `${name} is there`);
}
const refused = (what, f) => {
    try {
        f();
    } catch (error) {
        return;
    }
    throw new Error(`${what} can be done`);
};
refused("code from text", () => new Function("return 1"));
refused("code from text by a constructor", () => (() => {}).constructor("return 1")());
refused("to change a bridge", () => {
    // @ts-expect-error It is there for good.
    llm.chat = undefined;
});
refused("to take from a bridge", () => {
    // @ts-expect-error It is there for good.
    delete llm.chat;
});
refused("to give a bridge a prototype", () => Object.setPrototypeOf(llm, {}));
console.log("shut");
