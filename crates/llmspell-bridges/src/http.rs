//! The `http` bridge: HTTP requests to granted hosts.

mod request;
mod response;
mod utf8_decoder;

use bytes::Bytes;
use llmspell_core::capability::{HttpHead, HttpRequest};
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value};
use llmspell_macros::bridge;

pub use request::{Body, RequestOptions, SendOptions, WholeRequest};
pub use response::ReceivedResponse;
use utf8_decoder::{Utf8Decoder, text_of};

/// Makes HTTP requests to the hosts that the spell was granted.
///
/// A host must be granted with `--allow-net=HOST`. An address that is not public must be granted itself. Up to five
/// redirects are followed, each checked like the first request; credentials and cookies are sent only to the origin
/// for which they were set. A request may take a minute unless `timeout` is set. A body over 10 MB, after
/// decompression, is an error. All methods fail with `permission.denied`, `parse` (not a URL), `network`, `timeout`
/// and `bad_response`.
#[bridge]
#[since("0.1")]
pub mod http {
    use llmspell_core::{Context, Map, Result, Value};

    use super::{Body, ReceivedResponse, RequestOptions, SendOptions, WholeRequest};

    /// Fetches a URL and returns the body.
    ///
    /// A status of 400 or above is an error of the kind `http`: `err.status` is the status, and `err.body` the first
    /// 64 KB of the body. With `on_chunk`, that function is called with each part of the body as it arrives, up to 1
    /// GB, and the result is empty; it can stop the request like the callback of `llm.stream_chat`.
    ///
    /// ```luau
    /// local body, err = http.get("https://example.com", {query = {page = 2}, timeout = 10})
    /// if not body then
    ///     print(err.kind, err.hint) -- permission.denied: run it with --allow-net=example.com:443
    /// end
    /// ```
    pub async fn get(cx: Context, url: String, options: Option<RequestOptions>) -> Result<String> {
        super::text(&cx, options.unwrap_or_default(), "GET", url, None).await
    }

    /// Sends a body to a URL and returns the body of the response.
    ///
    /// A table is sent as JSON, a text unchanged. The third argument may also be just the content type. Fails like
    /// `http.get`.
    ///
    /// ```luau
    /// local answer = http.post("https://example.com/notes", {title = "Hello"})
    /// local second = http.post("https://example.com/notes", "a,b\n1,2\n", "text/csv")
    /// print(answer, second)
    /// ```
    pub async fn post(
        cx: Context,
        url: String,
        body: Option<Body>,
        options: Option<SendOptions>,
    ) -> Result<String> {
        super::text(&cx, options.unwrap_or_default().0, "POST", url, body).await
    }

    /// Puts a body at a URL and returns the body of the response.
    ///
    /// Takes the same arguments as `http.post`, and fails like `http.get`.
    ///
    /// ```luau
    /// local answer = http.put("https://example.com/notes/1", {title = "Hello"})
    /// print(answer)
    /// ```
    pub async fn put(
        cx: Context,
        url: String,
        body: Option<Body>,
        options: Option<SendOptions>,
    ) -> Result<String> {
        super::text(&cx, options.unwrap_or_default().0, "PUT", url, body).await
    }

    /// Sends a DELETE request to a URL and returns the body of the response.
    ///
    /// Fails like `http.get`.
    ///
    /// ```luau
    /// local answer = http.delete("https://example.com/notes/1")
    /// print(answer)
    /// ```
    pub async fn delete(cx: Context, url: String, options: Option<RequestOptions>) -> Result<String> {
        super::text(&cx, options.unwrap_or_default(), "DELETE", url, None).await
    }

    /// Sends a request and returns the whole response, whatever its status.
    ///
    /// ```luau
    /// local response, err = http.request {
    ///     url = "https://example.com/notes",
    ///     method = "PATCH",
    ///     headers = {["X-Note"] = "1"},
    ///     json = {title = "Hello"},
    ///     follow = false,
    /// }
    /// if response and response.ok and response.headers["Content-Type"] == "application/json" then
    ///     print(response.status, response:json().title)
    /// end
    /// ```
    pub async fn request(cx: Context, request: WholeRequest) -> Result<Response> {
        let (response, held) = cx.net().fetch(request.into_request(&cx)?).await?;
        Ok(Response(ReceivedResponse::new(response, held)))
    }

    /// The response of a server.
    #[derive(Debug)]
    pub struct Response(ReceivedResponse);

    #[object]
    impl Response {
        /// Parses the body as JSON.
        ///
        /// Fails with the kind `parse`, like `json.decode`.
        ///
        /// ```luau
        /// local response = http.request {url = "https://example.com/notes.json"}
        /// local notes = response:json()
        /// ```
        pub fn json(&self, cx: &Context) -> Result<Value> {
            self.0.json(cx.meter())
        }

        /// Returns the bytes of the body, for data that is not text.
        ///
        /// ```luau
        /// local response = http.request {url = "https://example.com/logo.png"}
        /// local image = response:bytes()
        /// ```
        pub fn bytes(&self) -> Result<crate::bytes::Bytes> {
            Ok(self.0.bytes())
        }

        /// The status code: 200, 404, ….
        #[field]
        pub fn status(&self) -> Result<u16> {
            Ok(self.0.head().status)
        }

        /// Whether the status is from 200 to 299.
        #[field]
        pub fn ok(&self) -> Result<bool> {
            Ok((200..300).contains(&self.0.head().status))
        }

        /// The URL of the response, after all redirects.
        #[field]
        pub fn url(&self) -> Result<String> {
            Ok(self.0.head().url.clone())
        }

        /// The header fields, by name in any case. If a field occurs several times, the first one counts.
        #[field]
        pub fn headers(&self) -> Result<Headers> {
            Ok(Headers(self.0.fields()))
        }

        /// The body as text. Invalid UTF-8 becomes U+FFFD.
        #[field]
        pub fn body(&self) -> Result<String> {
            Ok(self.0.text())
        }
    }

    /// The header fields of a response, by name in any case. A loop visits all, with names in lower case.
    #[derive(Debug)]
    pub struct Headers(Map);

    #[object]
    impl Headers {
        /// The fields.
        #[entries]
        pub fn entries(&self) -> Result<Map> {
            Ok(self.0.clone())
        }
    }
}

/// Sends a request. Returns the body as text, or passes its parts to a callback.
async fn text(
    cx: &Context,
    options: RequestOptions,
    method: &str,
    url: String,
    body: Option<Body>,
) -> Result<String> {
    let mut request = HttpRequest::new(method, url);
    let on_chunk = options.apply(cx, &mut request, body)?;
    match on_chunk {
        Some(on_chunk) => relay(cx, request, &on_chunk).await.map(|()| String::new()),
        None => page(cx, request).await.map(|(_, text)| text),
    }
}

/// Fetches a text. A status of 400 or above is an error.
pub(crate) async fn page(cx: &Context, request: HttpRequest) -> Result<(HttpHead, String)> {
    let (response, _held) = cx.net().fetch(request).await?;
    accepted(&response.head, &response.body)?;
    Ok((response.head, text_of(response.body)))
}

/// Calls `on_chunk` with each part of a body. Returning drops the stream, which closes its connection.
async fn relay(cx: &Context, request: HttpRequest, on_chunk: &Callback) -> Result<()> {
    let mut stream = cx.net().stream(request).await?;
    if stream.head().status >= 400 {
        let body = stream.rest().await?;
        return accepted(stream.head(), &body);
    }
    let mut pieces = Utf8Decoder::default();
    loop {
        let bytes = stream.next().await?;
        let text = match &bytes {
            Some(bytes) => pieces.push(bytes),
            None => pieces.rest(),
        };
        if !text.is_empty() {
            match on_chunk.call(vec![Value::Str(text)]).await? {
                Value::Bool(false) => return Ok(()),
                Value::Str(reason) => return Err(Error::new(ErrorKind::Stopped, reason)),
                _ => {}
            }
        }
        if bytes.is_none() {
            return Ok(());
        }
    }
}

/// The maximum size of an error response's body in `err.body`, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// Returns an error for a status of 400 or above.
fn accepted(head: &HttpHead, body: &Bytes) -> Result<()> {
    if head.status < 400 {
        return Ok(());
    }
    // The query is left out, because it may contain a key.
    let place = head.url.split('?').next().unwrap_or_default();
    let passing = matches!(head.status, 408 | 425 | 429 | 500 | 502 | 503 | 504);
    let mut error =
        Error::new(ErrorKind::Http, format!("{place} answered {}", head.status)).with_retryable(passing);
    let call = error.call_mut();
    call.status = Some(head.status);
    call.attempts = 1;
    call.retry_after = head.headers.get("retry-after").and_then(|wait| wait.parse().ok()).map(u32::into);
    call.body = Some(text_of(body.slice(..body.len().min(MAX_REFUSAL))));
    Err(error)
}
