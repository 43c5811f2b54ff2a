// Values keep their types, and lists their nulls.
await storage.set("value", { list: [1, null, {}], none: json.null, number: 1.5, text: "ü", yes: true });
console.log(json.encode(await storage.get("value")));
console.log((await storage.get("missing")) === undefined);
await storage.set("flag", false);
console.log(await storage.get("flag"));

for (const key of ["b", "a", "a:2", "a:1", "ab", "%", "_"]) {
    await storage.set(key, key);
}
console.log((await storage.keys("a")).join(" "));
console.log((await storage.keys()).join(" "));
const deleted = [await storage.delete("a"), await storage.delete("a"), (await storage.get("a")) === undefined];
console.log(deleted.join("\t"));

console.log(await storage.update("count", (count) => (count ?? 40) + 1));
const next = await storage.update("count", (count) => count + 1);
console.log(`${next}\t${await storage.get("count")}`);
const failing = () => {
    throw new Error("not today");
};
await storage.update("count", failing).catch((error) => console.log(error.message));
console.log(await storage.get("count"));

const refused = (work) => work.catch((error) => console.log(error.message));
await refused(storage.update("count", () => {}));
await refused(storage.set("key", undefined));
await refused(storage.set("", 1));
await refused(storage.set("k".repeat(1025), 1));
await refused(storage.set("key", { f: console.log }));
