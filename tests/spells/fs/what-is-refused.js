// Each refusal, and what to do about it.
async function told(what, work) {
    const error = await work.catch((error) => error);
    console.log(`${what}: ${error.kind}: ${error.message}`);
    if (error.hint) {
        console.log(`  ${error.hint}`);
    }
}

await fs.write("granted/a.txt", "a");
await fs.write("granted/bytes", new Uint8Array([97, 98, 255]));
await told("outside", fs.read("data/a.txt"));
await told("to write", fs.write("data/a.txt", ""));
await told("in the working folder", fs.read("a.txt"));
await told("the working folder", fs.list("."));
await told("absolute", fs.read("/etc/passwd"));
await told("upwards", fs.read("granted/../granted/a.txt"));
await told("home", fs.read("~/.ssh/id_rsa"));
await told("drive", fs.read("C:/a"));
await told("NUL", fs.read("granted/a.txt\0"));
await told("nothing there", fs.read("granted/b.txt"));
await told("a folder", fs.read("granted"));
await told("no folder", fs.list("granted/a.txt"));
await told("through a file", fs.write("granted/a.txt/b", ""));
await told("no text", fs.read("granted/bytes"));

const raised = (work) => work.catch((error) => console.log(error.message));
await raised(fs.glob("granted/{a"));
// @ts-expect-error A number is no text.
await raised(fs.write("granted/a.txt", 7));
