// Reads invoices of any kind, in any language, into one table. What a model makes of a text is checked by a schema, and
// asked for again when it does not fit: what stands in the table is data, not prose.

interface Invoice {
    vendor: string;
    number: string;
    date: string;
    currency: string;
    total: number;
}

const INVOICE = { vendor: "string", number: "string", date: "string", currency: "string", total: "number" };

const QUESTION = `\
Read this invoice. The date is written YYYY-MM-DD, the currency is its code of three letters, and the total is what has to
be paid, tax included; that of a credit note is negative.

`;

// Each file gives a record or an error; one that cannot be read holds up no other.
async function read(path: string): Promise<{ path: string; invoice?: Invoice; error?: Error }> {
    try {
        const invoice: Invoice = await llm.extract(QUESTION + (await fs.read(path)), INVOICE, { temperature: 0 });
        return { path, invoice };
    } catch (error) {
        return { path, error: error as Error };
    }
}

const results = await promise.map(await fs.glob(`${params.dir}/*.txt`), read, { concurrency: params.at_once });

const padded = (text: string, width: number) => text + " ".repeat(Math.max(0, width - [...text].length));
const row = (vendor: string, number: string, date: string, total: string) =>
    console.log(`${padded(vendor, 32)} ${padded(number, 16)} ${padded(date, 10)} ${total}`);
const amount = (total: number, currency: string) => `${total.toFixed(2).padStart(14)} ${currency}`;
const totals = new Map<string, number>();
const failures: string[] = [];
row("VENDOR", "NUMBER", "DATE", "TOTAL".padStart(14));
for (const { path, invoice, error } of results) {
    if (invoice) {
        const { vendor, number, date, currency, total } = invoice;
        row(vendor, number, date, amount(total, currency));
        totals.set(currency, (totals.get(currency) ?? 0) + total);
    } else {
        failures.push(`${path}: ${error?.message}`);
    }
}
for (const currency of [...totals.keys()].sort()) {
    row("", "", "", amount(totals.get(currency)!, currency));
}
for (const failure of failures) log.error(failure);
console.log(`${results.length - failures.length} read, ${failures.length} not`);
