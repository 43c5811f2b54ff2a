// Asks several providers the same question and shows their answers side by side.

import { columns } from "./columns.ts";

const named: string[] = params.providers.split(/[,\s]+/).filter(Boolean);
const providers = named.length > 0 ? named : llm.listProviders();

// One row for one provider. A provider that fails is a row too: the others still have something to say.
async function ask(provider: string): Promise<string[]> {
    try {
        const { model, usage, text } = await llm.generate({
            provider,
            messages: [{ role: "user", content: params.prompt }],
            maxTokens: params.max_tokens,
        });
        const price = usage.cost_usd == null ? "?" : `$${usage.cost_usd.toFixed(5)}`;
        return [provider, model, `${usage.output_tokens}`, price, text];
    } catch (error) {
        if (!(error instanceof SpellError)) throw error;
        return [provider, "-", "-", "-", `failed (${error.kind}): ${error.message}`];
    }
}

const rows = [["PROVIDER", "MODEL", "TOKENS", "COST", "ANSWER"]];
for (const provider of providers) {
    rows.push(await ask(provider));
}
console.write(columns(rows));
