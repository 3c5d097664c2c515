//! Where a request bears its token: in `Authorization: Bearer`, in `?token=`, or in a cookie that config names. Only the
//! text is found here; a query is never logged, and no refusal repeats it. A user's own token that an operator shows stands
//! in a header beside these.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::answer::Denied;
use crate::event::unix_now;
use crate::identity::{Identity, Unproven, Verifier};
use crate::metrics as count;
use crate::metrics::labels::Unwelcome;

/// When an address that showed too many tokens may show another, in seconds: it has room for one long before.
const COME_BACK: &str = "1";

/// Where an operator shows the own token of a user: `Authorization` is the operator's, and addresses end up in histories.
pub const USER_TOKEN: &str = "x-user-token";

/// Who stands behind the tokens of requests.
#[derive(Debug, Default)]
pub struct Tokens {
    verifier: Arc<Verifier>,
    cookie: RwLock<Option<Arc<str>>>,
}

impl Tokens {
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier, cookie: RwLock::default() }
    }

    /// For requests from now on: the cookie that may bear a token.
    pub fn set_cookie(&self, name: Option<&str>) {
        *self.cookie.write().unwrap_or_else(PoisonError::into_inner) = name.map(Arc::from);
    }

    /// Whose request this is; `None` where no token is shown. One that proves nothing is refused, never passed over.
    pub fn identity(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<Arc<Identity>>, Denied> {
        let cookie = self.cookie.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(token) = find(headers, uri, cookie.as_deref())? else { return Ok(None) };
        self.verified(peer, &token).map(Some)
    }

    /// The user whose own token an operator shows beside what let him in; `None` where there is none.
    pub fn user_beside(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Denied> {
        let Some(token) = beside(headers)? else { return Ok(None) };
        let identity = self.verified(peer, token)?;
        if identity.user().is_none() {
            let message = "X-User-Token bears the token of a service, which has no log of its own; send a user's";
            return Err(refused(message));
        }
        Ok(Some(identity))
    }

    fn verified(&self, peer: Option<IpAddr>, token: &str) -> Result<Arc<Identity>, Denied> {
        let verified = self.verifier.verify_from(peer, token, unix_now(), Instant::now());
        verified.map_err(|unproven| denied(&unproven))
    }
}

fn denied(unproven: &Unproven) -> Denied {
    let message = unproven.to_string();
    match unproven {
        Unproven::Rejected(_) => {
            count::connection_refused(Unwelcome::Identity);
            Denied::unauthorized(message)
        }
        Unproven::TooMany => {
            count::connection_refused(Unwelcome::IdentityRate);
            Denied::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).with(header::RETRY_AFTER, COME_BACK)
        }
    }
}

/// The token of a request, or `None` for a client that shows none. It may stand in several places, but only the same
/// one: of two different tokens nobody can say whose rights are meant.
pub fn find(headers: &HeaderMap, uri: &Uri, cookie: Option<&str>) -> Result<Option<String>, Denied> {
    let mut shown = bearers(headers)?;
    shown.extend(in_query(uri.query().unwrap_or_default())?);
    if let Some(name) = cookie {
        shown.extend(in_cookies(headers, name)?);
    }
    if shown.iter().any(String::is_empty) {
        return Err(refused("the request bears an empty token; leave it out, or send one"));
    }
    if shown.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(refused("the request bears two different tokens; send one"));
    }
    Ok(shown.into_iter().next())
}

fn beside(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut values = headers.get_all(USER_TOKEN).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("X-User-Token is given twice; send one"));
    }
    match value.to_str().map(str::trim) {
        Ok("") => Err(refused("X-User-Token is empty; leave it out, or send a token")),
        Ok(token) => Ok(Some(token)),
        Err(_) => Err(refused("X-User-Token is not plain text")),
    }
}

/// Other schemes are somebody else's, such as a proxy's.
fn bearers(headers: &HeaderMap) -> Result<Vec<String>, Denied> {
    let mut found = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| refused("the Authorization header is not plain text"))?.trim();
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            found.push(token.trim().to_owned());
        }
    }
    Ok(found)
}

fn in_query(query: &str) -> Result<Vec<String>, Denied> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(|(name, _)| *name == "token");
    let decoded =
        |(_, value)| decoded(value).ok_or_else(|| refused("the token of the query is not percent-encoded UTF-8"));
    values.map(decoded).collect()
}

fn in_cookies(headers: &HeaderMap, name: &str) -> Result<Vec<String>, Denied> {
    let mut found = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        let value = value.to_str().map_err(|_| refused("the Cookie header is not plain text"))?;
        let pairs = value.split(';').filter_map(|pair| pair.trim().split_once('='));
        let values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        found.extend(values.map(|value| value.trim_matches('"').to_owned()));
    }
    Ok(found)
}

/// Only `%` is special: tokens may hold `+`, which stands for itself.
fn decoded(value: &str) -> Option<String> {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.as_bytes().split_first_chunk::<2>()?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        bytes.push(u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?);
        bytes.extend(rest);
    }
    String::from_utf8(bytes).ok()
}

pub fn refused(message: &str) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, "invalid_token", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token of a request with this query and these headers, or the refusal.
    fn find(query: &str, headers: &[(&str, &str)]) -> Result<Option<String>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = name.parse::<header::HeaderName>().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let uri: Uri = format!("/v1/ws?{query}").parse().unwrap();
        let text = |denied: Denied| String::from_utf8(denied.into_bytes()).unwrap();
        super::find(&map, &uri, Some("token")).map_err(text)
    }

    #[test]
    fn a_token_is_found_wherever_it_may_stand() {
        for (query, headers) in [
            ("", &[("authorization", "Bearer a.b-c_d")][..]),
            ("", &[("authorization", "bEARER   a.b-c_d ")]),
            ("", &[("authorization", "Basic dTpw"), ("authorization", "Bearer a.b-c_d")]),
            ("token=a.b-c_d", &[]),
            ("x=1&token=a%2Eb%2dc_d&y", &[]),
            ("", &[("cookie", "other=1; token=a.b-c_d; token2=x")]),
            ("", &[("cookie", "a=b"), ("cookie", "token=\"a.b-c_d\"")]),
            ("token=a.b-c_d", &[("authorization", "Bearer a.b-c_d"), ("cookie", "token=a.b-c_d")]),
        ] {
            assert_eq!(find(query, headers), Ok(Some("a.b-c_d".to_owned())), "{query} {headers:?}");
        }
        assert_eq!(find("token=a+b%2B", &[]), Ok(Some("a+b+".to_owned())));
    }

    #[test]
    fn who_shows_none_has_none() {
        for (query, headers) in [
            ("", &[][..]),
            ("tokens=a&mytoken=b&Token=c", &[]),
            ("", &[("authorization", "Basic dTpw")]),
            ("", &[("cookie", "tokens=a; Token=b; token")]),
        ] {
            assert_eq!(find(query, headers), Ok(None), "{query} {headers:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "token=a".parse().unwrap());
        assert!(super::find(&headers, &Uri::from_static("/"), None).unwrap().is_none(), "no cookie is configured");
    }

    #[test]
    fn what_is_doubtful_is_refused_and_not_repeated() {
        let two = "two different tokens";
        for (query, headers, rule) in [
            ("token=secret1", &[("authorization", "Bearer secret2")][..], two),
            ("token=secret1&token=secret2", &[], two),
            ("token=secret1", &[("cookie", "token=secret2")], two),
            ("", &[("authorization", "Bearer secret1"), ("authorization", "Bearer secret2")], two),
            ("", &[("cookie", "token=secret1; token=secret2")], two),
            ("token=", &[], "an empty token"),
            ("token", &[], "an empty token"),
            ("", &[("authorization", "Bearer")], "an empty token"),
            ("token=secret1", &[("authorization", "Bearer ")], "an empty token"),
            ("token=secret%2", &[], "percent-encoded"),
            ("token=secret%zz", &[], "percent-encoded"),
            ("token=secret%ff", &[], "percent-encoded"),
            ("", &[("authorization", "Bearer secr\u{e9}t")], "not plain text"),
            ("", &[("cookie", "token=secr\u{e9}t")], "not plain text"),
        ] {
            let refusal = find(query, headers).unwrap_err();
            assert!(refusal.starts_with("HTTP/1.1 400") && refusal.contains(rule), "{refusal}");
            assert!(!refusal.contains("secr"), "{refusal}");
        }
    }
}
