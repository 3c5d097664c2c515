//! What the HTTP routes say when they refuse: a code for programs, a sentence for people.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// When a client that was turned away for want of room may ask again, in seconds: long enough to spread a crowd that
/// comes back together, short enough that nobody gives up.
const COME_BACK_SECONDS: &str = "5";

/// An answer `{"error":{"code":…,"message":…}}` with its status, and the header that HTTP may want beside it.
#[derive(Debug)]
pub struct Denied {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(HeaderName, &'static str)>,
    /// The whole body, where clients know another wording.
    body: Option<&'static str>,
}

impl Denied {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None, body: None }
    }

    /// Nobody is known by the token, or there is none.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_required", message).with(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// The daemon is stopping; `message` says what that means for this request.
    pub fn draining(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message).for_now()
    }

    /// The path is right and the method is not; `allowed` lists those that are.
    pub fn wrong_method(allowed: &'static str) -> Self {
        let message = format!("this path is asked with {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).with(header::ALLOW, allowed)
    }

    pub fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The same with this body, if any.
    pub fn worded(self, body: Option<&'static str>) -> Self {
        Self { body, ..self }
    }

    /// The whole answer, for a client that is sent away before it has asked.
    pub fn into_bytes(self) -> Vec<u8> {
        let body = self.body();
        let mut head = format!("HTTP/1.1 {}\r\ncontent-type: application/json\r\nconnection: close\r\n", self.status);
        if let Some((name, value)) = &self.header {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code and the sentence.
    pub fn error(&self) -> Value {
        json!({"code": self.code, "message": self.message})
    }

    /// Says beside another body what the refusal says beside its own.
    pub fn add_header(self, answer: &mut Response) {
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }

    fn body(&self) -> String {
        let usual = || json!({"error": self.error()}).to_string();
        self.body.map_or_else(usual, str::to_owned)
    }

    /// There is no room now; the client may come back.
    pub fn for_now(self) -> Self {
        self.with(header::RETRY_AFTER, COME_BACK_SECONDS)
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut answer = (self.status, json, self.body()).into_response();
        self.add_header(&mut answer);
        answer
    }
}
