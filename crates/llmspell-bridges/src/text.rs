//! The `text` bridge: templates, chunks, Markdown and comparison of texts.

mod chunk;
mod compare;
mod markdown;
mod table;
mod template;
mod writer;

use llmspell_core::{Context, Result};
use llmspell_macros::bridge;

pub use chunk::{ChunkOptions, Unit};
pub use compare::TextOrVector;

/// Prepares texts for models: templates, chunks, Markdown, differences and similarity.
#[bridge]
#[since("0.1")]
pub mod text {
    use llmspell_core::{Context, Error, Map, Result};

    use super::{ChunkOptions, TextOrVector, compare, markdown, template};

    /// Renders a template with variables.
    ///
    /// The syntax is Jinja's: `{{ name }}` shows a value, `{% for item in items %}…{% endfor %}` repeats,
    /// `{% if … %}…{% endif %}` chooses, `{{ items|join(", ") }}` filters. An unknown variable is an error. There are
    /// no other blocks, and `*` is not available: compute values in the spell. Fails with the kind `parse`, naming
    /// the line, when the template is invalid or costs too much.
    ///
    /// ```luau
    /// local prompt = text.template("Hello, {{ name }}!{% for file in files %}\n- {{ file }}{% endfor %}", {
    ///     name = "Ada",
    ///     files = {"a.txt", "b.txt"},
    /// })
    /// assert(prompt == "Hello, Ada!\n- a.txt\n- b.txt")
    ///
    /// local nothing, err = text.template("Hello, {{ nmae }}!", {name = "Ada"})
    /// assert(nothing == nil and err.kind == "parse")
    /// ```
    pub fn template(cx: &Context, source: String, vars: Option<Map>) -> Result<String> {
        let memory = cx.meter().limits().memory / 2;
        template::render(&source, vars.unwrap_or_default(), memory)
    }

    /// Splits a text into chunks that fit a model.
    ///
    /// A chunk ends at a paragraph if possible, else at a line, a sentence or a word. No chunk is longer than `size`.
    /// Without `overlap`, the chunks joined are the text.
    ///
    /// ```luau
    /// local pieces = text.chunk("One two. Three four.", {size = 10, by = "chars"})
    /// assert(pieces[1] == "One two. " and pieces[2] == "Three " and pieces[3] == "four.")
    ///
    /// for _, piece in text.chunk("A long text. ", {size = 500, overlap = 50}) do
    ///     assert(llm.count_tokens(piece) <= 500)
    /// end
    /// ```
    pub fn chunk(cx: &Context, text: String, options: Option<ChunkOptions>) -> Result<Vec<String>> {
        super::chunk(cx, &text, &options.unwrap_or_default())
    }

    /// Converts HTML to Markdown. Headings, lists, links, tables and code are kept; scripts and styles are dropped.
    ///
    /// ```luau
    /// local page = "<h1>Hi</h1><p>See <a href='/docs'>the <b>docs</b></a>.</p><script>x()</script>"
    /// assert(text.html_to_markdown(page) == "# Hi\n\nSee [the **docs**](/docs).\n")
    /// ```
    pub fn html_to_markdown(cx: &Context, html: String) -> Result<String> {
        markdown::markdown(cx.meter(), &html)
    }

    /// Returns the line differences of two texts in the unified format, or an empty text if they are equal.
    ///
    /// ```luau
    /// assert(text.diff("one\ntwo\n", "one\n2\n") == "--- a\n+++ b\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n")
    /// assert(text.diff("same", "same") == "")
    /// ```
    pub fn diff(cx: &Context, a: String, b: String) -> Result<String> {
        cx.meter().allow_memory(4 * (a.len() + b.len()) as u64)?;
        compare::diff(&a, &b)
    }

    /// Returns the similarity of two texts, from 0 to 1, or of two vectors, from -1 to 1.
    ///
    /// For texts, this is the share of character pairs that occur in both (Dice's coefficient), ignoring white space.
    /// For vectors, such as those of `llm.embed`, it is the cosine of the angle between them: 1 for the same
    /// direction, 0 for orthogonal vectors, -1 for opposite directions.
    ///
    /// ```luau
    /// assert(text.similarity("night", "night") == 1)
    /// assert(text.similarity("night", "nacht") == 0.25)
    /// assert(text.similarity("night", "day") == 0)
    /// assert(text.similarity({1, 0}, {0, 2}) == 0)
    /// ```
    pub fn similarity(cx: &Context, a: TextOrVector, b: TextOrVector) -> Result<f64> {
        match (a, b) {
            (TextOrVector::Text(a), TextOrVector::Text(b)) => {
                cx.meter().allow_memory(4 * (a.len() + b.len()) as u64)?;
                compare::similarity(&a, &b)
            }
            (TextOrVector::Vector(a), TextOrVector::Vector(b)) => compare::cosine(&a, &b),
            _ => Err(Error::argument("a text and a vector cannot be compared: expected two of one kind")),
        }
    }
}

fn chunk(cx: &Context, text: &str, options: &ChunkOptions) -> Result<Vec<String>> {
    let measure: chunk::Measure<'_> = match options.by {
        Unit::Chars => Box::new(|text| Ok(text.chars().count() as u64)),
        Unit::Words => Box::new(|text| Ok(text.split_whitespace().count() as u64)),
        Unit::Tokens => {
            let model = crate::llm::chosen_model(cx)?;
            Box::new(move |text| cx.models().count_tokens(text, &model))
        }
    };
    let pieces = chunk::Chunker::new(options, cx.meter(), measure)?.pieces(text)?;
    let bytes: usize = pieces.iter().map(|piece| piece.len() + size_of::<String>()).sum();
    cx.meter().allow_memory(bytes as u64)?;
    Ok(pieces.into_iter().map(|piece| text[piece].to_owned()).collect())
}
