// Nothing outside the spell's own folder can be had, and what exists there cannot be told.
for (const path of ["../error/message", "/etc/hostname", "./lib/../../error/message", "./nothing", "..", ""]) {
    const error = await import(path).catch((error) => error);
    console.log(`${path}\t${!(error instanceof Error)}`);
    console.assert(!error.message.includes("permission"));
}
