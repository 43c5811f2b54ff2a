// Agents by name: functions of the script, and agents with a model.
const failure = async (work) => {
    try {
        return await work();
    } catch (error) {
        return error;
    }
};
const print = (...values) => console.log(values.join("\t"));
print(agents.register("shout", (input, options) => input.toUpperCase() + "!".repeat(options?.marks ?? 1)));
print(agents.register("echo", agents.create({name: "echo", description: "Says it again."})));
print(await agents.execute("shout", "hello"), await agents.execute("shout", "hello", {marks: 3}));
print((await agents.execute("echo", "hello")).text);

for (const name of ["shout", "echo"]) {
    let text = "";
    await agents.stream(name, "one two", (chunk) => {
        text += chunk;
    });
    print(text);
}
for (const agent of agents.list()) print(agent.name, agent.kind, agent.description);
const counter = {
    description: "Counts.",
    count: 0,
    execute(input, options) {
        this.count += 1;
        return `${input} ${this.count}`;
    },
    stream(input, options, onChunk) {
        onChunk(input);
        onChunk(`, ${this.count} so far`);
    },
};
print(agents.register("counter", counter));
print(await agents.execute("counter", "number"), await agents.execute("counter", "number"), counter.count);
await agents.stream("counter", "counted", (chunk) => print(chunk));
print(agents.get("counter").kind, agents.get("counter").description);
print(agents.remove("counter") === undefined);
print(agents.get("echo").kind, (await failure(() => agents.get("ecko"))).hint);
print((await failure(() => agents.register("shout", () => {}))).message);
print(agents.remove("shout") === undefined, agents.list().length, (await failure(() => agents.remove("shout"))).kind);
print(agents.register("shout", () => { throw new Error("no voice"); }));
print((await failure(() => agents.execute("shout", "x"))).message);
