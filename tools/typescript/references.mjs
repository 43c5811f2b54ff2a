// Runs programs in TypeScript as its compilers translate them. Reads an array of programs, each an object of files whose
// `main.ts` is run, and writes for each of them what it came to by each compiler: its default export as JSON, the name of
// what it threw, or why the compiler refused it.
import { readFileSync } from "node:fs";
import { createContext, SourceTextModule } from "node:vm";

import * as esbuild from "esbuild";
import { transformSync } from "oxc-transform";
import ts from "typescript";

const COMPILERS = {
    async esbuild(name, text) {
        return (await esbuild.transform(text, { loader: "ts", format: "esm", target: "esnext", logLevel: "silent" })).code;
    },
    async oxc(name, text) {
        const { code, errors } = transformSync(name, text, { lang: "ts", sourceType: "module", target: "esnext" });
        if (errors.length > 0) throw new Error(errors[0].message);
        return code;
    },
    async tsc(name, text) {
        const compilerOptions = { target: "esnext", module: "esnext", isolatedModules: true };
        const { outputText, diagnostics } = ts.transpileModule(text, { fileName: name, compilerOptions, reportDiagnostics: true });
        if (diagnostics.length > 0) throw new Error(ts.flattenDiagnosticMessageText(diagnostics[0].messageText, " "));
        return outputText;
    },
};

async function run(compile, files) {
    const code = {};
    try {
        for (const [name, text] of Object.entries(files)) code[name] = await compile(name, text);
    } catch (error) {
        return { refused: error.message };
    }
    const context = createContext({});
    const modules = new Map();
    const load = (specifier) => {
        const name = specifier.replace("./", "");
        if (!modules.has(name)) modules.set(name, new SourceTextModule(code[name], { context, identifier: name }));
        return modules.get(name);
    };
    try {
        const main = load("main.ts");
        await main.link(load);
        await main.evaluate({ timeout: 1000 });
        return { value: JSON.parse(JSON.stringify(await main.namespace.default) ?? "null") };
    } catch (error) {
        return { threw: error.name };
    }
}

// A program may leave promises behind that nobody awaits.
process.on("unhandledRejection", () => {});
const results = [];
for (const files of JSON.parse(readFileSync(0, "utf8"))) {
    const of = await Promise.all(Object.entries(COMPILERS).map(async ([name, compile]) => [name, await run(compile, files)]));
    results.push(Object.fromEntries(of));
}
// Standard output is a pipe, and what is behind a promise may hold the process up.
process.stdout.write(JSON.stringify(results), () => process.exit());
