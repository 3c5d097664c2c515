//! Which web pages may use the client listeners, and for what: one rule for every door. Programs send no origin, and are
//! known by their tokens alone.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::answer::Denied;
use super::origin;
use crate::metrics as count;
use crate::metrics::labels::Unwelcome;

/// Stands in the list of origins for every one.
const ANY: &str = "*";
/// What pages may send: a token, a content type, and where an event source goes on.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, last-event-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What pages may see of an answer beside its body.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after");
/// How long a browser may remember the answer to its question, in seconds: as long as it takes to notice a reload.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const YES: HeaderValue = HeaderValue::from_static("true");

/// What a route lets pages do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Hear and read: WebSockets, server-sent events, plain reads, lines for the log.
    Listen,
    /// Publish and give commands over HTTP.
    Act,
}

/// Whose pages may what, as config says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// May listen; `*` is any.
    pub origins: Vec<String>,
    /// May listen and act.
    pub cors: Vec<String>,
    /// A browser adds the token by itself, whichever page asks: so pages of this machine have to be named like others.
    /// Another program's page on another port of this machine is sent the same cookies.
    pub has_cookie: bool,
}

/// The rules of the moment; a reload replaces them.
#[derive(Debug, Default)]
pub struct Pages(RwLock<Arc<Rules>>);

/// A page of another origin that may, as the answer tells its browser.
#[derive(Clone, Debug)]
pub struct Admitted {
    origin: HeaderValue,
    /// Config names it, and so it may send cookies.
    is_named: bool,
}

impl Pages {
    pub fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Rules {
    /// Whether the page that sends this request, if it is one, may do so. Nothing is to be told to the browsers of programs
    /// and of the listener's own pages.
    fn judge(&self, headers: &HeaderMap, purpose: Purpose) -> Result<Option<Admitted>, Denied> {
        if !headers.contains_key(header::ORIGIN) || origin::is_own(headers) {
            return Ok(None);
        }
        let said = origin::only(headers, header::ORIGIN);
        let is_in = |list: &[String]| {
            list.iter().any(|one| said.is_some_and(|said| one.trim_end_matches('/').eq_ignore_ascii_case(said)))
        };
        let is_named = is_in(&self.cors) || (purpose == Purpose::Listen && is_in(&self.origins));
        let is_let_in = purpose == Purpose::Listen
            && (self.origins.iter().any(|one| one == ANY)
                || (!self.has_cookie && said.is_some_and(origin::is_loopback)));
        match headers.get(header::ORIGIN) {
            Some(origin) if is_named || is_let_in => Ok(Some(Admitted { origin: origin.clone(), is_named })),
            _ => Err(purpose.refuse(said.unwrap_or("unreadable"))),
        }
    }
}

impl Purpose {
    fn refuse(self, origin: &str) -> Denied {
        count::connection_refused(Unwelcome::Origin);
        let (what, key) = match self {
            Self::Listen => ("connect", "server.origins"),
            Self::Act => ("publish or give commands over HTTP", "server.cors"),
        };
        let message =
            format!("pages of origin {origin} may not {what}; add it to {key} in the configuration to allow it");
        Denied::new(StatusCode::FORBIDDEN, "origin_refused", message)
    }
}

impl Admitted {
    /// What the answer says beside the rest, so that the browser shows it to the page.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut told = vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone()),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS),
        ];
        if self.is_named {
            told.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES)); // a cookie may bear the token
        }
        told
    }
}

/// The routes for pages that may do this and for no others. A page that may finds `Admitted` with its request.
pub fn around(router: Router, pages: &Arc<Pages>, purpose: Purpose) -> Router {
    router.layer(middleware::from_fn_with_state((pages.clone(), purpose), check))
}

async fn check(State((pages, purpose)): State<(Arc<Pages>, Purpose)>, mut request: Request, next: Next) -> Response {
    let judged = pages.rules().judge(request.headers(), purpose);
    let admitted = judged.as_ref().ok().cloned().flatten();
    if let Some(admitted) = admitted.clone() {
        request.extensions_mut().insert(admitted);
    }
    let mut answer = match judged {
        Err(denied) => denied.into_response(),
        Ok(_) if asks_first(&request) => permission(),
        Ok(_) => next.run(request).await,
    };
    let headers = answer.headers_mut();
    // Also where nothing is allowed: the answer for one origin must not be kept for another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.extend(admitted.iter().flat_map(Admitted::headers));
    answer
}

/// Whether a browser asks beforehand what a page may do.
fn asks_first(request: &Request) -> bool {
    let (method, headers) = (request.method(), request.headers());
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
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

    const LOCAL: &str = "http://localhost:3000";

    fn rules(origins: &[&str], cors: &[&str], has_cookie: bool) -> Rules {
        let list = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Rules { origins: list(origins), cors: list(cors), has_cookie }
    }

    /// Whether a page of these origins may listen and may act, asking for `push.example`.
    fn may(rules: &Rules, origins: &[&str]) -> [bool; 2] {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("push.example"))]);
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        [Purpose::Listen, Purpose::Act].map(|purpose| rules.judge(&headers, purpose).is_ok())
    }

    #[test]
    fn who_is_named_for_listening_listens_and_who_is_named_for_acting_does_both() {
        let rules = rules(&["https://hears.example"], &["https://acts.example", "http://slash.example:8080/"], false);
        for (origin, expected) in [
            ("https://hears.example", [true, false]),
            ("https://HEARS.example", [true, false]),
            ("https://acts.example", [true, true]),
            ("http://slash.example:8080", [true, true]),
            ("http://acts.example", [false, false]),
            ("https://acts.example:8443", [false, false]),
            ("https://acts.example.evil.example", [false, false]),
            ("https://www.acts.example", [false, false]),
            ("null", [false, false]),
            ("*", [false, false]),
            ("", [false, false]),
            (LOCAL, [true, false]),
        ] {
            assert_eq!(may(&rules, &[origin]), expected, "{origin}");
        }
        assert_eq!(may(&rules, &[]), [true, true], "a program");
        assert_eq!(may(&rules, &["https://acts.example"; 2]), [false, false], "of two origins none counts");
    }

    #[test]
    fn any_origin_may_listen_where_config_says_so_and_act_nowhere() {
        let rules = rules(&["*"], &[], false);
        assert_eq!(["https://any.example", "null", LOCAL].map(|origin| may(&rules, &[origin])), [[true, false]; 3]);
    }

    #[test]
    fn where_a_cookie_bears_the_token_pages_of_this_machine_are_named_too() {
        assert_eq!(may(&rules(&[], &[], true), &[LOCAL]), [false, false]);
        assert_eq!(may(&rules(&[LOCAL], &[], true), &[LOCAL]), [true, false]);
        assert_eq!(may(&rules(&[LOCAL], &[], true), &["http://localhost:3001"]), [false, false]);
    }

    #[test]
    fn a_page_of_the_host_that_is_asked_is_no_foreign_one() {
        let rules = rules(&[], &[], true);
        assert_eq!(may(&rules, &["https://push.example"]), [true, true]);
        for other in ["https://push.example:8443", "https://app.push.example", "ftp://push.example", "push.example"] {
            assert_eq!(may(&rules, &[other]), [false, false], "{other}");
        }
    }

    #[test]
    fn only_a_page_that_is_named_may_send_cookies() {
        let says = |rules: &Rules, origin: &'static str| {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            let admitted = rules.judge(&headers, Purpose::Listen).unwrap().unwrap();
            admitted.headers().iter().any(|(name, _)| name == header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
        };
        let rules = rules(&["*", "https://a.example"], &["https://b.example"], false);
        assert_eq!(
            ["https://a.example", "https://b.example", LOCAL, "null"].map(|origin| says(&rules, origin)),
            [true, true, false, false]
        );
    }
}
