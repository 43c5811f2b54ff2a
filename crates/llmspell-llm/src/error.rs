//! Classifies the errors of providers and of the network.
//!
//! Messages consist of parts that are known to be harmless: a body is quoted short and escaped, and the API key is
//! removed from all text of a provider.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;

use llmspell_core::{CallInfo, Error, ErrorKind};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use crate::context_limit::{ContextOverflow, overflow};
use crate::provider::Unanswered;
use crate::refused::RefusedParameters;
use crate::retry::retry_after;

/// The maximum number of bytes of a body that an error quotes.
const MOST_QUOTED: usize = 200;

/// The maximum number of characters of a provider's message that an error repeats.
const MOST_MESSAGE: usize = 1_000;

/// Returns the error for a stream that ended too soon.
pub(crate) fn interrupted(why: &str) -> Error {
    Error::new(ErrorKind::StreamInterrupted, format!("the stream ended before the model had finished{why}"))
        .with_retryable(true)
}

/// Quotes bytes for a message: shortened, on one line, control characters escaped.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MOST_QUOTED)];
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    format!("`{}`{more}", escape(&String::from_utf8_lossy(cut)))
}

/// Escapes control characters and characters that change the text direction.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(escaped, "{}", letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Replaces the key in a text by `[key]`: plain, base64 and URL-encoded. A key of less than 8 bytes is ignored.
pub(crate) fn without_key(text: &str, key: Option<&SecretString>) -> String {
    let mut text = text.to_owned();
    if let Some(key) = key.map(ExposeSecret::expose_secret).filter(|key| key.len() >= 8) {
        for form in forms(key) {
            if text.contains(&form) {
                text = text.replace(&form, "[key]");
            }
        }
    }
    text
}

/// Returns the forms in which a text can contain a key. In base64 a key can start at three offsets within a group of
/// letters. The letters at both ends that also encode the neighbouring bytes are left out.
fn forms(key: &str) -> Vec<String> {
    let mut forms = vec![key.to_owned(), utf8_percent_encode(key, NON_ALPHANUMERIC).to_string()];
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for (before, shared) in [("", 0), ("x", 2), ("xx", 3)] {
            let whole = engine.encode(format!("{before}{key}"));
            let end = whole.len() - usize::from(!(before.len() + key.len()).is_multiple_of(3));
            forms.extend(whole.get(shared..end).map(str::to_owned));
        }
    }
    forms
}

/// Returns the error for an answer whose status is not a success.
pub(crate) fn from_status(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    key: Option<&SecretString>,
) -> Error {
    // Before any cut, since half a key would not be found.
    let text = without_key(&String::from_utf8_lossy(body), key);
    let json: Json = serde_json::from_str(&text).unwrap_or_default();
    let said = ProviderErrorFields::read(&json);
    let cause = cause_of(Some(status), &said);
    let kind = cause.kind;
    let message = match (&said.message, text.trim()) {
        // Once more, because JSON escapes may have hidden the key.
        (Some(message), _) => escape(&without_key(message, key)),
        (None, "") => "no message".to_owned(),
        (None, text) => quote(text.as_bytes()),
    };
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    let mut error = match status {
        300..=399 => Error::new(
            ErrorKind::BadResponse,
            format!(
                "answered {status} with a redirect, which is not followed: it could lead the key elsewhere"
            ),
        )
        .hint("is the base URL right?"),
        _ => Error::new(kind, format!("answered {status}: {message}"))
            .with_retryable(is_passing(kind) || said.is_slip()),
    };
    if matches!(status, 404 | 405) && kind == ErrorKind::BadRequest {
        error = error.hint("is the base URL right?");
    }
    if kind == ErrorKind::BadRequest
        && let Some((refused, hint)) =
            RefusedParameters::read(if json["error"].is_object() { &json["error"] } else { &json }, &message)
    {
        error = error.hint(hint).with_source(refused);
    }
    cause.complete(error.with_call(CallInfo {
        status: Some(status),
        request_id: request_id(headers, key),
        retry_after: retry_after(header).map(|wait| wait.as_secs_f64()).or(said.retry_delay),
        body: said.failed_generation.map(|text| without_key(&text, key)),
        ..CallInfo::default()
    }))
}

/// Returns the provider's id of a request, which its support asks for.
pub(crate) fn request_id(headers: &HeaderMap, key: Option<&SecretString>) -> Option<String> {
    let id = headers.get("x-request-id").or_else(|| headers.get("request-id"))?.to_str().ok()?;
    Some(escape(&without_key(id, key)))
}

/// Returns the error for a provider's error inside an answer that began with status 200.
pub(crate) fn from_body(json: &Json, key: Option<&SecretString>) -> Error {
    let said = ProviderErrorFields::read(json);
    let cause = cause_of(said.status, &said);
    let message = match &said.message {
        Some(message) => escape(&without_key(message, key)),
        None => quote(without_key(&json.to_string(), key).as_bytes()),
    };
    let error = Error::new(cause.kind, format!("broke off: {message}"));
    let retryable = is_passing(cause.kind) || said.is_slip();
    let mut error = cause.complete(error.with_retryable(retryable));
    if let Some(text) = &said.failed_generation {
        error.call_mut().body = Some(without_key(text, key));
    }
    error
}

/// Whether a body is an error instead of an answer.
pub(crate) fn is_error(json: &Json) -> bool {
    json["type"] == "error" || json["error"].is_object() || json["error"].is_string()
}

/// The fields of an error that are common to most providers.
#[derive(Debug, Default)]
struct ProviderErrorFields {
    message: Option<String>,
    /// The types and codes, in lower case.
    code: String,
    status: Option<u16>,
    /// The seconds to wait that the body asks for (Gemini).
    retry_delay: Option<f64>,
    /// The model's text in which the provider found no valid call (Groq).
    failed_generation: Option<String>,
    overflow: Option<ContextOverflow>,
}

impl ProviderErrorFields {
    fn read(json: &Json) -> Self {
        // Gemini wraps an error within a stream in a list.
        let json = json.get(0).unwrap_or(json);
        let error = if json["error"].is_null() { json } else { &json["error"] };
        let message: Option<String> = [&error["message"], error, &json["message"], &json["detail"]]
            .into_iter()
            .find_map(Json::as_str)
            .map(|message| message.chars().take(MOST_MESSAGE).collect());
        let mut code = String::new();
        for part in [&error["type"], &error["code"], &error["status"]] {
            if let Some(part) = part.as_str() {
                code.push_str(&part.to_lowercase());
                code.push(' ');
            }
        }
        let mut retry_delay = None;
        for detail in error["details"].as_array().into_iter().flatten() {
            code.push_str(&detail["reason"].as_str().unwrap_or_default().to_lowercase());
            let seconds =
                detail["retryDelay"].as_str().and_then(|delay| delay.strip_suffix('s')?.parse().ok());
            retry_delay =
                retry_delay.or(seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0));
        }
        let failed_generation =
            error["failed_generation"].as_str().map(|text| text.chars().take(MOST_MESSAGE).collect());
        let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let overflow = overflow(&code, message.as_deref().unwrap_or_default(), error);
        Self { message, code, status, retry_delay, failed_generation, overflow }
    }

    /// Whether the model made a mistake that it may not make again: a call of a tool that the provider cannot read.
    fn is_slip(&self) -> bool {
        self.mentions(&["tool_use_failed"])
    }

    fn mentions(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.code.contains(word))
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

fn kind_of(status: Option<u16>, said: &ProviderErrorFields) -> ErrorKind {
    if said.mentions(&["insufficient_quota", "billing", "insufficient_balance", "credit"])
        || said.says(&[
            "credit balance is too low",
            "exceeded your current quota, please check your plan and billing",
        ]) && !said.says(&["retry in"])
            && said.retry_delay.is_none()
    {
        return ErrorKind::Quota;
    }
    if said.is_slip() {
        return ErrorKind::BadResponse;
    }
    if said.mentions(&["model_not_found", "api_key_invalid"]) {
        let auth = said.mentions(&["api_key_invalid"]);
        return if auth { ErrorKind::Auth } else { ErrorKind::UnknownModel };
    }
    match status {
        Some(401 | 403) => ErrorKind::Auth,
        Some(402) => ErrorKind::Quota,
        // A wrong base URL also gives 404, but that is another mistake.
        Some(404) if said.says(&["model"]) => ErrorKind::UnknownModel,
        Some(429) => ErrorKind::RateLimited,
        Some(408 | 409 | 500..=599) => ErrorKind::Overloaded,
        Some(_) => ErrorKind::BadRequest,
        None if said.mentions(&["rate_limit", "resource_exhausted"]) => ErrorKind::RateLimited,
        None if said.mentions(&["authentication", "permission", "invalid_api_key"]) => ErrorKind::Auth,
        None if said.mentions(&["not_found"]) => ErrorKind::UnknownModel,
        None if said.mentions(&["invalid_request", "invalid_argument"]) => ErrorKind::BadRequest,
        // The provider is overloaded, failed internally, or gives no reason. In each case the request is not at fault.
        None => ErrorKind::Overloaded,
    }
}

/// The cause of a provider's error: its kind, and what the user can do about it.
#[derive(Debug)]
struct ErrorCause {
    kind: ErrorKind,
    hint: Option<&'static str>,
    limit_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
}

impl ErrorCause {
    fn of_kind(kind: ErrorKind) -> Self {
        Self { kind, hint: None, limit_tokens: None, prompt_tokens: None }
    }

    fn hinting(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    fn complete(self, mut error: Error) -> Error {
        if self.limit_tokens.is_some() || self.prompt_tokens.is_some() {
            let call = error.call_mut();
            (call.limit_tokens, call.prompt_tokens) = (self.limit_tokens, self.prompt_tokens);
        }
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The hint for a request that is longer than the context window.
pub(crate) const SHORTEN: &str = "shorten the request, or ask a model with a larger context window";

fn cause_of(status: Option<u16>, said: &ProviderErrorFields) -> ErrorCause {
    match said.overflow {
        Some(ContextOverflow::Prompt { limit, prompt }) => ErrorCause {
            kind: ErrorKind::ContextExceeded,
            hint: Some(SHORTEN),
            limit_tokens: limit,
            prompt_tokens: prompt,
        },
        Some(ContextOverflow::MaxTokens) => {
            ErrorCause::of_kind(ErrorKind::BadRequest).hinting("lower `max_tokens`")
        }
        None if said.says(&["does not support tools", "does not support function calling"]) => {
            ErrorCause::of_kind(ErrorKind::Unsupported)
                .hinting("an agent with `tool_mode = \"text\"` tells the model of its tools in words")
        }
        None if is_loading(status, said) => ErrorCause::of_kind(ErrorKind::ModelLoading).hinting(
            "the server was still loading the model; give the call more `timeout`, or try again later",
        ),
        None => ErrorCause::of_kind(kind_of(status, said)),
    }
}

/// Whether a local server, or one that starts models on demand, says that it is loading the model.
fn is_loading(status: Option<u16>, said: &ProviderErrorFields) -> bool {
    matches!(status, None | Some(500 | 502 | 503 | 425 | 409))
        && said.says(&[
            "loading model",
            "model is loading",
            "currently loading",
            "still loading",
            "model loading",
        ])
}

/// Whether an error of this kind may disappear on retry.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::ModelLoading)
}

/// Returns the error for a request without an answer.
pub(crate) fn from_transport(error: &reqwest::Error, address: &str) -> Error {
    let cause = root_cause(error);
    if let Some(tls) = find::<rustls::Error>(error) {
        return Error::new(
            ErrorKind::Network,
            format!("no secure connection to {address}: {}", escape(&tls.to_string())),
        );
    }
    if error.is_connect() {
        let why = if error.is_timeout() { "it took too long".to_owned() } else { cause };
        return Error::new(ErrorKind::Network, format!("no connection to {address}: {why}"))
            .with_retryable(true);
    }
    // A reset shows that the server did not process the request. A plain close can come after the work was done.
    let reset = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
    let lost = Error::new(ErrorKind::Network, format!("the connection to {address} was lost: {cause}"))
        .with_retryable(true);
    if reset { lost } else { lost.with_source(Unanswered) }
}

/// Returns the innermost cause only. The outer ones repeat the URL and could reveal more.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    escape(&innermost.to_string())
}

/// Returns the first error of this type in a chain of causes. `io::Error` does not expose the error it wraps through
/// `source`, so that is searched too.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = carried.and_then(|carried| find::<T>(carried)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_struck_out_in_every_form() {
        let key = "sk-canary/42+secret";
        let secret = SecretString::from(key);
        for around in ["", "a", "ab", "abc", "Bearer ", "Authorization: Bearer "] {
            for after in ["", "!", "!!", "\r\n"] {
                let text = format!("{around}{key}{after}");
                for shown in [
                    text.clone(),
                    STANDARD_NO_PAD.encode(&text),
                    URL_SAFE_NO_PAD.encode(&text),
                    utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string(),
                ] {
                    let struck = without_key(&shown, Some(&secret));
                    assert!(
                        struck.contains("[key]") && struck.len() < shown.len(),
                        "{shown} became {struck}"
                    );
                }
            }
        }
        assert_eq!(without_key("short", Some(&SecretString::from("short"))), "short");
    }

    #[test]
    fn a_status_and_what_the_provider_says_give_the_kind() {
        use ErrorKind::*;
        for (status, body, kind) in [
            (400, json!({"error": {"message": "bad"}}), BadRequest),
            (
                400,
                json!({"error": {"message": "no", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}),
                Auth,
            ),
            (401, json!({"error": {"message": "no"}}), Auth),
            (402, json!({"error": {"message": "pay"}}), Quota),
            (403, json!({"error": {"message": "no"}}), Auth),
            (404, json!({"error": {"code": "model_not_found", "message": "no"}}), UnknownModel),
            (
                404,
                json!({"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}),
                UnknownModel,
            ),
            (404, json!({"error": "model 'x' not found"}), UnknownModel),
            (404, json!({"detail": "Not Found"}), BadRequest),
            (404, json!({"error": {"type": "not_found_error", "message": "File Not Found"}}), BadRequest),
            (413, json!({"error": {"message": "long"}}), BadRequest),
            (422, json!({"detail": "what"}), BadRequest),
            (429, json!({"error": {"message": "slow"}}), RateLimited),
            (429, json!({"error": {"type": "insufficient_quota", "message": "pay"}}), Quota),
            (
                400,
                json!({"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}),
                Quota,
            ),
            (500, json!({}), Overloaded),
            (529, json!({"error": {"type": "overloaded_error"}}), Overloaded),
            (400, json!({"error": "registry.ollama.ai/library/m does not support tools"}), Unsupported),
            (
                413,
                json!({"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size."}}),
                ContextExceeded,
            ),
            (
                429,
                json!({"error": {"code": "rate_limit_exceeded", "message": "Request too large for m on tokens per min (TPM): Limit 6000, Requested 9000."}}),
                ContextExceeded,
            ),
            (
                500,
                json!({"error": {"message": "the input length exceeds the context length"}}),
                ContextExceeded,
            ),
            (
                503,
                json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
                ModelLoading,
            ),
            (503, json!({"error": "Model m is currently loading", "estimated_time": 20.0}), ModelLoading),
            (500, json!({"error": "llm server loading model"}), ModelLoading),
        ] {
            let error = from_status(status, &HeaderMap::new(), body.to_string().as_bytes(), None);
            assert_eq!(error.kind(), kind, "{status} {body}");
            let may_pass = matches!(kind, RateLimited | Overloaded | ModelLoading);
            assert_eq!(error.is_retryable(), may_pass, "{status} {body}");
            let has_cure = matches!(kind, ContextExceeded | ModelLoading | Unsupported);
            assert!(!has_cure || error.hints().len() == 1, "{status} {body}");
        }
    }

    #[test]
    fn an_error_inside_an_answer_is_told_by_its_type() {
        use ErrorKind::*;
        for (body, kind) in [
            (json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}), Overloaded),
            (json!({"error": {"type": "rate_limit_error", "message": "m"}}), RateLimited),
            (json!({"error": {"code": 429, "message": "m"}}), RateLimited),
            (json!({"error": {"type": "invalid_request_error", "message": "m"}}), BadRequest),
            (json!({"error": {"type": "authentication_error", "message": "m"}}), Auth),
            (json!({"error": "out of memory"}), Overloaded),
            (
                json!({"error": {"code": "context_length_exceeded", "message": "Your input exceeds the context window."}}),
                ContextExceeded,
            ),
            (json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]), Overloaded),
        ] {
            assert_eq!(from_body(&body, None).kind(), kind, "{body}");
        }
    }

    #[test]
    fn the_providers_words_are_kept_and_the_key_is_not() {
        let key = SecretString::from("sk-canary-123");
        let body = br#"{"error": {"message": "Incorrect API key provided: sk\u002dcanary-123.\u001b[31m"}}"#;
        let error = from_status(401, &HeaderMap::new(), body, Some(&key));
        assert_eq!(error.to_string(), r"answered 401: Incorrect API key provided: [key].\u{1b}[31m");
    }

    #[test]
    fn a_body_is_quoted_short_and_escaped() {
        assert_eq!(quote(b"<html>\n\x1b[0m"), r"`<html>\n\u{1b}[0m`");
        assert_eq!(quote(&[b'x'; 300]), format!("`{}`…", "x".repeat(200)));
    }
}
