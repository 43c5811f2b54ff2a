//! Converts HTML to Markdown.
//!
//! The converter works on the stream of tags and texts, without a tree. The meaning of a tag depends on a few stacks
//! of bounded depth, so the time is linear in the size of the page and nothing recurses. Crates that build a
//! browser's tree take minutes for a page of 100,000 nested `<div>`, or overflow the stack.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use llmspell_core::{Meter, Result};

use super::writer::{Mark, MarkdownWriter};

/// The number of tokens between two checks of the run's limits.
const STRIDE: usize = 1024;

/// Elements whose content is not text for readers.
const SKIPPED: &[&[u8]] = &[
    b"script",
    b"style",
    b"template",
    b"noscript",
    b"title",
    b"svg",
    b"iframe",
    b"object",
    b"canvas",
    b"textarea",
    b"select",
];

/// Elements that only begin and end a paragraph.
const BLOCKS: &[&[u8]] = &[
    b"address",
    b"article",
    b"aside",
    b"body",
    b"center",
    b"dd",
    b"details",
    b"dialog",
    b"div",
    b"dl",
    b"dt",
    b"fieldset",
    b"figcaption",
    b"figure",
    b"footer",
    b"form",
    b"header",
    b"hgroup",
    b"main",
    b"nav",
    b"p",
    b"search",
    b"section",
    b"summary",
];

/// Converts a page to Markdown.
///
/// # Errors
/// Returns an error when a limit of the run is reached.
pub(super) fn markdown(meter: &Meter, html: &str) -> Result<String> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut page = Page { writer: MarkdownWriter::default(), skipping: None };
    for (number, Ok(token)) in Tokenizer::new_with_emitter(html, emitter).enumerate() {
        page.token(token);
        if number % STRIDE == 0 {
            meter.check()?;
            meter.allow_memory(page.writer.len() as u64)?;
        }
    }
    Ok(page.writer.finish())
}

struct Page {
    writer: MarkdownWriter,
    /// The skipped element that is open, and how many elements of its name are nested.
    skipping: Option<(&'static [u8], u32)>,
}

impl Page {
    fn token(&mut self, token: Token) {
        match token {
            Token::StartTag(tag) => self.start(&tag),
            Token::EndTag(tag) => self.end(&tag.name),
            Token::String(text) if self.skipping.is_none() => {
                self.writer.text(&String::from_utf8_lossy(&text))
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: &StartTag<()>) {
        let name: &[u8] = &tag.name;
        if let Some((skipped, depth)) = &mut self.skipping {
            *depth += u32::from(name == *skipped && !tag.self_closing);
            return;
        }
        if let Some(skipped) = SKIPPED.iter().find(|skipped| **skipped == name) {
            self.skipping = (!tag.self_closing).then_some((*skipped, 1));
            return;
        }
        let writer = &mut self.writer;
        match name {
            b"br" => writer.line_break(),
            b"hr" => writer.rule(),
            b"pre" => writer.open_block_code(),
            b"code" | b"kbd" | b"samp" | b"tt" => writer.open_code(language(tag)),
            b"b" | b"strong" => writer.open(Mark::Strong),
            b"i" | b"em" => writer.open(Mark::Emphasis),
            b"s" | b"del" | b"strike" => writer.open(Mark::Struck),
            b"a" => writer.open_link(attribute(tag, b"href")),
            b"img" => {
                let text = attribute(tag, b"alt").unwrap_or_default();
                writer.image(&text, attribute(tag, b"src").unwrap_or_default());
            }
            b"blockquote" => writer.open_quote(),
            b"ul" | b"menu" => writer.open_list(None),
            b"ol" => {
                let first = attribute(tag, b"start").and_then(|start| start.trim().parse().ok());
                writer.open_list(Some(first.unwrap_or(1)));
            }
            b"li" => writer.open_item(),
            b"table" => writer.open_table(),
            b"tr" => writer.open_row(),
            b"td" | b"th" => writer.open_cell(),
            b"caption" => writer.open_caption(),
            _ => match heading(name) {
                Some(level) => writer.open_heading(level),
                None if BLOCKS.contains(&name) => writer.paragraph(),
                None => {}
            },
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some((skipped, depth)) = &mut self.skipping {
            *depth -= u32::from(name == *skipped);
            if *depth == 0 {
                self.skipping = None;
            }
            return;
        }
        let writer = &mut self.writer;
        match name {
            b"pre" => writer.close_block_code(),
            b"code" | b"kbd" | b"samp" | b"tt" => writer.close_code(),
            b"b" | b"strong" => writer.close(Mark::Strong),
            b"i" | b"em" => writer.close(Mark::Emphasis),
            b"s" | b"del" | b"strike" => writer.close(Mark::Struck),
            b"a" => writer.close_link(),
            b"blockquote" => writer.close_quote(),
            b"ul" | b"menu" | b"ol" => writer.close_list(),
            b"li" => writer.close_item(),
            b"table" => writer.close_table(),
            b"td" | b"th" | b"caption" => writer.close_cell(),
            _ if heading(name).is_some() => writer.close_heading(),
            _ if BLOCKS.contains(&name) => writer.paragraph(),
            _ => {}
        }
    }
}

fn heading(name: &[u8]) -> Option<usize> {
    match name {
        [b'h', level @ b'1'..=b'6'] => Some(usize::from(level - b'0')),
        _ => None,
    }
}

fn attribute(tag: &StartTag<()>, name: &[u8]) -> Option<String> {
    tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Returns the language of code, from the class that highlighters read: `language-luau`.
fn language(tag: &StartTag<()>) -> Option<String> {
    let class = attribute(tag, b"class")?;
    let named = class.split_whitespace().find_map(|class| class.strip_prefix("language-"))?;
    let plain =
        named.len() <= 32 && named.chars().all(|letter| letter.is_alphanumeric() || "+-#._".contains(letter));
    plain.then(|| named.to_owned())
}
