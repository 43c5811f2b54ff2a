// Files beside the values.
const failing = async (work) => {
    try {
        return await work();
    } catch (error) {
        return error;
    }
};
await storage.write("notes/today.md", "remember the milk\n");
await storage.append("notes/today.md", "and the bread\n");
await storage.write("three.bin", new Uint8Array([0, 255, 1]));
console.log(await storage.read("notes/today.md"));
const bytes = await storage.readBytes("three.bin");
console.log(`${bytes.length}\t${(await failing(() => storage.read("three.bin"))).message}`);
console.log(`${(await storage.list()).join(" ")}\t${(await storage.list("notes")).join(" ")}`);
const there = [];
for (const path of ["notes", "notes/none", "three.bin/none"]) {
    there.push(await storage.exists(path));
}
console.log(there.join("\t"));
for (const path of ["", ".", "..", "../storage.db", "/etc/passwd", "~", "notes\\today.md", "notes/today.md.", "none"]) {
    const error = await failing(() => storage.read(path));
    console.log([path, error.kind, error.message].join("\t"));
}
console.log((await failing(() => storage.remove("notes"))).message);
await storage.remove("notes/today.md");
await storage.remove("notes");
console.log(`nil\tnil\t${await storage.exists("notes")}`);
