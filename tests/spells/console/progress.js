// Progress is shown to the user and is no output.
const bar = console.progress(3, "Reading");
for (let step = 1; step <= 3; step++) {
    bar.message(`file ${step}`);
    bar.advance();
}
bar.finish();
bar.update(2); // What comes after the end is not shown, and no error.
console.progress().advance(5);

const refused = (f) => {
    try {
        f();
    } catch (error) {
        console.log(`false\t${error.message}`);
    }
};
refused(() => bar.update(-1));
// @ts-expect-error A count is no text.
refused(() => console.progress("many"));
