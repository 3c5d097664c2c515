//! Tokens as providers sign them, with the keys beside the tests, and as nobody should.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use broadcastd::event::unix_now;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

pub const RSA: &str = include_str!("../keys/rsa-one.public.pem");
pub const EC: &str = include_str!("../keys/ec-one.public.pem");
pub const ED: &str = include_str!("../keys/ed-one.public.pem");
pub const AUDIENCE: &str = "broadcastd";
pub const ISSUER: &str = "https://id.example";

const NANOS: f64 = 1e9;

pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub fn secret(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret) }
    }

    /// Whose public key is `RSA`.
    pub fn rsa() -> Self {
        Self::of_rsa(include_str!("../keys/rsa-one.test.pem"))
    }

    /// Whose key nobody knows.
    pub fn foreign() -> Self {
        Self::of_rsa(include_str!("../keys/rsa-two.test.pem"))
    }

    /// Whose public key is `EC`.
    pub fn ec() -> Self {
        let pem = include_str!("../keys/ec-one.test.pem");
        Self { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap() }
    }

    /// Whose public key is `ED`.
    pub fn ed() -> Self {
        Self::of_ed(include_str!("../keys/ed-one.test.pem"))
    }

    /// The same kind of key, which nobody knows.
    pub fn foreign_ed() -> Self {
        Self::of_ed(include_str!("../keys/ed-two.test.pem"))
    }

    fn of_ed(pem: &str) -> Self {
        Self { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_pem(pem.as_bytes()).unwrap() }
    }

    fn of_rsa(pem: &str) -> Self {
        Self { algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_text(&json!({"alg": format!("{:?}", self.algorithm)}).to_string(), &claims.to_string())
    }

    /// Its public key as a provider publishes it, under a name.
    pub fn jwks(&self, name: &str) -> String {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = name.into();
        json!({"keys": [jwk]}).to_string()
    }

    /// Signs whatever stands there.
    pub fn sign_text(&self, head: &str, claims: &str) -> String {
        let message = unsigned(head, claims);
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// What a signature is put behind.
pub fn unsigned(head: &str, claims: &str) -> String {
    [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// Seconds since 1970, so many from now.
pub fn seconds_from_now(seconds: f64) -> f64 {
    unix_now() as f64 / NANOS + seconds
}

/// What a good token of this user claims, with these claims added or changed; null takes one out.
pub fn claims(user: &str, changes: Value) -> Value {
    let mut claims = json!({"sub": user, "exp": seconds_from_now(3600.0), "aud": AUDIENCE, "iss": ISSUER});
    let Value::Object(changes) = changes else { panic!("claims are an object") };
    claims.as_object_mut().unwrap().extend(changes);
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}
