//! Published conformance suites for JSON, in both languages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod json;
