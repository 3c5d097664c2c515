//! Who a client is, and what it may do: made from a verified token and from nothing else.

mod claims;
pub mod grants;
pub mod guesses;
mod jwt;
pub mod keys;
pub mod service;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use self::grants::Reads;

use self::grants::Grants;
use self::guesses::Guesses;
use self::keys::Key;
use self::service::{Allowance, Hash, Service};
use crate::hub::pattern::Pattern;

/// The longest token that is looked at: several times what a provider with many claims makes, and half of what the head
/// of a request may hold.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Why an identity holds no more, for whoever acts by it.
pub const TAKEN_BACK: &str = "your token has been taken back or changed";

/// What the names of services and operators begin with, and no user's.
const SERVICE: &str = "service:";
const OPERATOR: &str = "operator:";

/// Somebody whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As it is spelled everywhere. Of a user it is the user's own, which never looks like one of another role.
    name: Arc<str>,
    role: Role,
    grants: Grants,
    expires_unix_ns: Option<i64>,
    allowance: Option<Arc<Allowance>>,
    /// Whose private events an operator looks at.
    watched: Option<Arc<str>>,
    recall: Recall,
    /// The operator who shows this user's token, and whose end is the end of what it shows him.
    shown_by: Option<Arc<Identity>>,
}

/// Whether the token behind an identity was taken back; everybody who holds a clone of the identity is told.
#[derive(Clone, Debug, Default)]
struct Recall(Arc<AtomicBool>);

/// Names of users, services and operators are apart, also for who reads them: what is no user's begins with its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Service,
    Operator,
}

/// Knows whose token it is where others are trusted than the verifier's.
pub trait Verify: Send + Sync {
    fn identity(&self, token: &str) -> Result<Arc<Identity>, Rejected>;
}

/// Whether clients of an endpoint say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody is asked, and a token that comes along is not looked at.
    None,
    /// Whoever shows a token is somebody; a wrong one lets nobody in.
    #[default]
    Optional,
    Required,
}

/// Why a token proves nothing. The text names the rule, and never holds a part of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected(pub String);

/// Why a token that came from somewhere makes nobody known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    Rejected(Rejected),
    /// It was not looked at: too many came from there that prove nothing.
    TooMany,
}

/// Whose tokens are trusted, and which claim names the user.
#[derive(Clone, Debug)]
pub struct Config {
    pub keys: Vec<Key>,
    /// What `aud` must name.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    pub user_claim: String,
    pub services: Vec<Service>,
}

/// Knows whose tokens to trust. Without keys it trusts nobody.
#[derive(Debug, Default)]
pub struct Verifier {
    trust: RwLock<Arc<Trust>>,
    guesses: Mutex<Guesses>,
}

/// What holds at the moment; it is replaced whole.
#[derive(Debug, Default)]
struct Trust {
    config: Config,
    /// Who the services of the configuration are, in the same order.
    services: Vec<Arc<Identity>>,
}

impl Identity {
    /// A user who may read what is visible, and nothing else.
    pub fn of_user(user: &str) -> Self {
        let grants = Grants::of(Reads::Visible);
        Self {
            name: user.into(),
            role: Role::User,
            grants,
            expires_unix_ns: None,
            allowance: None,
            watched: None,
            recall: Recall::default(),
            shown_by: None,
        }
    }

    /// Somebody who runs the daemon, by the name that acts of his are known by.
    pub fn of_operator(name: &str) -> Self {
        let name = format!("{OPERATOR}{name}");
        Self { role: Role::Operator, grants: Grants::of(Reads::Everything), ..Self::of_user(&name) }
    }

    /// A program with a token of its own, which may read what is visible, and nothing else.
    pub fn of_service(name: &str) -> Self {
        Self { role: Role::Service, ..Self::of_user(&format!("{SERVICE}{name}")) }
    }

    /// What its acts are known by, in logs, to operators and to plugins: a user's name as it is, `service:ingest`,
    /// `operator:admin`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user who this is. Services and operators are none, whatever they are named.
    pub fn user(&self) -> Option<&Arc<str>> {
        (self.role == Role::User).then_some(&self.name)
    }

    /// Whose private events are shown to this client: its own to a user, those of whom it watches to an operator.
    pub fn audience(&self) -> Option<&Arc<str>> {
        self.user().or(self.watched.as_ref())
    }

    /// The same operator, who is shown the private events of this user. It ends when the operator is taken back.
    pub fn watching(&self, user: &str) -> Self {
        Self { watched: self.is_operator().then(|| user.into()), ..self.clone() }
    }

    /// The same user by a token that this operator shows. It ends with the token, and when the operator is taken back.
    pub fn shown_by(&self, operator: &Arc<Self>) -> Self {
        Self { shown_by: Some(operator.clone()), ..self.clone() }
    }

    /// Whether an operator shows its token, who may look through its user's eyes and not act in its name.
    pub fn is_shown(&self) -> bool {
        self.shown_by.is_some()
    }

    /// Whether both are the same user, the same service or the same operator, whatever their rights.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.role, &self.name) == (other.role, &other.name)
    }

    pub fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }

    /// From now on nobody may act by this identity, nor by a clone of it.
    pub fn take_back(&self) {
        self.recall.0.store(true, Ordering::Release);
    }

    pub fn is_taken_back(&self) -> bool {
        let by = self.shown_by.as_ref();
        self.recall.0.load(Ordering::Acquire) || by.is_some_and(|operator| operator.is_taken_back())
    }

    /// Whether it may be acted by at this moment, or why not. Whoever acts for long asks each time.
    pub fn holds(&self, unix_ns: i64) -> Result<(), &'static str> {
        if self.is_taken_back() {
            return Err(TAKEN_BACK);
        }
        if self.expires_unix_ns.is_some_and(|end| end <= unix_ns) {
            return Err("your token has expired");
        }
        Ok(())
    }

    /// When its rights end, in nanoseconds since 1970.
    pub fn expires_unix_ns(&self) -> Option<i64> {
        self.expires_unix_ns
    }

    /// Whether a subscription to the pattern shows nothing that it may not see.
    pub fn may_read(&self, pattern: &Pattern) -> bool {
        match &self.grants.reads {
            Reads::Visible | Reads::Everything => true,
            Reads::Only(granted) => granted.iter().any(|granted| granted.covers(pattern)),
        }
    }

    /// Whether there is anything that it may publish to.
    pub fn may_publish_at_all(&self) -> bool {
        self.is_operator() || !self.grants.publishes.is_empty()
    }

    /// Whether it may publish to this topic, which is full and canonical.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.is_operator() || self.grants.publishes.iter().any(|granted| granted.matches_topic(topic))
    }

    /// The permissions that it was given by name.
    pub fn permissions(&self) -> &[String] {
        &self.grants.commands
    }

    /// Whether it has this permission, such as `alerts.acknowledge`.
    pub fn may_command(&self, permission: &str) -> bool {
        self.is_operator() || self.grants.commands.iter().any(|granted| granted == permission)
    }

    /// Counts so many events as published, or says after which time there is room for them. All connections with the same
    /// service token count together; who has no rate configured is not held up.
    pub fn admit(&self, events: u32, now: Instant) -> Result<(), Duration> {
        self.allowance.as_ref().map_or(Ok(()), |allowance| allowance.admit(events, now))
    }
}

impl Verifier {
    /// Trusts what this says from now on, and nothing else. A service that stays as it was keeps what it used of its rate; one
    /// that was taken out or changed is taken back.
    pub fn set(&self, config: Config, now: Instant) {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        let known = |service: &Service| {
            let same = trust.config.services.iter().position(|old| old == service);
            same.map(|index| trust.services[index].clone())
        };
        let identity = |service: &Service| known(service).unwrap_or_else(|| Arc::new(service.identity(now)));
        let services: Vec<Arc<Identity>> = config.services.iter().map(identity).collect();
        let gone = |known: &&Arc<Identity>| !services.iter().any(|service| Arc::ptr_eq(service, known));
        trust.services.iter().filter(gone).for_each(|known| known.take_back());
        *trust = Arc::new(Trust { config, services });
    }

    /// Whose token this is. The time is in nanoseconds since 1970.
    pub fn verify(&self, token: &str, unix_ns: i64) -> Result<Arc<Identity>, Rejected> {
        let trust = self.trust();
        if trust.config.keys.is_empty() && trust.services.is_empty() {
            return Err("no keys are configured ([auth]), so no token can be checked".into());
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejected(format!("the token has more than {MAX_TOKEN_BYTES} bytes")));
        }
        if let Some(service) = trust.service(token) {
            return Ok(service);
        }
        let claims = jwt::open(token, &trust.config.keys)?;
        claims::identity(&claims, &trust.config, unix_ns).map(Arc::new)
    }

    /// The same for a token from this address, which has its turn and no more to show what proves nothing.
    pub fn verify_from(
        &self,
        peer: Option<IpAddr>,
        token: &str,
        unix_ns: i64,
        now: Instant,
    ) -> Result<Arc<Identity>, Unproven> {
        if !self.guesses().are_heard(peer, now) {
            return Err(Unproven::TooMany);
        }
        self.verify(token, unix_ns).map_err(|rejected| {
            self.guesses().failed(peer, now);
            Unproven::Rejected(rejected)
        })
    }

    /// A panic while the lock was held leaves counts that are still sound: go on with them.
    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trust(&self) -> Arc<Trust> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Trust {
    /// The service whose token this is. All are compared, so that the time does not say which came near.
    fn service(&self, token: &str) -> Option<Arc<Identity>> {
        let shown = Hash::of(token);
        let both = self.config.services.iter().zip(&self.services);
        both.fold(
            None,
            |found, (service, identity)| if service.token.is(&shown) { Some(identity.clone()) } else { found },
        )
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { keys: Vec::new(), audience: None, issuer: None, user_claim: "sub".to_owned(), services: Vec::new() }
    }
}

impl From<&str> for Rejected {
    fn from(rule: &str) -> Self {
        Self(rule.to_owned())
    }
}

/// Whose token it is does not depend on what happened since.
impl PartialEq for Recall {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Recall {}

impl fmt::Display for Unproven {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(out),
            Self::TooMany => out.write_str("too many tokens from your address prove nothing; try again in a second"),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
