// The tools that are there from the start. Each may do what the spell may do.
const print = (...values) => console.log(values.join("\t"));
const execute = async (name, args) => {
    try {
        return await tools.execute(name, args);
    } catch (error) {
        print(`${name}: ${error.kind}`);
    }
};
print(await execute("calculator", {expression: "(1 + 2) * 3^2 / sqrt(9)"}));
await execute("calculator", {expression: "1 / 0"});

const now = await execute("datetime");
print(now.date.length, now.time.length, now.utc_offset, now.unix > 1700000000);
print((await execute("datetime", {utc_offset: 5.5})).utc_offset);

print(await execute("write_file", {path: "granted/note.txt", text: "remember the milk"}));
print(await execute("read_file", {path: "granted/note.txt"}));
print(await execute("read_file", {path: "granted/note.txt", max_bytes: 8}));
print((await execute("list_files", {path: "granted"})).join(","));
print((await execute("list_files", {path: "granted/*.txt"})).join(","));
await execute("read_file", {path: "elsewhere/note.txt"});

print(await execute("web_fetch", {url: "https://pages.example/json"}));
await execute("web_fetch", {url: "https://pages.example/nothing"});
await execute("web_fetch", {url: "https://elsewhere.example/"});

// Each method of a bridge is a tool too.
print(await execute("text.similarity", {a: "night", b: "nacht"}), await execute("fs.exists", {path: "granted/note.txt"}));
try {
    tools.get("llm.stream_chat");
} catch (error) {
    print(error.kind);
}
