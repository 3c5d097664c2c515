//! From `[auth]` and the files that it names to whom the verifier trusts, also when only the files change.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::parts;
use crate::config::code;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::{Loaded, schema};
use crate::folders::Env;
use crate::identity::grants::{BadEntry, Grants, Lists};
use crate::identity::keys::Key;
use crate::identity::service::{Hash, Service};
use crate::identity::{Config, Verifier};

/// The largest file of keys: several times what the most keys need.
const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

/// The verifier, and what it was told last of what stands outside of config.toml.
pub struct Trust {
    verifier: Arc<Verifier>,
    seen: Result<Outside, Mistake>,
}

/// What is ready to be trusted.
pub struct Prepared {
    config: Config,
    outside: Outside,
}

/// What `[auth]` only names.
#[derive(Clone, Default, PartialEq, Eq)]
struct Outside {
    keys: Option<String>,
    secret: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Mistake {
    code: &'static str,
    pointer: String,
    message: String,
}

impl Trust {
    pub fn new(prepared: Prepared) -> Self {
        let mut trust = Self { verifier: Arc::default(), seen: Ok(Outside::default()) };
        trust.commit(prepared);
        trust
    }

    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    pub fn commit(&mut self, prepared: Prepared) {
        self.verifier.set(prepared.config, Instant::now());
        self.seen = Ok(prepared.outside);
    }

    /// Reads again what stands outside of config.toml. What is broken changes nothing, and is told once.
    pub fn look(&mut self, auth: &schema::Trust, env: &Env) {
        let outside = Outside::read(auth, env);
        if outside == self.seen {
            return;
        }
        match outside.clone().and_then(|outside| config(auth, &outside)) {
            Ok(config) => {
                let keys = config.keys.len();
                self.verifier.set(config, Instant::now());
                tracing::info!(keys, "the keys of [auth] have changed and were taken");
            }
            Err(mistake) => {
                let Mistake { pointer, message, .. } = mistake;
                tracing::error!(setting = pointer, "{message}; the keys that were there before stay");
            }
        }
        self.seen = outside;
    }
}

/// Reads and checks everything that `[auth]` names; nothing is touched.
pub fn prepare(loaded: &Loaded, env: &Env) -> Result<Prepared, Diagnostics> {
    let auth = &loaded.config.auth;
    let prepared = Outside::read(auth, env).and_then(|outside| {
        let config = config(auth, &outside)?;
        Ok(Prepared { config, outside })
    });
    prepared.map_err(|Mistake { code, pointer, message }| {
        let found = Diagnostic::of_value(code, &loaded.document, &pointer, message);
        let found = found.help("docs/identity.md shows how keys, secrets and tokens are made");
        Diagnostics::about(&loaded.document, vec![found])
    })
}

impl Outside {
    fn read(auth: &schema::Trust, env: &Env) -> Result<Self, Mistake> {
        let keys = auth.jwt.keys.as_deref().map(read).transpose();
        let keys = keys.map_err(|message| Mistake::of("/auth/jwt/keys", message))?;
        let secret = auth.jwt.secret.as_ref().map(|secret| parts::secret(secret, env)).transpose();
        let secret = secret.map_err(|message| Mistake::of("/auth/jwt/secret", message))?;
        Ok(Self { keys, secret })
    }
}

impl Mistake {
    fn of(pointer: &str, message: String) -> Self {
        Self { code: code::UNUSABLE_KEYS, pointer: pointer.to_owned(), message }
    }

    fn of_entry(token: usize, bad: BadEntry) -> Self {
        let index = bad.index.map(|index| format!("/{index}")).unwrap_or_default();
        let pointer = format!("/auth/tokens/{token}/{}{index}", bad.list);
        let message = format!("`auth.tokens.{token}`: {bad}");
        Self { code: code::WRONG_FORMAT, pointer, message }
    }
}

fn config(auth: &schema::Trust, outside: &Outside) -> Result<Config, Mistake> {
    let jwt = &auth.jwt;
    let mut keys = Vec::new();
    if let (Some(text), Some(path)) = (&outside.keys, &jwt.keys) {
        let found = Key::file(text).map_err(|why| format!("the keys in {} cannot be used: {why}", path.display()));
        keys.extend(found.map_err(|message| Mistake::of("/auth/jwt/keys", message))?);
    }
    if let Some(text) = &outside.secret {
        let key = Key::secret(text.as_bytes()).map_err(|why| format!("`auth.jwt.secret` cannot be used: {why}"));
        keys.push(key.map_err(|message| Mistake::of("/auth/jwt/secret", message))?);
    }
    let services =
        auth.tokens.iter().enumerate().map(|(index, token)| service(index, token)).collect::<Result<_, _>>()?;
    let (audience, issuer) = (jwt.audience.clone(), jwt.issuer.clone());
    Ok(Config { keys, audience, issuer, user_claim: jwt.user_claim.clone(), services })
}

fn service(index: usize, token: &schema::ServiceToken) -> Result<Service, Mistake> {
    let lists =
        Lists { streams: token.streams.clone(), publish: token.publish.clone(), commands: token.commands.clone() };
    let grants = Grants::read(lists).map_err(|bad| Mistake::of_entry(index, bad))?;
    let hash = Hash::from_hex(&token.sha256).ok_or_else(|| {
        let pointer = format!("/auth/tokens/{index}/sha256");
        Mistake { code: code::WRONG_FORMAT, pointer, message: "a SHA-256 is 64 hex digits".to_owned() }
    })?;
    let rate = token.rate.as_ref().map(|rate| parts::rate(rate.events, rate.burst));
    Ok(Service { name: token.name.clone(), token: hash, grants, rate })
}

/// The text of a file of keys.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read the keys in {}: {error}", path.display());
    // Opening what is no file, such as a pipe, might wait for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut text = String::new();
    let bytes = File::open(path).map_err(failed)?.take(MAX_KEY_FILE_BYTES + 1).read_to_string(&mut text);
    match bytes.map_err(failed)? as u64 {
        0..=MAX_KEY_FILE_BYTES => Ok(text),
        _ => Err(format!("{} is larger than {} KiB; name a file of keys", path.display(), MAX_KEY_FILE_BYTES / 1024)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{self, Paint};

    const EC: &str = include_str!("../../tests/keys/ec-one.public.pem");
    const ED: &str = include_str!("../../tests/keys/ed-one.public.pem");

    fn load(text: &str) -> Loaded {
        let source = config::Source { path: "config.toml".into(), ..config::Source::default() };
        config::Config::from_text(&source, text).unwrap_or_else(|report| panic!("{}", report.render(Paint::Plain, "")))
    }

    /// What a token that names this algorithm is told: its signature is wrong if there is a key.
    fn has_key(trust: &Trust, head: &str) -> bool {
        let rejected = trust.verifier().verify(&format!("{head}.e30.AAAA"), 0).unwrap_err().0;
        assert!(
            rejected.contains("signature is by no key") || rejected.contains("no key is configured for"),
            "{rejected}"
        );
        rejected.contains("signature is by no key")
    }

    /// Whether there are keys for ES256 and EdDSA.
    fn keys(trust: &Trust) -> [bool; 2] {
        ["eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJFZERTQSJ9"].map(|head| has_key(trust, head))
    }

    #[test]
    fn keys_that_change_are_taken_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.pem");
        fs::write(&file, EC).unwrap();
        let loaded = load(&format!("[auth]\njwt = {{ keys = {file:?} }}\n"));
        let (auth, env) = (&loaded.config.auth, Env::new());
        let mut trust = Trust::new(prepare(&loaded, &env).ok().unwrap());
        let verifier = trust.verifier().clone();
        let mut look = |change: &dyn Fn()| {
            change();
            trust.look(auth, &env);
            keys(&trust)
        };
        assert_eq!(look(&|| ()), [true, false]);
        assert_eq!(look(&|| fs::write(&file, [EC, ED].concat()).unwrap()), [true, true], "old and new");
        assert_eq!(look(&|| fs::write(&file, &ED[..50]).unwrap()), [true, true], "half-written");
        assert_eq!(look(&|| fs::remove_file(&file).unwrap()), [true, true], "gone");
        assert_eq!(look(&|| fs::write(&file, ED).unwrap()), [false, true], "only the new");
        assert!(Arc::ptr_eq(&verifier, trust.verifier()), "who holds the verifier sees it");
    }

    #[test]
    fn what_was_only_prepared_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.pem");
        fs::write(&file, EC).unwrap();
        let mut trust = Trust::new(prepare(&load(""), &Env::new()).ok().unwrap());
        let next = load(&format!("[auth]\njwt = {{ keys = {file:?} }}\n"));
        let prepared = prepare(&next, &Env::new()).ok().unwrap();
        assert!(trust.verifier().verify("a.b.c", 0).unwrap_err().0.starts_with("no keys are configured"));
        trust.commit(prepared);
        assert_eq!(keys(&trust), [true, false]);
    }

    #[test]
    fn everything_that_auth_says_reaches_the_verifier() {
        let loaded = load(
            r#"[auth]
            jwt = { secret = { env = "S" }, audience = "a", issuer = "i", user_claim = "uid" }
            [[auth.tokens]]
            name = "ingest"
            sha256 = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
            streams = ["bars"]
            publish = ["ticks"]
            commands = ["alerts.acknowledge"]
            rate = { events = 10, burst = 20 }"#,
        );
        let env = Env::from([("S".to_owned(), "x".repeat(32))]);
        let Prepared { config, .. } = prepare(&loaded, &env).ok().unwrap();
        assert_eq!((config.keys.len(), &*config.user_claim), (1, "uid"));
        assert_eq!((config.audience.as_deref(), config.issuer.as_deref()), (Some("a"), Some("i")));
        let trust = Trust::new(prepare(&loaded, &env).ok().unwrap());
        let identity = trust.verifier().verify("first", 0).unwrap();
        let pattern = |text: &str| crate::hub::pattern::Pattern::parse(text).unwrap();
        assert!(identity.may_read(&pattern("bars:A")) && !identity.may_read(&pattern("ticks")));
        assert!(identity.may_publish("ticks:A") && !identity.may_publish("bars:A"));
        assert!(identity.may_command("alerts.acknowledge") && !identity.may_command("alerts"));
        let now = Instant::now();
        assert!(identity.admit(20, now).is_ok() && identity.admit(1, now).is_err());
    }
}
