// write adds nothing, readLine gives nothing at the end.
console.write("no line end");
console.write("\n");
const lines = [await console.readLine("? ")];
for (let i = 0; i < 3; i++) {
    lines.push((await console.readLine()) ?? "nil");
}
console.log(lines.join("\t"));
