//! Web pages as text for a model.

use llmspell_core::capability::HttpRequest;
use llmspell_core::{Context, Result};

use crate::http;

/// Fetches a page. HTML is converted to Markdown.
pub(super) async fn fetch(cx: &Context, url: String, most: usize) -> Result<String> {
    let (head, text) = http::page(cx, HttpRequest::new("GET", url)).await?;
    let is_html = head.headers.get("content-type").is_some_and(|kind| kind.contains("html"));
    let text = if is_html { crate::text::text::html_to_markdown(cx, text)? } else { text };
    Ok(super::cut(text, most))
}
