//! From what a signed token claims to an identity. What is malformed is rejected: nothing is guessed, nothing passed over.

use serde_json::Value;

use super::grants::{Grants, Lists};
use super::jwt::Claims;
use super::{Config, Identity, OPERATOR, Rejected, SERVICE};

/// How far ahead the clock of whoever signs may be (`nbf`). The end (`exp`) is exact: delivery ends at that moment.
pub const LEEWAY_SECONDS: i64 = 10;
/// The longest name of a user: it is kept for every connection, and with every private log.
const MAX_USER_BYTES: usize = 256;
const NANOS: i64 = 1_000_000_000;

/// The user that the claims name, with the rights that they give, if they are for us and for now.
pub fn identity(claims: &Claims, config: &Config, unix_ns: i64) -> Result<Identity, Rejected> {
    let expires = moment(claims, "exp")?.ok_or("the token has no end (exp)")?;
    if unix_ns >= expires {
        return Err("the token has expired (exp)".into());
    }
    if moment(claims, "nbf")?.is_some_and(|begins| unix_ns.saturating_add(LEEWAY_SECONDS * NANOS) < begins) {
        return Err("the token is not valid yet (nbf)".into());
    }
    if let Some(audience) = &config.audience
        && !is_for(claims.get("aud"), audience)?
    {
        return Err("the token is for another audience (aud)".into());
    }
    if let Some(issuer) = &config.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err("the token is by another issuer (iss)".into());
    }
    let user = user(claims, &config.user_claim)?;
    let lists = Lists {
        streams: texts(claims, "streams")?,
        publish: texts(claims, "publish")?.unwrap_or_default(),
        commands: texts(claims, "commands")?.unwrap_or_default(),
    };
    let grants = Grants::read(lists).map_err(|bad| Rejected(format!("the token's claims are malformed: {bad}")))?;
    Ok(Identity { grants, expires_unix_ns: Some(expires), ..Identity::of_user(user) })
}

/// A time that a claim gives in seconds since 1970, in nanoseconds.
fn moment(claims: &Claims, name: &str) -> Result<Option<i64>, Rejected> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().map(|whole| whole.saturating_mul(NANOS));
    let seconds = seconds.or_else(|| value.as_f64().map(|parts| (parts * NANOS as f64) as i64));
    seconds.map(Some).ok_or_else(|| Rejected(format!("the token's {name} is no number of seconds")))
}

fn is_for(claim: Option<&Value>, audience: &str) -> Result<bool, Rejected> {
    match claim {
        None => Ok(false),
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(many)) if many.iter().all(Value::is_string) => Ok(many.iter().any(|one| one == audience)),
        Some(_) => Err("the token's aud is neither a text nor a list of texts".into()),
    }
}

/// The name as it stands there: not trimmed, not folded, so that no two users become one.
fn user<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, Rejected> {
    let rejected = |what: &str| Rejected(format!("the token's user ({name}) {what}"));
    let user = claims.get(name).ok_or_else(|| rejected("is missing"))?;
    let user = user.as_str().ok_or_else(|| rejected("is no text"))?;
    if let Some(role) = [SERVICE, OPERATOR].into_iter().find(|role| user.starts_with(role)) {
        return Err(rejected(&format!("begins with {role}, as no user's does")));
    }
    match user.len() {
        0 => Err(rejected("is empty")),
        1..=MAX_USER_BYTES => Ok(user),
        _ => Err(rejected(&format!("has more than {MAX_USER_BYTES} bytes"))),
    }
}

fn texts(claims: &Claims, name: &'static str) -> Result<Option<Vec<String>>, Rejected> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let list = value.as_array().and_then(|list| list.iter().map(|one| Some(one.as_str()?.to_owned())).collect());
    list.map(Some).ok_or_else(|| Rejected(format!("the token's {name} is no list of texts")))
}
