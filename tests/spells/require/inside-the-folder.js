// Modules are found beside the file that asks, and loaded once.
import * as shapes from "./lib/shapes.js";
const again = await import("./lib/shapes");
console.assert(again === shapes);
console.log(`${shapes.name}\t${shapes.square(3)}`);
