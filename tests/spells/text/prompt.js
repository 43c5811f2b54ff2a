// From a page to a prompt: Markdown, pieces, a template.
const page = `
<html><head><title>t</title><style>p {}</style></head><body>
<h1>Castles</h1><p>Old <b>castles</b> are <a href="/cold">cold</a>.</p>
<ul><li>moat</li><li>tower</li></ul>
<pre><code class="language-luau">print("hi")</code></pre>
</body></html>`;
const markdown = text.htmlToMarkdown(page);
console.log(markdown);
for (const [at, piece] of text.chunk(markdown, { size: 40, by: "chars" }).entries()) {
    console.log(`${at + 1}\t${json.encode(piece)}`);
}
const list = "{% for word in words %}{{ loop.index }}. {{ word }}\n{% endfor %}";
console.log(text.template(list, { words: ["moat", "tower"] }));
const refused = (f) => {
    try {
        return f();
    } catch (error) {
        return error.message;
    }
};
console.log(refused(() => text.template("a\n{{ oops }}", {})));
console.log(`${text.diff("moat\ntower\n", "moat\nkeep\n")}\t${text.similarity("tower", "towers")}`);
console.log(refused(() => text.chunk("x", { size: 0 })));
