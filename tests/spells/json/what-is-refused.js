// What JSON cannot hold is an error that names the path to it.
const cycle = {};
cycle.self = cycle;
const refused = (f, what) => {
    try {
        f();
    } catch {
        return;
    }
    throw new Error(`${what} was taken`);
};
const values = { cycle, nan: { deep: [NaN] }, map: new Map(), function: { f: console.log } };
for (const [name, value] of Object.entries(values)) {
    refused(() => json.encode(value), name);
}
for (const text of ["", "{", "[1,]", "{'a':1}", "NaN", "[1] 2", "01", '"\\x"']) {
    refused(() => json.decode(text), text);
}
console.log("refused");
