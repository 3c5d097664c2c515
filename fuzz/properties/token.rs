//! Whatever is shown as a token, claimed in one, or given as a file of keys: nobody is let in but by the keys, as the user
//! that was signed, and a refusal repeats nothing.

use std::sync::OnceLock;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use broadcastd::identity::grants::{Grants, Reads};
use broadcastd::identity::keys::{Key, MAX_KEYS};
use broadcastd::identity::service::{Hash, Service};
use broadcastd::identity::{Config, Identity, MAX_TOKEN_BYTES, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

const OURS: &[u8] = b"a secret for tests, 32 bytes long";
const THEIRS: &[u8] = b"another secret, also 32 bytes long";
const SERVICE: &str = "first";
/// In seconds since 1970; the tokens among the seeds end later.
const NOW: i64 = 1_800_000_000;
const KEYS: [&str; 3] = [
    include_str!("../../daemon/tests/keys/rsa-one.public.pem"),
    include_str!("../../daemon/tests/keys/ec-one.public.pem"),
    include_str!("../../daemon/tests/keys/ed-one.public.pem"),
];
/// All that was ever signed by those keys.
const SIGNED: [&str; 3] = [
    include_str!("../seeds/token/shown-rs256"),
    include_str!("../seeds/token/shown-es256"),
    include_str!("../seeds/token/shown-eddsa"),
];

/// The first letter says what the rest is: a token, claims or a line with a head and claims that somebody signs, a file
/// of keys.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (Some(what), Some(rest)) = (text.get(..1), text.get(1..)) else { return };
    match what {
        "t" => proves_nothing_new(rest),
        "c" => is_who_was_signed(r#"{"alg":"HS256"}"#, rest),
        "h" => {
            let (head, claims) = rest.split_once('\n').unwrap_or((rest, ""));
            is_who_was_signed(head, claims);
        }
        "o" => assert_eq!(verify(&signed(r#"{"alg":"HS256"}"#, rest, THEIRS)), None),
        "k" => {
            if let Ok(keys) = Key::file(rest) {
                assert!((1..=MAX_KEYS).contains(&keys.len()));
            }
        }
        _ => {}
    }
}

fn proves_nothing_new(token: &str) {
    let Some(identity) = verify(token) else { return };
    if token == SERVICE {
        return assert_eq!((&**identity.name(), identity.audience()), ("service:service", None));
    }
    assert!(SIGNED.iter().any(|known| known[1..] == *token) || is_ours(token), "nobody signed {token}");
}

fn is_ours(token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    crypto::sign(message.as_bytes(), &EncodingKey::from_secret(OURS), Algorithm::HS256).as_deref() == Ok(signature)
}

fn is_who_was_signed(head: &str, claims: &str) {
    let Some(identity) = verify(&signed(head, claims, OURS)) else { return };
    let said: Value = serde_json::from_str(claims).expect("it was read as claims");
    assert_eq!(said["sub"], **identity.name());
    assert_eq!(identity.audience(), Some(identity.name()));
    assert!(!identity.name().is_empty() && !identity.is_operator());
    assert!(identity.expires_unix_ns().is_some_and(|end| end > NOW * 1_000_000_000));
    for (name, granted) in [("publish", identity.may_publish("ticks:A")), ("commands", identity.may_command("a.b"))] {
        assert!(!granted || said[name].as_array().is_some_and(|list| !list.is_empty()), "{name} out of nothing");
    }
}

fn verify(token: &str) -> Option<Identity> {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    let outcome = VERIFIER.get_or_init(verifier).verify(token, NOW * 1_000_000_000);
    match outcome {
        Ok(identity) => {
            assert!(token.len() <= MAX_TOKEN_BYTES);
            Some((*identity).clone())
        }
        Err(rejected) => {
            let text = rejected.to_string();
            assert!(!text.is_empty() && text.len() < 200 && !text.contains(char::is_control), "{text}");
            let is_ours = |part: &str| "the token's".contains(part) || part.trim().len() < 20;
            assert!(token.split('.').all(|part| is_ours(part) || !text.contains(part)), "{text}");
            None
        }
    }
}

fn verifier() -> Verifier {
    let mut keys = Key::file(&KEYS.concat()).expect("keys");
    keys.push(Key::secret(OURS).expect("a secret"));
    let service = Service {
        name: "service".to_owned(),
        token: Hash::of(SERVICE),
        grants: Grants::of(Reads::Visible),
        rate: None,
    };
    let verifier = Verifier::default();
    verifier.set(Config { keys, services: vec![service], ..Config::default() }, Instant::now());
    for token in SIGNED {
        verifier.verify(&token[1..], NOW * 1_000_000_000).expect("otherwise nothing is proved here");
    }
    verifier
}

fn signed(head: &str, claims: &str, secret: &[u8]) -> String {
    let message = [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}
