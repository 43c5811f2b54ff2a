import { square } from "./areas";

export const name = "shapes";
export { square };
