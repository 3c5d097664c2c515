//! From the text of a JWT to what it claims, once it is certain who signed it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Rejected;
use super::keys::Key;

/// What the signed part of a token says, by name. A name that comes twice is refused: readers would differ.
#[derive(Debug)]
pub struct Claims(BTreeMap<String, Value>);

/// Checks whose signature it is and reads what is signed. Nothing but the head is looked at before.
pub fn open(token: &str, keys: &[Key]) -> Result<Claims, Rejected> {
    let (message, signature) = token.rsplit_once('.').ok_or(NO_TOKEN)?;
    let (head, payload) = message.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(NO_TOKEN)?;
    let head = decoded(head)?;
    let head: Head<'_> = serde_json::from_slice(&head).map_err(|_| "the token's head is no JSON object with alg")?;
    if head.crit.is_some() {
        return Err("the token asks for an extension (crit) that is not known here".into());
    }
    let algorithm = head.algorithm()?;
    let mut fitting = keys.iter().filter(|key| key.is_for(algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(Rejected(format!("no key is configured for {algorithm:?}, the token's algorithm")));
    }
    let mut meant = fitting.filter(|key| key.answers_to(head.kid.as_deref())).peekable();
    if meant.peek().is_none() {
        return Err("the token names a key (kid) that is not configured".into());
    }
    if !meant.any(|key| key.signed(message.as_bytes(), signature)) {
        return Err("the token's signature is by no key that is configured".into());
    }
    serde_json::from_slice(&decoded(payload)?)
        .map_err(|_| "the token's claims are no JSON object of different names".into())
}

impl Claims {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Claims;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

const NO_TOKEN: &str = "the token is neither one of a service ([auth] tokens) nor a JWT (three parts between dots)";

/// What decides with which key a token is checked. Where else a key could be fetched from (`jku`, `x5u`, `jwk`) is
/// never read.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Head<'_> {
    fn algorithm(&self) -> Result<Algorithm, Rejected> {
        match &*self.alg {
            "HS256" => Ok(Algorithm::HS256),
            "RS256" => Ok(Algorithm::RS256),
            "ES256" => Ok(Algorithm::ES256),
            "EdDSA" => Ok(Algorithm::EdDSA),
            none if none.eq_ignore_ascii_case("none") => {
                Err("the token is not signed (alg none), and such are never accepted".into())
            }
            _ => Err("the token's algorithm (alg) is none of HS256, RS256, ES256, EdDSA".into()),
        }
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Rejected> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of the token is not base64url without padding".into())
}
