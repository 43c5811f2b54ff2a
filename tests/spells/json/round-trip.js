// Lists stay lists, null stays null, and keys come sorted.
const value = json.decode('{"b": [1, 2.5, "x", null], "a": {"empty": [], "object": {}}}');
console.assert(value.b[3] === json.null);
console.log(json.encode({ a: value.a, b: value.b }));
console.log(`${json.encode(json.array([]))}\t${json.encode({})}`);
console.log(json.encode({ list: [1, 2] }, { pretty: true }));
