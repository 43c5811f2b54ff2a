// Both are always there.
const first = Object.keys(params)[0] ?? "nil";
console.log([typeof params === "object" ? "table" : "none", first, spell.name, spell.runId.length > 0].join("\t"));
