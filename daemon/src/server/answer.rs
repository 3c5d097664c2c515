//! What the HTTP routes say when they refuse: a code for programs, a sentence for people.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// When a client that was turned away for want of room may ask again, in seconds: long enough to spread a crowd that
/// comes back together, short enough that nobody gives up.
const COME_BACK_SECONDS: u16 = 5;

/// `{"error":{"code":…,"message":…}}` with the status.
pub fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

/// The same with a header that HTTP wants beside the status.
pub fn refusal_with(refused: Response, name: HeaderName, value: &'static str) -> Response {
    let mut refused = refused;
    refused.headers_mut().insert(name, HeaderValue::from_static(value));
    refused
}

/// There is no room now, and when to ask again.
pub fn come_back(status: StatusCode, code: &str, message: &str) -> Response {
    let mut refused = refusal(status, code, message);
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(COME_BACK_SECONDS));
    refused
}
