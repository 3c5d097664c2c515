//! `[auth]`: whose tokens say who a client is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::Secret;

/// Whose tokens say who a client is. Without keys and tokens nobody has an identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Tokens that somebody else signs.
    pub jwt: Jwt,
    /// The cookie that may bear a token, by name. Default: none.
    #[schemars(extend(
        "pattern" = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        "x-rule" = "the name of a cookie has letters, digits and !#$%&'*+.^_`|~- only"
    ))]
    pub cookie: Option<String>,
    /// Tokens of programs, each with its rights.
    #[schemars(length(max = 1000))]
    pub tokens: Vec<ServiceToken>,
}

/// Tokens that somebody else signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// A JWKS or PEM file with public keys for RS256, ES256 or EdDSA, read again when it changes. Default: none.
    pub keys: Option<PathBuf>,
    /// What tokens with HS256 are signed with, at least 32 bytes. Default: none.
    pub secret: Option<Secret>,
    /// Whom a token must be for (`aud`). Default: not looked at.
    #[schemars(length(min = 1))]
    pub audience: Option<String>,
    /// Who must have made a token (`iss`). Default: not looked at.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
    /// The claim that names the user; default "sub".
    #[schemars(length(min = 1))]
    pub user_claim: String,
}

/// The token of a program, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "sha256"]))]
pub struct ServiceToken {
    /// Who shows it; an old and a new token may have the same name.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(extend(
        "pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "x-rule" = "a name has up to 64 letters, digits and . _ - and begins with a letter or digit"
    ))]
    pub name: String,
    /// The token's SHA-256 in hex; the token itself stands nowhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = "^[0-9a-fA-F]{64}$", "x-rule" = "a SHA-256 is 64 hex digits, as sha256sum prints it"))]
    pub sha256: String,
    /// The patterns it may subscribe to, such as "bars:*:1". Default: every stream that clients may see.
    #[schemars(length(max = 100))]
    pub streams: Option<Vec<String>>,
    /// The patterns of topics it may publish to. Default: none.
    #[schemars(length(max = 100))]
    pub publish: Vec<String>,
    /// The permissions it has, such as "alerts.acknowledge". Default: none.
    #[schemars(length(max = 100))]
    pub commands: Vec<String>,
    /// How fast it may publish, all its connections together. Default: as fast as it can.
    pub rate: Option<PublishRate>,
}

/// How fast a program may publish; what is beyond is refused and may come later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PublishRate {
    /// Events a second, 1 to 1 000 000; without `rate` no bound, within `rate` 1 000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub events: u32,
    /// Events at once after a pause, 1 to 1 000 000; without `rate` no bound, within `rate` 2 000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

impl Trust {
    /// Whether anything is there that an identity could be proved with.
    pub fn knows_somebody(&self) -> bool {
        self.jwt.keys.is_some() || self.jwt.secret.is_some() || !self.tokens.is_empty()
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self { keys: None, secret: None, audience: None, issuer: None, user_claim: "sub".to_owned() }
    }
}

impl Default for PublishRate {
    fn default() -> Self {
        Self { events: 1_000, burst: 2_000 }
    }
}
