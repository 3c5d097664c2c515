//! Tokens good and bad: who they are said to be, what they may do, and what is told of those that prove nothing.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claims::LEEWAY_SECONDS;
use super::grants::{Lists, MAX_ENTRIES};
use super::keys::MAX_KEYS;
use super::*;
use crate::rate::Rate;

const SECRET: &[u8] = b"a secret for tests, 32 bytes long";
const NOW: i64 = 1_800_000_000;
const NANOS: i64 = 1_000_000_000;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/keys/", $name, ".pem"))
    };
}

/// Who signs in a test.
#[derive(Clone)]
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    id: Option<&'static str>,
}

impl Signer {
    fn secret(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret), id: None }
    }

    fn rsa(pem: &str) -> Self {
        Self { algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), id: None }
    }

    fn ec(pem: &str) -> Self {
        Self { algorithm: Algorithm::ES256, key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), id: None }
    }

    fn ed(pem: &str) -> Self {
        Self { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(), id: None }
    }

    fn named(self, id: &'static str) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Its public key as a provider publishes it.
    fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        if let Some(id) = self.id {
            jwk["kid"] = id.into();
        }
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut head = json!({"typ": "JWT", "alg": format!("{:?}", self.algorithm)});
        if let Some(id) = self.id {
            head["kid"] = id.into();
        }
        self.sign_text(&head.to_string(), &claims.to_string())
    }

    fn sign_text(&self, head: &str, claims: &str) -> String {
        let message = [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn jwks(signers: &[Signer]) -> String {
    json!({"keys": signers.iter().map(Signer::jwk).collect::<Vec<_>>()}).to_string()
}

fn verifier(config: Config) -> Verifier {
    let verifier = Verifier::default();
    verifier.set(config, Instant::now());
    verifier
}

fn trusting(keys: Vec<Key>) -> Verifier {
    verifier(Config { keys, ..Config::default() })
}

fn with_secret() -> Verifier {
    trusting(vec![Key::secret(SECRET).unwrap()])
}

fn claims() -> Value {
    json!({"sub": "user-1", "exp": NOW + 60})
}

/// The claims of `user-1` with these added or changed.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn verify(verifier: &Verifier, token: &str) -> Result<Arc<Identity>, Rejected> {
    let outcome = verifier.verify(token, NOW * NANOS);
    if let Err(Rejected(text)) = &outcome {
        assert!(!text.is_empty() && !text.ends_with('.') && text.len() < 200, "{text}");
        let parts = token.as_bytes().windows(8).filter_map(|part| std::str::from_utf8(part).ok());
        assert!(parts.into_iter().all(|part| !text.contains(part) || "the token".contains(part)), "{text}");
    }
    outcome
}

fn rejected(verifier: &Verifier, token: &str) -> String {
    verify(verifier, token).expect_err("nobody may be let in").0
}

#[test]
fn every_algorithm_has_its_keys_in_every_form() {
    let rsa = Signer::rsa(fixture!("rsa-one.test"));
    let ec = Signer::ec(fixture!("ec-one.test"));
    let ed = Signer::ed(fixture!("ed-one.test"));
    let files = [fixture!("rsa-one.public"), fixture!("ec-one.public"), fixture!("ed-one.public")];
    let pkcs1 = Key::file(fixture!("rsa-one.pkcs1")).unwrap();
    assert!(verify(&trusting(pkcs1), &rsa.sign(&claims())).is_ok());
    for (signer, file) in [&rsa, &ec, &ed].into_iter().zip(files) {
        let set = jwks(std::slice::from_ref(signer));
        for text in [file, &files.concat(), &set, &jwks(&[rsa.clone(), ec.clone(), ed.clone()])] {
            let identity = verify(&trusting(Key::file(text).unwrap()), &signer.sign(&claims())).unwrap();
            assert_eq!((&**identity.name(), identity.expires_unix_ns()), ("user-1", Some((NOW + 60) * NANOS)));
        }
    }
    assert!(verify(&with_secret(), &Signer::secret(SECRET).sign(&claims())).is_ok());
}

#[test]
fn another_key_of_the_same_algorithm_proves_nothing() {
    let pairs = [
        (Signer::rsa(fixture!("rsa-two.test")), Key::file(fixture!("rsa-one.public")).unwrap()),
        (Signer::ec(fixture!("ec-two.test")), Key::file(fixture!("ec-one.public")).unwrap()),
        (Signer::ed(fixture!("ed-two.test")), Key::file(fixture!("ed-one.public")).unwrap()),
        (Signer::secret(b"another secret, also 32 bytes long"), vec![Key::secret(SECRET).unwrap()]),
    ];
    for (signer, keys) in pairs {
        let text = rejected(&trusting(keys), &signer.sign(&claims()));
        assert_eq!(text, "the token's signature is by no key that is configured");
    }
}

#[test]
fn a_key_is_for_one_algorithm_whatever_a_token_says() {
    let public = fixture!("rsa-one.public");
    let confused = Signer::secret(public.as_bytes());
    let only_rsa = trusting(Key::file(public).unwrap());
    assert_eq!(rejected(&only_rsa, &confused.sign(&claims())), "no key is configured for HS256, the token's algorithm");
    let both = trusting([Key::file(public).unwrap(), vec![Key::secret(SECRET).unwrap()]].concat());
    assert_eq!(rejected(&both, &confused.sign(&claims())), "the token's signature is by no key that is configured");
    let rsa = Signer::rsa(fixture!("rsa-one.test"));
    for (name, text) in [
        ("none", "the token is not signed (alg none), and such are never accepted"),
        ("NoNe", "the token is not signed (alg none), and such are never accepted"),
        ("RS512", "the token's algorithm (alg) is none of HS256, RS256, ES256, EdDSA"),
        ("ES256", "no key is configured for ES256, the token's algorithm"),
    ] {
        let head = json!({"alg": name}).to_string();
        assert_eq!(rejected(&only_rsa, &rsa.sign_text(&head, &claims().to_string())), text, "{name}");
    }
    let unsigned = [r#"{"alg":"none"}"#, &claims().to_string()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    assert!(rejected(&only_rsa, &format!("{}.", unsigned.join("."))).contains("alg none"));
}

#[test]
fn a_kid_chooses_and_without_one_all_are_tried() {
    let [old, new] = [fixture!("ec-one.test"), fixture!("ec-two.test")].map(Signer::ec);
    let (old, new) = (old.named("old"), new.named("new"));
    let both = trusting(Key::file(&jwks(&[old.clone(), new.clone()])).unwrap());
    for signer in [&old, &new] {
        assert!(verify(&both, &signer.sign(&claims())).is_ok());
        let nameless = Signer { id: None, ..signer.clone() };
        assert!(verify(&both, &nameless.sign(&claims())).is_ok());
    }
    let unknown = rejected(&both, &old.clone().named("older").sign(&claims()));
    assert_eq!(unknown, "the token names a key (kid) that is not configured");
    let wrong = rejected(&both, &old.clone().named("new").sign(&claims()));
    assert_eq!(wrong, "the token's signature is by no key that is configured");
    let nameless = trusting(Key::file(fixture!("ec-one.public")).unwrap());
    assert!(verify(&nameless, &old.sign(&claims())).is_ok(), "a key without a name may be meant by any");
}

#[test]
fn keys_are_exchanged_while_tokens_of_both_are_about() {
    let [old, new] = [fixture!("rsa-one.test"), fixture!("rsa-two.test")].map(Signer::rsa);
    let (old, new) = (old.named("old"), new.named("new"));
    let verifier = Verifier::default();
    let mut seen = Vec::new();
    let both = [old.clone(), new.clone()];
    for keys in [&both[..1], &both, &both[1..]] {
        verifier.set(Config { keys: Key::file(&jwks(keys)).unwrap(), ..Config::default() }, Instant::now());
        seen.push([&old, &new].map(|signer| verify(&verifier, &signer.sign(&claims())).is_ok()));
    }
    assert_eq!(seen, [[true, false], [true, true], [false, true]]);
}

#[test]
fn what_is_no_token_is_told_apart() {
    let verifier = with_secret();
    let signer = Signer::secret(SECRET);
    let good = signer.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let head = |text: &str| signer.sign_text(text, &claims().to_string());
    let body = |text: &str| signer.sign_text(r#"{"alg":"HS256"}"#, text);
    let no_token = "the token is neither one of a service ([auth] tokens) nor a JWT (three parts between dots)";
    let no_base64 = "a part of the token is not base64url without padding";
    let no_head = "the token's head is no JSON object with alg";
    let no_key = "the token's signature is by no key that is configured";
    let no_claims = "the token's claims are no JSON object of different names";
    for (token, text) in [
        ("".to_owned(), no_token),
        ("letmein".to_owned(), no_token),
        (parts[..2].join("."), no_token),
        (format!("{good}.{}", parts[2]), no_token),
        (format!(" {good}"), no_base64),
        (format!("{}=.{}.{}", parts[0], parts[1], parts[2]), no_base64),
        (head("{"), no_head),
        (head("{}"), no_head),
        (head(r#"{"alg":"HS256","alg":"HS256"}"#), no_head),
        (head(r#"{"alg":"HS256","kid":7}"#), no_head),
        (
            head(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
            "the token asks for an extension (crit) that is not known here",
        ),
        (format!("{}.{}.", parts[0], parts[1]), no_key),
        (format!("{}.{}.{}=", parts[0], parts[1], parts[2]), no_key),
        (format!("{}.{}.{}", parts[0], BASE64_URL_SAFE_NO_PAD.encode("{}"), parts[2]), no_key),
        (body("[]"), no_claims),
        (body(r#"{"sub":"a","sub":"b","exp":9999999999}"#), no_claims),
        (body("{\"sub\":\"\u{0}"), no_claims),
    ] {
        assert_eq!(rejected(&verifier, &token), text, "{token}");
    }
}

#[test]
fn a_token_beyond_the_bound_is_refused_before_it_is_read() {
    let signer = Signer::secret(SECRET);
    let edge = (5_900..6_200)
        .map(|padding| signer.sign(&claims_with(json!({"padding": "x".repeat(padding)}))))
        .find(|token| token.len() == MAX_TOKEN_BYTES);
    assert!(verify(&with_secret(), &edge.expect("some padding makes it")).is_ok());
    let text = "the token has more than 8192 bytes";
    assert_eq!(rejected(&with_secret(), &"x".repeat(MAX_TOKEN_BYTES + 1)), text);
    let long = signer.sign(&claims_with(json!({"padding": "x".repeat(100 << 10)})));
    assert_eq!(rejected(&with_secret(), &long), text);
}

#[test]
fn claims_are_for_now_for_us_and_for_somebody() {
    let config = Config {
        keys: vec![Key::secret(SECRET).unwrap()],
        audience: Some("broadcastd".to_owned()),
        issuer: Some("https://id.example".to_owned()),
        ..Config::default()
    };
    let verifier = verifier(config);
    let good = json!({"aud": "broadcastd", "iss": "https://id.example"});
    let sign = |changes: Value| {
        let mut claims = claims_with(good.clone());
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        Signer::secret(SECRET).sign(&claims)
    };
    let missing = |name: &str| {
        let mut claims = claims_with(good.clone());
        claims.as_object_mut().unwrap().remove(name);
        Signer::secret(SECRET).sign(&claims)
    };
    for fine in [
        json!({}),
        json!({"aud": ["other", "broadcastd"]}),
        json!({"exp": NOW as f64 + 0.5}),
        json!({"exp": 1e300}),
        json!({"exp": u64::MAX}),
        json!({"nbf": NOW + LEEWAY_SECONDS}),
        json!({"nbf": -1}),
        json!({"sub": "x".repeat(256)}),
        json!({"iat": "nonsense that nobody asks for"}),
    ] {
        assert!(verify(&verifier, &sign(fine.clone())).is_ok(), "{fine}");
    }
    for (changes, text) in [
        (json!({"exp": NOW}), "the token has expired (exp)"),
        (json!({"exp": -1e300}), "the token has expired (exp)"),
        (json!({"exp": "9999999999"}), "the token's exp is no number of seconds"),
        (json!({"exp": null}), "the token's exp is no number of seconds"),
        (json!({"nbf": NOW + LEEWAY_SECONDS + 1}), "the token is not valid yet (nbf)"),
        (json!({"nbf": true}), "the token's nbf is no number of seconds"),
        (json!({"aud": "broadcastd2"}), "the token is for another audience (aud)"),
        (json!({"aud": []}), "the token is for another audience (aud)"),
        (json!({"aud": ["broadcastd", 1]}), "the token's aud is neither a text nor a list of texts"),
        (json!({"aud": null}), "the token's aud is neither a text nor a list of texts"),
        (json!({"iss": "https://id.example/"}), "the token is by another issuer (iss)"),
        (json!({"iss": ["https://id.example"]}), "the token is by another issuer (iss)"),
        (json!({"sub": ""}), "the token's user (sub) is empty"),
        (json!({"sub": "service:ingest"}), "the token's user (sub) begins with service:, as no user's does"),
        (json!({"sub": "operator:admin"}), "the token's user (sub) begins with operator:, as no user's does"),
        (json!({"sub": 17}), "the token's user (sub) is no text"),
        (json!({"sub": null}), "the token's user (sub) is no text"),
        (json!({"sub": "x".repeat(257)}), "the token's user (sub) has more than 256 bytes"),
        (json!({"streams": null}), "the token's streams is no list of texts"),
        (json!({"streams": "bars"}), "the token's streams is no list of texts"),
        (json!({"publish": [1]}), "the token's publish is no list of texts"),
        (json!({"commands": {}}), "the token's commands is no list of texts"),
        (
            json!({"streams": ["bars", "Bars"]}),
            "the token's claims are malformed: entry 2 of streams: it is no pattern, such as bars, bars:AAPL:1 or bars:*:1",
        ),
        (json!({"commands": [""]}), "the token's claims are malformed: entry 1 of commands: it is empty"),
        (
            json!({"publish": vec!["a"; MAX_ENTRIES + 1]}),
            "the token's claims are malformed: publish: it has more than 100 entries",
        ),
    ] {
        assert_eq!(rejected(&verifier, &sign(changes.clone())), text, "{changes}");
    }
    assert!(verify(&verifier, &sign(json!({"publish": vec!["a"; MAX_ENTRIES]}))).is_ok());
    for (name, text) in [
        ("exp", "the token has no end (exp)"),
        ("aud", "the token is for another audience (aud)"),
        ("iss", "the token is by another issuer (iss)"),
        ("sub", "the token's user (sub) is missing"),
    ] {
        assert_eq!(rejected(&verifier, &missing(name)), text);
    }
}

#[test]
fn a_token_ends_at_its_end_exactly() {
    let token = Signer::secret(SECRET).sign(&claims());
    let end = (NOW + 60) * NANOS;
    assert_eq!(with_secret().verify(&token, end - 1).unwrap().expires_unix_ns(), Some(end));
    assert!(with_secret().verify(&token, end).is_err());
}

#[test]
fn users_are_compared_as_they_are_written() {
    let config = Config { keys: vec![Key::secret(SECRET).unwrap()], user_claim: "uid".to_owned(), ..Config::default() };
    let verifier = verifier(config);
    for user in ["user-1", "user-10", " user-1", "user-1 ", "User-1", "user-1\u{0}", "üser", "u\u{308}ser"] {
        let token = Signer::secret(SECRET).sign(&claims_with(json!({"uid": user})));
        assert_eq!(&**verify(&verifier, &token).unwrap().audience().unwrap(), user);
    }
    assert_eq!(rejected(&verifier, &Signer::secret(SECRET).sign(&claims())), "the token's user (uid) is missing");
}

#[test]
fn without_keys_nobody_is_trusted() {
    let verifier = Verifier::default();
    let none = "no keys are configured ([auth]), so no token can be checked";
    assert_eq!(rejected(&verifier, &Signer::secret(SECRET).sign(&claims())), none);
    verifier.set(Config { keys: vec![Key::secret(SECRET).unwrap()], ..Config::default() }, Instant::now());
    assert!(verify(&verifier, &Signer::secret(SECRET).sign(&claims())).is_ok());
    verifier.set(Config::default(), Instant::now());
    assert_eq!(rejected(&verifier, &Signer::secret(SECRET).sign(&claims())), none);
}

#[test]
fn files_that_are_no_keys_are_refused_with_the_way_out() {
    let refused = |text: &str| Key::file(text).expect_err("it is no file of keys").to_string();
    let set = |key: Value| json!({"keys": [key]}).to_string();
    let one = Signer::ec(fixture!("ec-one.test"));
    let changed = |name: &str, value: Value| {
        let mut jwk = one.jwk();
        jwk[name] = value;
        set(jwk)
    };
    let none = "it holds no key for RS256, ES256 or EdDSA; add the public key that signs the tokens";
    let private = "block 1 of the PEM file is a private key; keep that where tokens are signed, and give the public one: \
                   openssl pkey -pubout";
    for (text, expected) in [
        ("", "it is neither a JWKS (JSON) nor PEM (-----BEGIN PUBLIC KEY-----)"),
        ("{\"keys\":[", "it is no JWKS: a JSON object with a list of keys, {\"keys\":[…]}"),
        ("{}", "it is no JWKS: a JSON object with a list of keys, {\"keys\":[…]}"),
        ("{\"keys\":[]}", none),
        (fixture!("ec-one.test"), private),
        (fixture!("rsa-one.test"), private),
        (
            fixture!("rsa-weak.public"),
            "block 1 of the PEM file is no RSA key of 2048 bits or more, nor P-256 or Ed25519",
        ),
        (
            fixture!("ec-p384.public"),
            "block 1 of the PEM file is no RSA key of 2048 bits or more, nor P-256 or Ed25519",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "block 1 of the PEM file is no public key (-----BEGIN PUBLIC KEY-----)",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "block 1 of the PEM file cannot be read as an RSA, P-256 or Ed25519 key",
        ),
        (
            &[fixture!("ec-one.public"), &fixture!("ed-one.public")[..60]].concat(),
            "block 2 of the PEM file cannot be read as an RSA, P-256 or Ed25519 key",
        ),
        (
            &set(json!({"kty": "oct", "k": "c2VjcmV0"})),
            "key 1 of the JWKS is a shared secret; give it as auth.jwt.secret",
        ),
        (&set(json!(7)), "key 1 of the JWKS is no JSON Web Key"),
        (
            &changed("d", "AAAA".into()),
            "key 1 of the JWKS has its private part; keep that where tokens are signed, and take \"d\" out here",
        ),
        (&changed("x", "AAAA".into()), "key 1 of the JWKS is no point on P-256: x and y have 32 bytes each"),
        (&changed("x", "a b".into()), "key 1 of the JWKS has a number that is not base64url"),
        (&set(json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"})), "key 1 of the JWKS is no RSA key of 2048 to 8192 bits"),
        (
            &set(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
            "key 1 of the JWKS is no Ed25519 key: x has 32 bytes",
        ),
        (&changed("use", "enc".into()), none),
        (&changed("key_ops", json!(["sign"])), none),
        (&changed("alg", "ES384".into()), none),
        (&changed("crv", "P-521".into()), none),
        (&changed("kty", "PQC".into()), none),
        (&jwks(&vec![one.clone(); MAX_KEYS + 1]), "it holds 17 keys, at most 16 are tried; take old ones out"),
    ] {
        assert_eq!(refused(text), expected);
    }
    assert_eq!(Key::file(&jwks(&vec![one.clone(); MAX_KEYS])).unwrap().len(), MAX_KEYS);
    let other = json!({"kty": "RSA", "use": "enc", "n": "AAAA", "e": "AQAB"});
    let mixed = json!({"keys": [other, one.jwk()], "more": 1}).to_string();
    assert_eq!(Key::file(&mixed).unwrap().len(), 1, "what is for something else is passed over");
}

#[test]
fn a_secret_has_the_length_of_the_hash() {
    assert!(Key::secret(&[b'x'; 32]).is_ok());
    let short = Key::secret(&[b'x'; 31]).unwrap_err().to_string();
    assert_eq!(short, "a secret of HS256 has at least 32 bytes; make one with: openssl rand -hex 32");
}

fn service(name: &str, token: &str) -> Service {
    let grants = Grants::read(Lists { publish: vec!["ticks".to_owned()], ..Lists::default() }).unwrap();
    Service { name: name.to_owned(), token: Hash::of(token), grants, rate: None }
}

#[test]
fn a_service_is_known_by_its_token_and_is_nobodys_audience() {
    let config = Config {
        keys: vec![Key::secret(SECRET).unwrap()],
        services: vec![service("user-1", "first"), service("second", "2")],
        ..Config::default()
    };
    let verifier = verifier(config);
    let known = verify(&verifier, "first").unwrap();
    assert_eq!((&**known.name(), known.audience(), known.expires_unix_ns()), ("service:user-1", None, None));
    assert_eq!(&**verify(&verifier, "2").unwrap().name(), "service:second");
    assert!(
        known.may_publish("ticks:A") && !known.may_publish("bars") && !known.may_command("a") && !known.is_operator()
    );
    for wrong in ["", "firs", "first ", "FIRST", "3"] {
        assert!(rejected(&verifier, wrong).starts_with("the token is neither one of a service"));
    }
    let user = verify(&verifier, &Signer::secret(SECRET).sign(&claims())).unwrap();
    assert_eq!(user.audience().map(|user| &**user), Some("user-1"));
    assert!(*user != *known && !user.is_same(&known) && user.is_same(&Identity::of_user("user-1")));
    assert_eq!(Identity::of_operator("user-1").audience(), None);
}

#[test]
fn a_hash_is_64_hex_digits() {
    let printed = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"; // printf first | sha256sum
    assert_eq!(Hash::from_hex(printed), Some(Hash::of("first")));
    assert_eq!(Hash::from_hex(&printed.to_uppercase()), Some(Hash::of("first")));
    for wrong in ["", &printed[1..], &format!("{printed}0"), &printed.replace('a', "g"), &printed.replace("a7", "é")] {
        assert_eq!(Hash::from_hex(wrong), None, "{wrong}");
    }
    let ours = Hash::of("first");
    for at in 0..64 {
        let digit = if &printed[at..=at] == "0" { "1" } else { "0" };
        let other = Hash::from_hex(&[&printed[..at], digit, &printed[at + 1..]].concat()).unwrap();
        assert!(!ours.is(&other) && ours.is(&ours), "digit {at}");
    }
}

#[test]
fn all_connections_of_a_service_share_its_rate() {
    let rate = Rate { per_second: NonZeroU32::new(10).unwrap(), burst: 20 };
    let with = |rate| Config {
        services: vec![Service { rate, ..service("ingest", "first") }, service("other", "2")],
        ..Config::default()
    };
    let start = Instant::now();
    let verifier = Verifier::default();
    verifier.set(with(Some(rate)), start);
    let [one, two] = [verify(&verifier, "first"), verify(&verifier, "first")].map(Result::unwrap);
    assert_eq!((one.admit(15, start), two.admit(5, start)), (Ok(()), Ok(())));
    let later = Duration::from_millis(100);
    assert_eq!(two.admit(1, start), Err(later));
    verifier.set(with(Some(rate)), start);
    assert_eq!(verify(&verifier, "first").unwrap().admit(1, start), Err(later), "a reload fills nothing up");
    assert_eq!(one.admit(1, start + later), Ok(()));
    let unlimited = verify(&verifier, "2").unwrap();
    assert!((0..1000).all(|_| unlimited.admit(u32::MAX, start).is_ok()));
}

#[test]
fn an_identity_holds_up_to_its_end_and_not_at_it() {
    let identity = verify(&with_secret(), &Signer::secret(SECRET).sign(&claims())).unwrap();
    let end = (NOW + 60) * NANOS;
    assert_eq!((identity.holds(end - 1), identity.holds(end)), (Ok(()), Err("your token has expired")));
    assert_eq!(Identity::of_user("u").holds(i64::MAX), Ok(()));
}

#[test]
fn a_token_that_was_taken_out_or_changed_is_taken_back() {
    let verifier = Verifier::default();
    let set = |services: Vec<Service>| verifier.set(Config { services, ..Config::default() }, Instant::now());
    set(vec![service("ingest", "first"), service("other", "2")]);
    let known = verify(&verifier, "first").unwrap();
    set(vec![service("other", "2"), service("ingest", "first")]);
    assert_eq!(known.holds(0), Ok(()), "another order is no change");
    let clone = Identity::clone(&known);
    set(vec![service("ingest", "leaked no more")]);
    assert_eq!((known.holds(0), clone.holds(0)), (Err(TAKEN_BACK), Err(TAKEN_BACK)), "whoever holds it is told");
    assert_eq!(verify(&verifier, "leaked no more").unwrap().holds(0), Ok(()));
    set(vec![service("ingest", "first")]);
    assert_eq!(known.holds(0), Err(TAKEN_BACK), "what was taken back once stays so");
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let config =
        Config { keys: vec![Key::secret(SECRET).unwrap()], services: vec![service("a", "b")], ..Config::default() };
    let shown = format!("{:?}", verifier(config));
    assert!(shown.contains("Key(HS256)") && shown.contains("Hash(…)"), "{shown}");
}

/// One part of a pattern or topic.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "aa", "*"])
}

fn pattern() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["bars", "ticks", "user"]), prop::collection::vec(part(), 0..3))
        .prop_map(|(stream, parts)| [vec![stream], parts].concat().join(":"))
}

fn permission() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["alerts.ack", "alerts.acknowledge", "alerts.*", "*", "bars.reset"])
        .prop_map(str::to_owned)
}

/// A plain reading of what a pattern grants: the whole stream, or as many parts, each the same or any.
fn grants(granted: &str, asked: &str) -> bool {
    let (granted, asked): (Vec<&str>, Vec<&str>) = (granted.split(':').collect(), asked.split(':').collect());
    let each = || granted.iter().zip(&asked).all(|(granted, asked)| *granted == "*" || granted == asked);
    granted[0] == asked[0] && (granted.len() == 1 || granted.len() == asked.len() && each())
}

proptest! {
    #[test]
    fn rights_are_exactly_what_the_claims_say(
        streams in prop::option::of(prop::collection::vec(pattern(), 0..4)),
        publish in prop::option::of(prop::collection::vec(pattern(), 0..4)),
        commands in prop::option::of(prop::collection::vec(permission(), 0..3)),
        asked in prop::collection::vec(pattern(), 8),
        permissions in prop::collection::vec(permission(), 4),
    ) {
        let mut claims = claims();
        for (name, list) in [("streams", &streams), ("publish", &publish), ("commands", &commands)] {
            if let Some(list) = list {
                claims[name] = json!(list);
            }
        }
        let identity = verify(&with_secret(), &Signer::secret(SECRET).sign(&claims)).unwrap();
        for text in asked {
            let reads = streams.as_ref().is_none_or(|granted| granted.iter().any(|granted| grants(granted, &text)));
            prop_assert_eq!(identity.may_read(&Pattern::parse(&text).unwrap()), reads, "{}", text);
            if !text.contains('*') {
                let publishes = publish.iter().flatten().any(|granted| grants(granted, &text));
                prop_assert_eq!(identity.may_publish(&text), publishes, "{}", text);
            }
        }
        for permission in permissions {
            let may = commands.iter().flatten().any(|granted| *granted == permission);
            prop_assert_eq!(identity.may_command(&permission), may);
        }
        prop_assert!(!identity.is_operator() && identity.admit(u32::MAX, Instant::now()).is_ok());
    }

    #[test]
    fn a_token_with_one_bit_changed_proves_nothing(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let token = Signer::secret(SECRET).sign(&claims());
        let mut bytes = token.clone().into_bytes();
        bytes[at.index(token.len())] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(with_secret().verify(&changed, NOW * NANOS).is_err(), "{}", changed);
        }
    }
}

#[test]
fn an_operator_who_watches_a_user_is_not_that_user() {
    let operator = Identity::of_operator("admin");
    let watcher = operator.watching("user-1");
    assert_eq!((watcher.audience().map(|user| &**user), watcher.user()), (Some("user-1"), None));
    assert!(watcher.is_operator() && watcher.is_same(&operator) && operator.audience().is_none());
    operator.take_back();
    assert!(watcher.is_taken_back());
    for other in [Identity::of_user("user-2"), Identity::of_service("ingest")] {
        assert_eq!(other.watching("user-1"), other, "nobody else watches anybody");
    }
}
