//! The `crypto` bridge: digests, base64 and random identifiers.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{
    STANDARD, STANDARD_NO_PAD_INDIFFERENT, URL_SAFE_NO_PAD, URL_SAFE_NO_PAD_INDIFFERENT,
};
use llmspell_core::{Error, ErrorKind, Result};
use llmspell_macros::bridge;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::bytes::Bytes;

/// Digests, base64 and random identifiers.
#[bridge]
#[since("0.1")]
pub mod crypto {
    use llmspell_core::{Context, Result};
    use ring::{digest, hmac};

    use super::{Base64Options, Bytes};

    /// Returns the SHA-256 digest of a byte string in hexadecimal.
    ///
    /// ```luau
    /// local digest = crypto.sha256("abc")
    /// assert(digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    /// ```
    pub fn sha256(text: Bytes) -> Result<String> {
        Ok(super::hex(digest::digest(&digest::SHA256, &text.0).as_ref()))
    }

    /// Returns the HMAC-SHA-256 of a byte string under a key, in hexadecimal.
    ///
    /// Anyone with the same key can verify that the text comes from someone who has the key.
    ///
    /// ```luau
    /// local tag = crypto.hmac_sha256("Jefe", "what do ya want for nothing?")
    /// assert(tag == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    /// ```
    pub fn hmac_sha256(key: Bytes, text: Bytes) -> Result<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        Ok(super::hex(hmac::sign(&key, &text.0).as_ref()))
    }

    /// Encodes bytes as base64 text.
    ///
    /// ```luau
    /// assert(crypto.base64_encode("hi?>") == "aGk/Pg==")
    /// assert(crypto.base64_encode("hi?>", {url_safe = true}) == "aGk_Pg")
    /// ```
    pub fn base64_encode(cx: &Context, text: Bytes, options: Option<Base64Options>) -> Result<String> {
        cx.meter().allow_memory(text.0.len() as u64 / 3 * 4)?;
        Ok(super::encode(&text, options.unwrap_or_default()))
    }

    /// Decodes base64 text, with or without padding.
    ///
    /// Fails with the kind `parse` when the text is not base64.
    ///
    /// ```luau
    /// assert(crypto.base64_decode("aGk/Pg==") == "hi?>")
    /// assert(crypto.base64_decode("aGk_Pg", {url_safe = true}) == "hi?>")
    ///
    /// local nothing, err = crypto.base64_decode("?")
    /// assert(nothing == nil and err.kind == "parse")
    /// ```
    pub fn base64_decode(cx: &Context, text: Bytes, options: Option<Base64Options>) -> Result<Bytes> {
        cx.meter().allow_memory(text.0.len() as u64)?;
        super::decode(&text, options.unwrap_or_default())
    }

    /// Returns a random UUID (version 4).
    ///
    /// ```luau
    /// local id = crypto.uuid()
    /// assert(#id == 36 and id ~= crypto.uuid())
    /// ```
    pub fn uuid(cx: &Context) -> Result<String> {
        Ok(uuid::Builder::from_random_bytes(cx.random().bytes()?).into_uuid().to_string())
    }

    /// Returns `bytes` random bytes in hexadecimal, with two digits each; at most 1,024 bytes.
    ///
    /// ```luau
    /// assert(#crypto.random_hex(16) == 32)
    /// ```
    pub fn random_hex(cx: &Context, bytes: u32) -> Result<String> {
        Ok(super::hex(&cx.random().list(super::count(bytes)?)?))
    }
}

/// The maximum number of random bytes per call.
const MAX_RANDOM: u32 = 1024;

/// Options for base64.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Base64Options {
    /// Whether to use the URL-safe alphabet: `-` and `_` instead of `+` and `/`, without padding.
    pub url_safe: bool,
}

fn encode(text: &Bytes, options: Base64Options) -> String {
    if options.url_safe { URL_SAFE_NO_PAD.encode(&text.0) } else { STANDARD.encode(&text.0) }
}

fn decode(text: &Bytes, options: Base64Options) -> Result<Bytes> {
    let engine = if options.url_safe { &URL_SAFE_NO_PAD_INDIFFERENT } else { &STANDARD_NO_PAD_INDIFFERENT };
    engine
        .decode(&text.0)
        .map(Bytes)
        .map_err(|error| Error::new(ErrorKind::Parse, format!("invalid base64: {error}")))
}

fn count(bytes: u32) -> Result<usize> {
    if (1..=MAX_RANDOM).contains(&bytes) {
        return Ok(bytes as usize);
    }
    Err(Error::argument(format!(
        "argument 1 (`bytes`): expected a number from 1 to {MAX_RANDOM}, found {bytes}"
    )))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
