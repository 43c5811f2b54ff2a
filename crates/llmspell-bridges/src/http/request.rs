//! What a script says of a request: options, a body, or the whole of it.

use bytes::Bytes;
use indexmap::IndexMap;
use llmspell_core::capability::HttpRequest;
use llmspell_core::chat::Seconds;
use llmspell_core::{Callback, Context, Error, Result, Value, from_value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::json::encode::encode;

/// The type of what is read by hand, for documents.
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

/// How to send a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestOptions {
    /// Header fields by name.
    headers: IndexMap<String, Plain>,
    /// Names and values to add to the URL; a list of values gives its name to each.
    query: IndexMap<String, PlainOrList>,
    /// A value to send as JSON in the place of a body.
    json: Option<Value>,
    /// The most seconds it may take, redirects and the whole answer included; 60 unless it says otherwise.
    timeout: Option<Seconds>,
    /// Whether the request may be sent again when the run is resumed. It carries a header `Idempotency-Key`, the same
    /// each time, by which the server tells a repetition; without one, a `POST` is never sent twice.
    idempotent: bool,
    /// Is called with each piece of the body as it comes. Returning `false` stops quietly, a text with that as the
    /// error.
    on_chunk: Option<Callback>,
}

/// A request as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WholeRequest {
    /// Where to: `https://…` or `http://…`.
    url: String,
    /// The method; `GET` unless it says otherwise.
    #[serde(default = "get")]
    method: String,
    /// Header fields by name.
    #[serde(default)]
    headers: IndexMap<String, Plain>,
    /// Names and values to add to the URL; a list of values gives its name to each.
    #[serde(default)]
    query: IndexMap<String, PlainOrList>,
    /// What to send: a text, or a table that is sent as JSON.
    #[serde(default)]
    body: Option<Body>,
    /// A value to send as JSON in the place of a body.
    #[serde(default)]
    json: Option<Value>,
    /// The most seconds it may take, redirects and the whole answer included; 60 unless it says otherwise.
    #[serde(default)]
    timeout: Option<Seconds>,
    /// Whether redirects are followed; they are unless it says otherwise.
    #[serde(default = "yes")]
    follow: bool,
    /// Whether the request may be sent again when the run is resumed. It carries a header `Idempotency-Key`, the same
    /// each time, by which the server tells a repetition; without one, a `POST` is never sent twice.
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
    /// Writes them into a request, and returns who wants its answer in pieces.
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

/// Options, or the content type alone.
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

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Body {
    /// As it is.
    Text(String),
    /// As it is, and no text.
    Bytes(Vec<u8>),
    /// As JSON.
    Json(Value),
}

impl Body {
    /// The bytes, and the content type they have unless the script says otherwise.
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

/// A text, number or boolean, written as text.
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

/// One or more of them.
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
