// Reviews the code in a folder. The agent looks around by itself with the tools that it was given; what it answers with is
// data, checked by a schema, of which the spell makes the report.

type Severity = "error" | "warning" | "hint";

interface Review {
    summary: string;
    findings: { file: string; line?: number; severity: Severity; problem: string; advice: string }[];
}

const FINDINGS = {
    summary: "string",
    findings: [
        { file: "string", line: "integer?", severity: "error|warning|hint", problem: "string", advice: "string" },
    ],
};

const reviewer = agents.create({
    name: "reviewer",
    systemPrompt:
        `You review code. List the files in ${params.dir}, read each, and report what is wrong: bugs first, then ` +
        "what is unsafe, then what is hard to read. Report nothing that you have not read.",
    // It may list and read, in the folders that the spell was granted, and write nothing.
    tools: ["list_files", "read_file"],
    output: FINDINGS,
    maxTurns: 20,
    onEvent(event) {
        if (event.type === "tool_call") {
            log.info(`${event.name} ${event.arguments.path ?? ""}`);
        } else if (event.type === "tool_result" && event.is_error) {
            // The agent is told of it and goes on; the user should know too.
            log.warn(event.content);
        }
    },
});

const { output } = await reviewer.run(`Review the code in ${params.dir}.`);
const review = output as Review;

// The gravest first; what is of one kind stays in its order.
const lines = [`# Review of ${params.dir}`, "", review.summary, ""];
for (const severity of ["error", "warning", "hint"] satisfies Severity[]) {
    for (const finding of review.findings.filter((finding) => finding.severity === severity)) {
        const place = finding.line ? `${finding.file}:${finding.line}` : finding.file;
        lines.push(`- **${severity}** ${place}: ${finding.problem} ${finding.advice}`);
    }
}
await fs.write(params.report, `${lines.join("\n")}\n`);
console.log(`${review.findings.length} findings in ${params.report}`);
