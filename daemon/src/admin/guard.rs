//! Who may see the admin pages: no web page of a foreign origin, nobody under a foreign name, and with a token only who
//! shows it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{Config, is_loopback};
use crate::server::answer::Denied;
use crate::server::http::Arrival;
use crate::server::origin::is_loopback_host;
use crate::server::token;
use crate::server::upgrade::{OPERATORS_EVENTS, OPERATORS_WEBSOCKET};

/// What a load balancer asks, which has no token: only whether the daemon lives and serves.
const OPEN_TO_ALL: [&str; 2] = ["/healthz", "/readyz"];

/// A secret that is kept as its hash only: comparing hashes takes the same time however much of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// The rules of the moment; a reload replaces them whole.
#[derive(Default)]
pub struct Guard(RwLock<Arc<Rules>>);

#[derive(Default)]
struct Rules {
    token: Option<Token>,
    /// Only this machine reaches the listener, so only names of this machine are right.
    is_local: bool,
}

impl Guard {
    pub fn set(&self, config: Config) {
        let rules = Rules { is_local: is_loopback(&config.listen), token: config.token };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Stands before every admin page.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    match guard.rules().check(&arrival, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

impl Rules {
    fn check(&self, arrival: &Arrival, request: &Request) -> Result<(), Denied> {
        let headers = request.headers();
        let host = only(headers, header::HOST);
        if self.is_local && arrival.peer.is_some() && !host.is_some_and(is_loopback_host) {
            let message = "the admin listener answers to localhost, 127.0.0.1 and [::1] only; ask it by such a name";
            return Err(Denied::new(StatusCode::MISDIRECTED_REQUEST, "foreign_host", message));
        }
        if headers.contains_key(header::ORIGIN) && !is_same_origin(only(headers, header::ORIGIN), host) {
            let message = "web pages of other origins may not use the admin listener";
            return Err(Denied::new(StatusCode::FORBIDDEN, "origin_refused", message));
        }
        let needs_token = !OPEN_TO_ALL.contains(&request.uri().path());
        if needs_token && self.token.is_some() && self.token != shown(request)?.as_deref().map(Token::new) {
            let message = "this needs the admin token; send Authorization: Bearer TOKEN";
            let refused = Denied::new(StatusCode::UNAUTHORIZED, "authentication_required", message);
            return Err(refused.with(header::WWW_AUTHENTICATE, "Bearer"));
        }
        Ok(())
    }
}

/// The value of a header that must not come twice.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_same_origin(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

/// The token that a request bears. In the address it may stand only where a browser has no other place for it.
fn shown(request: &Request) -> Result<Option<String>, Denied> {
    let (headers, uri) = (request.headers(), request.uri());
    if [OPERATORS_WEBSOCKET, OPERATORS_EVENTS].contains(&uri.path()) {
        return token::find(headers, uri, None);
    }
    Ok(bearer(headers).map(str::to_owned))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
