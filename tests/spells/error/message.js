// A plain message comes with its place and without it in the text.
function deep() {
    throw new Error("it broke");
}
deep();
