import "./json.js";
import "./promise.js";
import "./array.js";
import "./string.js";
import "./regexp.js";
import { run } from "./check.js";

export default await run();
