// What was written can be read, listed, found and removed.
await fs.write("granted/notes/today.md", "remember the milk\n");
await fs.append("granted/notes/today.md", "and the bread\n");
await fs.append("granted/log.txt", "one\n");
await fs.write("granted/notes/.hidden.md", "");
await fs.write("granted/three.bin", new Uint8Array([0, 255, 1]));

console.log(await fs.read("granted/notes/today.md"));
console.log((await fs.readBytes("granted/three.bin")).length);
console.log((await fs.list("granted")).join(" "));
console.log((await fs.list("granted/notes")).join(" "));
console.log((await fs.glob("granted/**/*.{md,txt}")).join(" "));
console.log((await fs.glob("granted/*.txt")).join(" "));
console.log((await fs.glob("granted/notes/.*")).join(" "));

const info = await fs.stat("granted/notes/today.md");
console.log([info.kind, info.size, (info.modified ?? 0) > 1.7e9].join("\t"));
const folder = await fs.stat("granted/notes");
console.log([folder.kind, await fs.exists("granted/notes"), await fs.exists("granted/nothing")].join("\t"));

await fs.remove("granted/notes/today.md");
console.log(await fs.exists("granted/notes/today.md"));
await fs.remove("granted/notes").catch((error) => console.log(error.message));
