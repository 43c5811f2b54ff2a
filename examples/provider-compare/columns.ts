// Lays rows out in columns. The last column is text of any length; its line ends are shown as spaces.

const flat = (text: string) => text.replace(/\s+/g, " ").trimStart();
const width = (text: string) => [...text].length;

export function columns(rows: string[][]): string {
    const cells = rows.map((row) => row.map(flat));
    const widest = (column: number) => Math.max(...cells.map((row) => width(row[column] ?? "")));
    const padded = (row: string[]) =>
        row.map((cell, at) => (at === row.length - 1 ? cell : cell + " ".repeat(widest(at) - width(cell))));
    return cells.map((row) => `${padded(row).join("  ")}\n`).join("");
}
