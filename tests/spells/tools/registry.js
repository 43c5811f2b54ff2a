// A tool is a function with a schema: registered, listed, checked, run, and gone again.
const print = (...values) => console.log(values.join("\t"));
const failure = async (work) => {
    try {
        return await work();
    } catch (error) {
        return error;
    }
};
const ok = tools.register("area", "Works out an area.", {height: "number?", width: "number"}, (args) => {
    if (args.width < 0) throw new Error("there is no negative width");
    return args.width * (args.height ?? args.width);
});
print(ok, true);
print(await tools.execute("area", {width: 3, height: 4}), await tools.execute("area", {width: 5}));

print((await failure(() => tools.execute("area", {width: -1}))).message);
for (const args of [{width: "wide"}, {}, {width: 1, depth: 2}]) {
    const misfit = await failure(() => tools.validate("area", args));
    print(misfit instanceof SpellError, misfit.kind, misfit.message);
}
print(tools.validate("area", {width: 1}));

// An object says all in one; what is left out is filled in.
tools.register({
    name: "greet",
    description: "Greets somebody.",
    parameters: {
        type: "object",
        properties: {name: {type: "string", default: "you"}, times: {type: "integer", default: 1, maximum: 3}},
    },
    run: ({name, times}) => `Hello, ${name}! `.repeat(times),
});
print(await tools.execute("greet"), await tools.execute("greet", {name: "Ada", times: 2}));
print((await failure(() => tools.execute("greet", {times: 9}))).message);

// A tool may call tools and models.
tools.register("twice", "Does a sum twice.", {expression: "string"}, async (args) => {
    const once = await tools.execute("calculator", args);
    return {result: once * 2, said: await llm.chat("and?")};
});
const twice = await tools.execute("twice", {expression: "4 + 3"});
print(twice.result, twice.said);

const info = tools.get("area");
print(info.name, info.description, info.origin, info.confirm, info.parameters.properties.width.type);
print(tools.get("text.similarity").origin);
print(tools.list().map((tool) => tool.name).join(" "));

print(tools.remove("area") === undefined, (await failure(() => tools.remove("area"))).message);
print((await failure(() => tools.execute("aera"))).message);
print((await failure(() => tools.get("calculater"))).hint);
print((await failure(() => tools.get("fs.reed"))).hint);
print(tools.register("area", "Another one.", {}, () => "free again"), await tools.execute("area"));
print((await failure(() => tools.register("area", "", {}, () => {}))).message);
print((await failure(() => tools.register("a b", "", {}, () => {}))).message);
