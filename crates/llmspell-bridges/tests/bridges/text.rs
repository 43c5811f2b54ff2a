//! The `text` bridge.

use std::sync::Arc;
use std::time::Duration;

use llmspell_core::{Context, Limits, Result, Value};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{Scripted, call, function, refusal, run_with, value};

async fn ask(method: &str, arguments: Vec<Value>) -> Result<Value> {
    call(&Context::builder().build(), method, arguments).await
}

/// Returns the processor time of the current thread, which does not depend on the load of the machine.
fn worked() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Runs on a thread with the stack size of a worker. Returns the processor time.
fn on_a_worker(
    method: &'static str,
    arguments: impl FnOnce() -> Vec<Value> + Send + 'static,
) -> (Result<Value>, Duration) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let arguments = arguments();
        let began = worked();
        (runtime.block_on(ask(method, arguments)), worked() - began)
    };
    std::thread::Builder::new().stack_size(8 << 20).spawn(work).unwrap().join().unwrap()
}

/// Checks that a text four times as large takes about four times the work, not sixteen times.
fn is_linear(name: &str, work: impl Fn(usize) -> Duration) {
    const NOISE: Duration = Duration::from_millis(20);
    let (few, many) = (work(1), work(4));
    assert!(many <= few * 8 + NOISE, "{name}: {few:?}, and {many:?} for four times as much");
}

#[tokio::test]
async fn templates_show_values() {
    let vars = json!({"name": "Ada", "list": [1, 2.5, "x"], "deep": {"a": [true, null]}, "html": "<b>&"});
    for (template, text) in [
        ("", ""),
        ("plain\n", "plain\n"),
        ("{{ name }} {{ name|upper }}", "Ada ADA"),
        ("{% for item in list %}[{{ item }}]{% endfor %}", "[1][2.5][x]"),
        ("{{ deep.a[0] }} {{ deep.a[1] is none }}", "True True"),
        ("{{ html }}", "<b>&"),
        ("{{ deep|tojson }}", "{\"a\": [true, null]}"),
        ("{% if nothing is defined %}a{% else %}b{% endif %}", "b"),
        ("{{ nothing|default('c') }}", "c"),
        ("{%- for i in range(1, 3) -%} {{ i }} {% endfor %}", "1 2 "),
    ] {
        let found = ask("text.template", vec![template.into(), value(vars.clone())]).await.unwrap();
        assert_eq!(found, Value::from(text), "{template}");
    }
    assert_eq!(ask("text.template", vec!["x".into()]).await.unwrap(), Value::from("x"));
}

#[tokio::test]
async fn wrong_templates_say_what_and_where() {
    for (template, message) in [
        ("a\n{{ nmae }}", "the template, line 2: undefined value: `nmae` is undefined"),
        ("{{ name.first.second }}", "the template, line 1: undefined value: `name.first` is undefined"),
        ("\n\n{% if %}", "the template, line 3: syntax error: unexpected end of block"),
        (
            "{% set a = 1 %}",
            "the template, line 1: there is no `set` block: `for` and `if` are all there are",
        ),
        ("{{ 2 * 3 }}", "the template, line 1: there is no `*`"),
        ("{{ name|nofilter }}", "the template, line 1: unknown filter: filter nofilter is unknown"),
    ] {
        let result = ask("text.template", vec![template.into(), value(json!({"name": "Ada"}))]).await;
        assert_eq!(refusal(result), format!("parse: {message}"), "{template}");
    }
    let vars = [("f".to_owned(), function(|_| Ok(Value::Nil)))].into_iter().collect::<llmspell_core::Map>();
    let refused = refusal(ask("text.template", vec!["".into(), vars.into()]).await);
    assert_eq!(
        refused,
        "argument: argument 2 (`vars`): a function cannot be part of a template: only data can"
    );
}

#[test]
fn a_template_cannot_run_away() {
    let doubling = format!("{{% set a = 'x' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60));
    let lists =
        |last: &str| format!("{{% set a = range(100000) %}}{}{last}", "{% set a = a + a %}".repeat(30));
    let nested = format!("{}x{}", "{% if 1 %}".repeat(10_000), "{% endif %}".repeat(10_000));
    for template in [
        "{% for i in range(1000000000) %}x{% endfor %}".to_owned(),
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}".to_owned(),
        "{{ 'x' * 90000000 }}".to_owned(),
        "{{ [0] * 90000000 }}".to_owned(),
        "{% set a = [a] %}".repeat(20_000),
        "{% set a = [a] %}".repeat(20_000) + "{{ a }}",
        "{% set n = namespace(a=0) %}{% for i in range(60000) %}{% set n.a = [n.a] %}{% endfor %}".to_owned(),
        "{% set n = namespace(a=0) %}{% for i in range(60000) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a|tojson }}".to_owned(),
        "{{ ([0] * 90000000) ~ 'x' }}".to_owned(),
        lists("{{ a }}"),
        lists("{{ a ~ 'x' }}"),
        lists("{{ a|join }}"),
        lists("{{ a|tojson }}"),
        lists("{{ a|string }}"),
        lists("{{ a == a }}"),
        lists("{{ 1 in a }}"),
        lists("{{ a|upper }}"),
        lists("{{ a|replace('1', '2') }}"),
        "{% if 1 %}".to_owned() + &"{% elif 1 %}".repeat(50_000) + "{% endif %}",
        "{% for x in [1] %}{% else %}".repeat(50_000),
        format!("{{{{ {} 1 }}}}", "-".repeat(2_000)),
        format!("{{{{ {} 1 }}}}", "not ".repeat(500)),
        format!("{{{{ 1{} }}}}", "+1".repeat(1_000)),
        format!("{{{{ a{} }}}}", ".b".repeat(1_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 2".repeat(165)),
        format!("{{{{ 1{} }}}}", "**1".repeat(650)),
        format!("{{{{ a{} }}}}", "[0]".repeat(650)),
        format!("{{% raw %}}{{{{ '{{% endraw %}}{{{{ ' }}}} {{{{ '{} }}}}", "+-1".repeat(100_000)),
        "{{ 'x'|indent(900000000) }}".to_owned(),
        "{{ ('x' * 5000)|replace('x', 'y' * 5000)|replace('y', 'z' * 5000) }}".to_owned(),
        doubling,
        nested,
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{{{{ {} 1 }}}}", "-".repeat(100_000)),
        format!("{{{{ {} true }}}}", "not ".repeat(100_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(200_000)),
        format!("{{{{ a{} }}}}", "|upper".repeat(100_000)),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
    ] {
        let shown = template[..40.min(template.len())].to_owned();
        let (result, took) = on_a_worker("text.template", move || vec![template.into(), value(json!({"a": "x"}))]);
        // Either result is fine, as long as the thread and the machine survive.
        drop(result);
        assert!(took < Duration::from_secs(2), "{took:?} {shown}");
    }
}

#[tokio::test]
async fn pieces_are_measured_in_what_was_asked_for() {
    let cx = run_with(&Arc::<Scripted>::default());
    let words = "one two three four five";
    for (options, pieces) in [
        (json!({"size": 2, "by": "words"}), json!(["one two ", "three four ", "five"])),
        (json!({"size": 8, "by": "chars"}), json!(["one two ", "three ", "four ", "five"])),
        // The model of these tests counts one token per byte.
        (json!({"size": 8}), json!(["one two ", "three ", "four ", "five"])),
        (json!({"size": 4, "overlap": 2, "by": "words"}), json!(["one two three four ", "three four five"])),
        (json!({}), json!([words])),
    ] {
        let found = call(&cx, "text.chunk", vec![words.into(), value(options.clone())]).await.unwrap();
        assert_eq!(found, value(pieces), "{options}");
    }
}

#[tokio::test]
async fn wrong_sizes_are_refused() {
    for (options, message) in [
        (json!({"size": 0, "by": "chars"}), "argument 2 (`options`): `size` is at least 1"),
        (
            json!({"size": 10, "overlap": 6, "by": "chars"}),
            "argument 2 (`options`): `overlap` is at most half of `size`, which is 10; found 6",
        ),
        (
            json!({"by": "pages"}),
            "argument 2 (`options`): `by`: expected \"tokens\" or \"chars\" or \"words\", found \"pages\"",
        ),
        (
            json!({"length": 3}),
            "argument 2 (`options`): `ChunkOptions` has no field `length`; it has `size`, `overlap`, `by`",
        ),
    ] {
        let refused = refusal(ask("text.chunk", vec!["a b".into(), value(options)]).await);
        assert_eq!(refused, format!("argument: {message}"));
    }
}

#[test]
fn a_large_text_is_cut_in_linear_time() {
    for (piece, count) in [("word ", 50_000), ("\n", 250_000), ("x", 250_000), ("e\u{301}", 75_000)] {
        let cut = |options: fn(usize) -> serde_json::Value| {
            is_linear(&format!("{piece:?} {}", options(1)), |times| {
                let (text, options) = (piece.repeat(count * times), options(times));
                let (result, took) = on_a_worker("text.chunk", move || vec![text.into(), value(options)]);
                result.unwrap();
                took
            });
        };
        cut(|_| json!({"by": "chars"}));
        cut(|_| json!({"by": "chars", "size": 500, "overlap": 250}));
        // Larger chunks, but not more of them.
        cut(|times| json!({"by": "words", "size": 25_000 * times}));
    }
}

#[tokio::test]
async fn differences_are_unified() {
    let lines = |change: &str| {
        (1..=9).map(|n| if n == 5 { format!("{change}\n") } else { format!("{n}\n") }).collect::<String>()
    };
    for (a, b, text) in [
        ("", "", ""),
        ("a", "a", ""),
        ("a\n", "a\nb\n", "--- a\n+++ b\n@@ -1 +1,2 @@\n a\n+b\n"),
        ("a\n", "a", "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"),
        (&lines("x"), &lines("y"), "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-x\n+y\n 6\n 7\n 8\n"),
    ] {
        assert_eq!(ask("text.diff", vec![a.into(), b.into()]).await.unwrap(), Value::from(text));
    }
}

#[test]
fn long_texts_are_compared_within_bounds() {
    let numbers = |step: usize| (0..100_000).map(|n| format!("{}\n", n * step % 7919)).collect::<String>();
    for method in ["text.diff", "text.similarity"] {
        let (result, took) = on_a_worker(method, move || vec![numbers(3).into(), numbers(5).into()]);
        result.unwrap();
        assert!(took < Duration::from_secs(4), "{method} {took:?}");
        let (result, _) =
            on_a_worker(method, || vec!["x".repeat(5 << 20).into(), "y".repeat(5 << 20).into()]);
        let message = "argument: the texts are too long to compare: 10485760 of 8388608 bytes";
        assert_eq!(refusal(result), message);
    }
}

#[tokio::test]
async fn pages_become_markdown() {
    for (html, text) in [
        ("", ""),
        ("  plain \n text ", "plain text\n"),
        ("<p>a<p>b", "a\n\nb\n"),
        ("<h1>One</h1><h2> Two </h2>three", "# One\n\n## Two\n\nthree\n"),
        ("a<br>b<br/><br>c", "a  \nb\n\nc\n"),
        ("a<hr>b", "a\n\n---\n\nb\n"),
        ("<b>a</b> <i> b </i><del>c</del>", "**a** *b* ~~c~~\n"),
        ("<b>a<i>b</b>c</i>d", "**a*b****c*d\n"),
        ("<b><p>a</p><p>b</p></b>", "**a**\n\n**b**\n"),
        ("<b> </b>x", "x\n"),
        ("<a href=/x>t <b>u</b></a>.", "[t **u**](/x).\n"),
        ("<b><a href=/x>t</a></b>", "**[t](/x)**\n"),
        ("<a href='/a b(c)'>t</a>", "[t](/a%20b%28c%29)\n"),
        ("<a href='javascript:x()'>t</a><a>u</a>", "tu\n"),
        ("<a href=/x><h3>t</h3><p>u</p></a>", "### [t](/x)\n\nu\n"),
        ("<img src=/i.png alt='a [b]'> <img src='data:x' alt=y>", "![a \\[b]](/i.png) y\n"),
        ("<code>a*b</code> <code>`</code>", "`a*b` `` ` ``\n"),
        (
            "x<pre><code class='hl language-luau'>\nif a &lt; b\n\n  end\n</code></pre>y",
            "x\n\n```luau\nif a < b\n\n  end\n```\n\ny\n",
        ),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>e", "- a\n- b\n  - c\n- d\n\ne\n"),
        ("<ol start=3><li>a<li><p>b</p><p>c</p></ol>", "3. a\n4. b\n\n   c\n"),
        ("x<blockquote>a<p>b<ul><li>c</ul></blockquote>d", "x\n\n> a\n>\n> b\n>\n> - c\n\nd\n"),
        ("<ul><li><pre>a\nb</pre></ul>", "- ```\n  a\n  b\n  ```\n"),
        (
            "<table><caption>T</caption><tr><th>a<th>b|c</tr><tr><td><p>1</p><td><ul><li>2</ul></table>x",
            "T\n\n| a | b\\|c |\n| --- | --- |\n| 1 | 2 |\n\nx\n",
        ),
        ("<table><tr><td><table><tr><td>a<td>b</table><td>c</table>", "| a b | c |\n| --- | --- |\n"),
        ("<table><tr><td>a</table>", "a\n"),
        ("<title>t</title><style>s</style><script>if (a<b) x('<p>')</script><svg><p>v</p></svg>ok", "ok\n"),
        ("<!-- c --><!doctype html>1. a_b _c_ *d* &lt;e&gt; # f", "1\\. a_b \\_c_ \\*d\\* \\<e> # f\n"),
        ("<p># a</p><p>- b</p>", "\\# a\n\n\\- b\n"),
        ("</p></ul></table></b></a></code></pre>x", "x\n"),
    ] {
        let found = ask("text.html_to_markdown", vec![html.into()]).await.unwrap();
        assert_eq!(found, Value::from(text), "{html}");
    }
}

#[test]
fn no_page_overflows_the_stack_and_each_is_written_in_linear_time() {
    for tag in [
        "<div>",
        "<b>",
        "<ul><li>",
        "<blockquote>",
        "<table><tr><td>",
        "<a href=x>",
        "<pre>",
        "<code>",
        "<svg>",
        "<b><p>",
        "<ul><li>x",
        "</div>",
        "<h1>x",
        "<td>x",
        "<br>x",
    ] {
        is_linear(tag, |times| {
            let page = format!("{}x", tag.repeat(25_000 * times));
            let (result, took) = on_a_worker("text.html_to_markdown", move || vec![page.into()]);
            result.unwrap();
            took
        });
    }
}

#[tokio::test]
async fn a_page_cannot_take_more_memory_than_the_spell_has() {
    let cx = Context::builder().limits(Limits { memory: 1 << 20, ..Limits::default() }).build();
    let page = format!("{}{}", "<blockquote>".repeat(24), "<p>x".repeat(100_000));
    let error = call(&cx, "text.html_to_markdown", vec![page.into()]).await.unwrap_err();
    assert_eq!(error.kind().as_str(), "limit.memory");
}

proptest! {
    #[test]
    fn no_page_makes_it_panic(tags in prop::collection::vec(any_piece(), 0..60)) {
        let block_on = |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        let page = tags.concat();
        let made = block_on(async { ask("text.html_to_markdown", vec![page.into()]).await });
        prop_assert!(made.is_ok());
    }
}

/// A tag, or some text.
fn any_piece() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "p",
        "b",
        "i",
        "a",
        "code",
        "pre",
        "ul",
        "ol",
        "li",
        "blockquote",
        "table",
        "caption",
        "tr",
        "td",
        "h2",
        "br",
        "hr",
        "img",
        "script",
        "svg",
        "div",
    ];
    prop_oneof![
        prop::sample::select(NAMES).prop_map(|name| format!("<{name} href=/x src=/y>")),
        prop::sample::select(NAMES).prop_map(|name| format!("</{name}>")),
        "[ \na*_`|é<&]{0,6}",
    ]
}
