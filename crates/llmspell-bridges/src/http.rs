//! The `http` bridge.

mod request;
mod response;
mod text;

use bytes::Bytes;
use llmspell_core::capability::{HttpHead, HttpRequest};
use llmspell_core::{Callback, Context, Error, ErrorKind, Result, Value};
use llmspell_macros::bridge;

pub use request::{Body, RequestOptions, SendOptions, WholeRequest};
pub use response::Received;
use text::{Pieces, text_of};

/// Makes HTTP requests to the hosts that the spell was granted.
///
/// Nothing can be reached that was not granted with `--allow-net=HOST`, and no address that is not public unless it was
/// granted itself. Up to five redirects are followed, each checked like the first; keys and cookies stay with the
/// host that they were sent to. A request may take a minute unless `timeout` says otherwise, and a body of more than
/// 10 MB, unpacked, is an error. All methods fail with `permission.denied`, `parse` (it is no URL), `network`,
/// `timeout` and `bad_response`.
#[bridge]
#[since("0.1")]
pub mod http {
    use llmspell_core::{Context, Map, Result, Value};

    use super::{Body, Received, RequestOptions, SendOptions, WholeRequest};

    /// Fetches a URL and returns the body.
    ///
    /// A status of 400 or more is an error of the kind `http`: `err.status` is the status, `err.body` the first 64 KB of
    /// what came with it. With `on_chunk` the body is handed to that function piece by piece as it comes, up to 1 GB of
    /// it, and what is returned is empty; it stops as `llm.stream_chat` does.
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

    /// Sends a body to a URL and returns the body of the answer.
    ///
    /// A table is sent as JSON, a text as it is. The third argument may also be the content type alone. Fails as
    /// `http.get` does.
    ///
    /// ```luau
    /// local answer, err = http.post("https://example.com/notes", {title = "Hello"})
    /// local second = http.post("https://example.com/notes", "a,b\n1,2\n", "text/csv")
    /// assert(err.kind == "permission.denied" and second == nil)
    /// ```
    pub async fn post(
        cx: Context,
        url: String,
        body: Option<Body>,
        options: Option<SendOptions>,
    ) -> Result<String> {
        super::text(&cx, options.unwrap_or_default().0, "POST", url, body).await
    }

    /// Puts a body at a URL and returns the body of the answer.
    ///
    /// It takes what `http.post` takes, and fails as `http.get` does.
    ///
    /// ```luau
    /// local answer, err = http.put("https://example.com/notes/1", {title = "Hello"})
    /// assert(err.kind == "permission.denied")
    /// ```
    pub async fn put(
        cx: Context,
        url: String,
        body: Option<Body>,
        options: Option<SendOptions>,
    ) -> Result<String> {
        super::text(&cx, options.unwrap_or_default().0, "PUT", url, body).await
    }

    /// Deletes what is at a URL and returns the body of the answer.
    ///
    /// Fails as `http.get` does.
    ///
    /// ```luau
    /// local answer, err = http.delete("https://example.com/notes/1")
    /// assert(err.kind == "permission.denied")
    /// ```
    pub async fn delete(cx: Context, url: String, options: Option<RequestOptions>) -> Result<String> {
        super::text(&cx, options.unwrap_or_default(), "DELETE", url, None).await
    }

    /// Sends a request and returns the whole answer, whatever its status.
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
        Ok(Response(Received::new(response, held)))
    }

    /// What a server answered.
    #[derive(Debug)]
    pub struct Response(Received);

    #[object]
    impl Response {
        /// Reads the body as JSON.
        ///
        /// Fails with the kind `parse`, as `json.decode` does.
        ///
        /// ```luau
        /// local response = http.request {url = "https://example.com/notes.json"}
        /// local notes = response and response:json()
        /// ```
        pub fn json(&self, cx: &Context) -> Result<Value> {
            self.0.json(cx.meter())
        }

        /// The body byte by byte as it came, for what is no text.
        ///
        /// ```luau
        /// local response = http.request {url = "https://example.com/logo.png"}
        /// local image = response and response:bytes()
        /// ```
        pub fn bytes(&self) -> Result<crate::bytes::Bytes> {
            Ok(self.0.bytes())
        }

        /// The status: 200, 404, ….
        #[field]
        pub fn status(&self) -> Result<u16> {
            Ok(self.0.head().status)
        }

        /// Whether the status is from 200 to 299.
        #[field]
        pub fn ok(&self) -> Result<bool> {
            Ok((200..300).contains(&self.0.head().status))
        }

        /// Where the answer came from, after all redirects.
        #[field]
        pub fn url(&self) -> Result<String> {
            Ok(self.0.head().url.clone())
        }

        /// The header fields. A name may be written in any case; of several fields by one name, it is the first.
        #[field]
        pub fn headers(&self) -> Result<Headers> {
            Ok(Headers(self.0.fields()))
        }

        /// The body as text; bytes that are no UTF-8 become U+FFFD.
        #[field]
        pub fn body(&self) -> Result<String> {
            Ok(self.0.text())
        }
    }

    /// The header fields of an answer, by name in any case. A `for` loop goes through all, their names in lower case.
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

/// Sends a request whose answer is text, or handed on piece by piece.
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

/// Fetches a text; a status of 400 or more is an error.
pub(crate) async fn page(cx: &Context, request: HttpRequest) -> Result<(HttpHead, String)> {
    let (response, _held) = cx.net().fetch(request).await?;
    accepted(&response.head, &response.body)?;
    Ok((response.head, text_of(response.body)))
}

/// Calls `on_chunk` with each piece of a body. Returning drops the stream, which closes its connection.
async fn relay(cx: &Context, request: HttpRequest, on_chunk: &Callback) -> Result<()> {
    let mut stream = cx.net().stream(request).await?;
    if stream.head().status >= 400 {
        let body = stream.rest().await?;
        return accepted(stream.head(), &body);
    }
    let mut pieces = Pieces::default();
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

/// The most bytes of a refusal's body that its error keeps.
const MAX_REFUSAL: usize = 64 * 1024;

/// Whether an answer is one: a status of 400 or more is an error.
fn accepted(head: &HttpHead, body: &Bytes) -> Result<()> {
    if head.status < 400 {
        return Ok(());
    }
    // A query may hold a key.
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
