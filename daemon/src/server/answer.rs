//! What the HTTP routes say when they refuse: a code for programs, a sentence for people.

use axum::Json;
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
}

impl Denied {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// Nobody is known by the token, or there is none. Clients of the `user` dialect know one wording.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_required", message).with(header::WWW_AUTHENTICATE, "Bearer")
    }

    pub fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The whole answer, for a client that is sent away before it has asked.
    pub fn into_bytes(self) -> Vec<u8> {
        let body = self.body().to_string();
        let mut head = format!("HTTP/1.1 {}\r\ncontent-type: application/json\r\nconnection: close\r\n", self.status);
        if let Some((name, value)) = &self.header {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn body(&self) -> Value {
        json!({"error": {"code": self.code, "message": self.message}})
    }

    /// There is no room now; the client may come back.
    pub fn for_now(self) -> Self {
        self.with(header::RETRY_AFTER, COME_BACK_SECONDS)
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.body())).into_response();
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}
