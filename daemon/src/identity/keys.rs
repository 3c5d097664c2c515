//! Keys that tokens are checked with, each for exactly one algorithm: a shared secret, or public ones from a JWKS or PEM
//! file.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Keys of one file: a token that names none is tried with all of its algorithm, and each try costs up to a tenth of a
/// millisecond.
pub const MAX_KEYS: usize = 16;
/// HS256 is as strong as its secret, up to the length of its hash.
const MIN_SECRET_BYTES: usize = 32;
/// What the library takes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// A coordinate of a point on P-256; an Ed25519 key is as long.
const COORDINATE_BYTES: usize = 32;

/// One key. What algorithm a token names only chooses among the keys, never what a key is used for.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a secret or a file of keys cannot be used. The text holds nothing of what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl Key {
    /// The key of HS256.
    pub fn secret(secret: &[u8]) -> Result<Self, Unusable> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(unusable(format!(
                "a secret of HS256 has at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
            )));
        }
        Ok(Self { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    /// The public keys of a JWKS file or of a PEM file with one or more blocks.
    pub fn file(text: &str) -> Result<Vec<Self>, Unusable> {
        let keys = if text.trim_start().starts_with('{') { from_jwks(text)? } else { from_pem(text)? };
        match keys.len() {
            0 => Err(unusable("it holds no key for RS256, ES256 or EdDSA; add the public key that signs the tokens")),
            1..=MAX_KEYS => Ok(keys),
            many => Err(unusable(format!("it holds {many} keys, at most {MAX_KEYS} are tried; take old ones out"))),
        }
    }

    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    /// Whether a token may mean this key; one without a name may be meant by every token.
    pub fn answers_to(&self, id: Option<&str>) -> bool {
        self.id.is_none() || id.is_none() || self.id.as_deref() == id
    }

    /// Whether this key signed the message; the signature is base64url as it stands in a token.
    pub fn signed(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({:?})", self.algorithm)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A JWKS; what a key may say besides is nothing to us.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    /// The private part of any key but a shared secret.
    d: Option<IgnoredAny>,
}

fn from_jwks(text: &str) -> Result<Vec<Key>, Unusable> {
    let no_jwks = |_| unusable("it is no JWKS: a JSON object with a list of keys, {\"keys\":[…]}");
    let set: KeySet = serde_json::from_str(text).map_err(no_jwks)?;
    let read = |(index, value)| {
        let wrong = |what: &str| unusable(format!("key {} of the JWKS {what}", index + 1));
        let key: WebKey = serde_json::from_value(value).map_err(|_| wrong("is no JSON Web Key"))?;
        key.read().map_err(wrong)
    };
    set.keys.into_iter().enumerate().map(read).filter_map(Result::transpose).collect()
}

impl WebKey {
    /// The key, unless it is for something else than the signatures we check: providers publish such in the same file.
    fn read(self) -> Result<Option<Key>, &'static str> {
        if self.kty == "oct" {
            return Err("is a shared secret; give it as auth.jwt.secret");
        }
        if self.d.is_some() {
            return Err("has its private part; keep that where tokens are signed, and take \"d\" out here");
        }
        let verifies = |operations: &Vec<String>| operations.iter().any(|one| one == "verify");
        if self.usage.as_deref().unwrap_or("sig") != "sig" || !self.key_ops.as_ref().is_none_or(verifies) {
            return Ok(None);
        }
        let (algorithm, name) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, "RS256"),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256"),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA"),
            _ => return Ok(None),
        };
        if self.alg.as_deref().unwrap_or(name) != name {
            return Ok(None);
        }
        let key = match algorithm {
            Algorithm::RS256 => rsa(&self.n, &self.e)?,
            Algorithm::ES256 => curve(&self.x, &self.y)?,
            _ => edwards(&self.x)?,
        };
        Ok(Some(Key { id: self.kid, algorithm, key }))
    }
}

fn rsa(n: &str, e: &str) -> Result<DecodingKey, &'static str> {
    let (modulus, exponent) = (decoded(n)?, decoded(e)?);
    if !RSA_BYTES.contains(&modulus.len()) || exponent.is_empty() {
        return Err("is no RSA key of 2048 to 8192 bits");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn curve(x: &str, y: &str) -> Result<DecodingKey, &'static str> {
    if [x, y].iter().any(|part| decoded(part).is_ok_and(|bytes| bytes.len() != COORDINATE_BYTES)) {
        return Err("is no point on P-256: x and y have 32 bytes each");
    }
    DecodingKey::from_ec_components(x, y).map_err(|_| NO_BASE64)
}

fn edwards(x: &str) -> Result<DecodingKey, &'static str> {
    if decoded(x)?.len() != COORDINATE_BYTES {
        return Err("is no Ed25519 key: x has 32 bytes");
    }
    DecodingKey::from_ed_components(x).map_err(|_| NO_BASE64)
}

const NO_BASE64: &str = "has a number that is not base64url";

fn decoded(number: &str) -> Result<Vec<u8>, &'static str> {
    BASE64_URL_SAFE_NO_PAD.decode(number).map_err(|_| NO_BASE64)
}

const BEGIN: &str = "-----BEGIN ";

fn from_pem(text: &str) -> Result<Vec<Key>, Unusable> {
    if !text.contains(BEGIN) {
        return Err(unusable("it is neither a JWKS (JSON) nor PEM (-----BEGIN PUBLIC KEY-----)"));
    }
    let blocks = text.split(BEGIN).skip(1).enumerate();
    blocks.map(|(index, block)| from_block(index + 1, block)).collect()
}

/// One block of PEM, without what it begins with.
fn from_block(number: usize, block: &str) -> Result<Key, Unusable> {
    let wrong = |what: &str| unusable(format!("block {number} of the PEM file {what}"));
    let label = block.split("-----").next().unwrap_or_default();
    if label.ends_with("PRIVATE KEY") {
        return Err(wrong(
            "is a private key; keep that where tokens are signed, and give the public one: openssl pkey -pubout",
        ));
    }
    if label != "PUBLIC KEY" && label != "RSA PUBLIC KEY" {
        return Err(wrong("is no public key (-----BEGIN PUBLIC KEY-----)"));
    }
    let pem = [BEGIN, block].concat();
    let pem = pem.as_bytes();
    let found = DecodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)))
        .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)));
    let (algorithm, key) = found.map_err(|_| wrong("cannot be read as an RSA, P-256 or Ed25519 key"))?;
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let fits = match algorithm {
        Algorithm::RS256 => length > *RSA_BYTES.start() && length < 2 * RSA_BYTES.end(), // some DER is around the modulus
        Algorithm::ES256 => length == 1 + 2 * COORDINATE_BYTES,
        _ => length == COORDINATE_BYTES,
    };
    if fits {
        Ok(Key { id: None, algorithm, key })
    } else {
        Err(wrong("is no RSA key of 2048 bits or more, nor P-256 or Ed25519"))
    }
}

fn unusable(text: impl Into<String>) -> Unusable {
    Unusable(text.into())
}
