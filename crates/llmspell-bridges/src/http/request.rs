//! Conversion of a script's values to HTTP requests: options, bodies and whole requests.

use bytes::Bytes;
use indexmap::IndexMap;
use llmspell_core::capability::HttpRequest;
use llmspell_core::chat::Seconds;
use llmspell_core::{Callback, Context, Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::json::encode::encode;

/// Implements the JSON Schema of a type whose conversion is written by hand.
macro_rules! schema {
    ($type:ty, |$generator:ident| $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// Options of a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestOptions {
    /// Header fields by name.
    headers: IndexMap<String, Plain>,
    /// Names and values to add to the URL's query; a list adds its name once per value.
    query: IndexMap<String, PlainOrList>,
    /// A value to send as JSON, instead of a body.
    json: Option<Value>,
    /// The time limit in seconds, including redirects and the whole response; default 60.
    timeout: Option<Seconds>,
    /// Whether a resumed run may send the request again. The request then carries an `Idempotency-Key` header, by which
    /// the server recognizes a repetition. Without this, a `POST` is never sent twice.
    idempotent: bool,
    /// Called with each chunk of the body. Returning `false` stops quietly; returning a text stops with that text as
    /// the error.
    on_chunk: Option<Callback>,
}

/// A complete request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WholeRequest {
    /// The URL: `https://…` or `http://…`.
    url: String,
    /// The method; default `GET`.
    #[serde(default = "get")]
    method: String,
    /// Header fields by name.
    #[serde(default)]
    headers: IndexMap<String, Plain>,
    /// Names and values to add to the URL's query; a list adds its name once per value.
    #[serde(default)]
    query: IndexMap<String, PlainOrList>,
    /// The body: a text, or a table to send as JSON.
    #[serde(default)]
    body: Option<Body>,
    /// A value to send as JSON, instead of a body.
    #[serde(default)]
    json: Option<Value>,
    /// The time limit in seconds, including redirects and the whole response; default 60.
    #[serde(default)]
    timeout: Option<Seconds>,
    /// Whether redirects are followed; default `true`.
    #[serde(default = "yes")]
    follow: bool,
    /// Whether a resumed run may send the request again. The request then carries an `Idempotency-Key` header, by which
    /// the server recognizes a repetition. Without this, a `POST` is never sent twice.
    #[serde(default)]
    idempotent: bool,
}

fn get() -> String {
    "GET".to_owned()
}

fn yes() -> bool {
    true
}

impl WholeRequest {
    pub(super) fn into_request(self, cx: &Context) -> Result<HttpRequest> {
        let Self { url, method, headers, query, body, json, timeout, follow, idempotent } = self;
        let mut request = HttpRequest::new(method, url);
        request.follow = follow;
        RequestOptions { headers, query, json, timeout, idempotent, on_chunk: None }.apply(
            cx,
            &mut request,
            body,
        )?;
        Ok(request)
    }
}

impl RequestOptions {
    /// Applies the options to a request. Returns the callback for chunks, if there is one.
    pub(super) fn apply(
        self,
        cx: &Context,
        request: &mut HttpRequest,
        body: Option<Body>,
    ) -> Result<Option<Callback>> {
        for (name, value) in &self.headers {
            request.headers.set(name, &value.0)?;
        }
        request.query = self
            .query
            .into_iter()
            .flat_map(|(name, values)| values.0.into_iter().map(move |value| (name.clone(), value)))
            .collect();
        if let Some(timeout) = self.timeout {
            request.timeout = timeout.duration();
        }
        request.idempotent = self.idempotent;
        let body = match (body, self.json) {
            (Some(_), Some(_)) => {
                return Err(Error::argument("a request has a body or `json`, and not both"));
            }
            (body, None) => body,
            (None, Some(json)) => Some(Body::Json(json)),
        };
        if let Some(body) = body {
            let (bytes, content_type) = body.into_bytes(cx)?;
            request.body = bytes;
            if let Some(content_type) = content_type
                && request.headers.get("content-type").is_none()
            {
                request.headers.set("content-type", content_type)?;
            }
        }
        Ok(self.on_chunk)
    }
}

/// Request options, or just the content type.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Value")]
pub struct SendOptions(pub(super) RequestOptions);

impl TryFrom<Value> for SendOptions {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        match value {
            Value::Str(content_type) => {
                let headers = IndexMap::from_iter([("content-type".to_owned(), Plain(content_type))]);
                Ok(Self(RequestOptions { headers, ..RequestOptions::default() }))
            }
            table => from_value(table).map(Self),
        }
    }
}

schema!(SendOptions, |generator| {"anyOf": [generator.subschema_for::<RequestOptions>(), {"type": "string"}]});

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Body {
    /// Text, sent unchanged.
    Text(String),
    /// Bytes, sent unchanged.
    Bytes(Vec<u8>),
    /// A value, sent as JSON.
    Json(Value),
}

impl Body {
    /// Returns the bytes and the default content type.
    fn into_bytes(self, cx: &Context) -> Result<(Bytes, Option<&'static str>)> {
        match self {
            Self::Text(text) => Ok((text.into(), Some("text/plain;charset=UTF-8"))),
            Self::Bytes(bytes) => Ok((bytes.into(), None)),
            Self::Json(value) => Ok((encode(cx.meter(), &value, false)?.into(), Some("application/json"))),
        }
    }
}

impl TryFrom<Value> for Body {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Str(text) => Ok(Self::Text(text)),
            Value::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            table @ (Value::List(_) | Value::Map(_)) => Ok(Self::Json(table)),
            other => Err(format!("expected string or table, found {}", other.type_name())),
        }
    }
}

schema!(Body, |_generator| {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": true}]});

/// A text, number or boolean, as text.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Plain(String);

impl TryFrom<Value> for Plain {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Str(text) => Ok(Self(text)),
            Value::Int(number) => Ok(Self(number.to_string())),
            Value::Num(number) if number.is_finite() => Ok(Self(number.to_string())),
            Value::Bool(answer) => Ok(Self(answer.to_string())),
            other => Err(format!("expected string, number or boolean, found {}", other.type_name())),
        }
    }
}

schema!(Plain, |_generator| {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]});

/// One or more plain values.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct PlainOrList(Vec<String>);

impl TryFrom<Value> for PlainOrList {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::List(values) => values
                .into_iter()
                .map(|value| Plain::try_from(value).map(|plain| plain.0))
                .collect::<Result<_, _>>()
                .map(Self),
            one => Plain::try_from(one).map(|plain| Self(vec![plain.0])),
        }
    }
}

schema!(PlainOrList, |generator| {"anyOf": [
    generator.subschema_for::<Plain>(),
    {"type": "array", "items": generator.subschema_for::<Plain>()},
]});
