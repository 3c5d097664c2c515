//! Which web pages of other origins may use the HTTP routes of the client listeners: those that config names, each by
//! its name.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::answer::Denied;
use super::routes::Routes;

/// What pages may send: a token, a content type, and where an event source goes on.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, last-event-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What pages may see of an answer beside its body.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after");
/// How long a browser may remember the answer to its question, in seconds: as long as it takes to notice a reload.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const YES: HeaderValue = HeaderValue::from_static("true");

/// The configured origins; a reload replaces them.
#[derive(Default)]
pub struct Cors(RwLock<Arc<[String]>>);

impl Cors {
    pub fn set(&self, origins: &[String]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = origins.into();
    }

    /// The origin of a request, if it is one of the configured.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        let text = origin.to_str().ok()?;
        let configured = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_configured = configured.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(text));
        is_configured.then(|| origin.clone())
    }
}

/// The routes, with what browsers need to let pages of the configured origins use them.
pub fn around(routes: Routes, cors: Arc<Cors>) -> Routes {
    routes.around(|router| router.layer(middleware::from_fn_with_state(cors, answer)))
}

async fn answer(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let allowed = cors.allowed(request.headers());
    let asks_first = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut answer = match &allowed {
        Some(_) if asks_first => permission(),
        None if asks_first => {
            let message = "web pages of this origin may not use this listener; name it in server.cors";
            Denied::new(StatusCode::FORBIDDEN, "origin_refused", message).into_response()
        }
        _ => next.run(request).await,
    };
    let headers = answer.headers_mut();
    // Also where nothing is allowed: the answer for one origin must not be kept for another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES); // a cookie may carry the token
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
    answer
}

fn permission() -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str]) -> bool {
        let cors = Cors::default();
        cors.set(&["https://example.com".to_owned(), "http://other.example:8080/".to_owned()]);
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        cors.allowed(&headers).is_some()
    }

    #[test]
    fn only_a_configured_origin_is_allowed_also_no_loopback_one() {
        assert!(allowed(&["https://example.com"]) && allowed(&["https://EXAMPLE.com"]));
        assert!(allowed(&["http://other.example:8080"]));
        for other in [
            "https://example.com.evil.example",
            "http://example.com",
            "https://www.example.com",
            "null",
            "*",
            "",
            "http://localhost",
        ] {
            assert!(!allowed(&[other]), "{other}");
        }
        assert!(!allowed(&[]) && !allowed(&["https://example.com", "https://example.com"]));
    }
}
