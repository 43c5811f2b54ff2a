// The user of these tests types "one", "two", "three" and goes away.
console.log(await console.select("Which?", ["zero", "one"]));
console.log(await console.confirm("Sure?").catch((error) => error.message));
console.log(await console.select("Which?", []).catch((error) => error.message));
