//! Users, services and operators whose names could be taken for one another, and the tokens that say who somebody is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fastrand::Rng;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;

use super::desk::PERMISSION;
use crate::event::unix_now;
use crate::identity::grants::{Grants, Lists};
use crate::identity::keys::Key;
use crate::identity::service::{Hash, Service};
use crate::identity::{Config, Identity, Verifier};
use crate::rate::Rate;

/// Each begins, folds, trims or decodes to another.
pub const NAMES: [&str; 10] =
    ["user-1", "user-10", "user-1 ", "User-1", "*", "user:1", "%2A", "user-1\0", "", "mail=epoch:3;user-1"];
/// The one that no token can name.
pub const NAMELESS: usize = 8;
/// What a token may be restricted to.
const RIGHTS: [&str; 9] =
    ["bars", "bars:A:*", "bars:*:1", "bars:%2A", "known", "hidden:A:1", "mail", "mail:A:*", "post:user-1"];
const SECRET: &[u8] = b"a secret for tests, 32 bytes long";
const FOREIGN: &[u8] = b"a secret of somebody else's, of 32 bytes";
const NANOS: f64 = 1e9;

/// Who somebody truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Nobody,
    User(usize),
    /// With the generation of its token.
    Service(usize, u64),
    Operator(usize),
}

/// Who somebody is, until when, and what it may read of public streams; `None`: whatever is visible.
#[derive(Clone, Debug)]
pub struct Person {
    pub who: Who,
    pub rights: Option<Vec<&'static str>>,
    /// Nanoseconds since 1970.
    pub ends: Option<i64>,
}

/// Everybody that there may be.
pub struct People {
    pub verifier: Arc<Verifier>,
    /// How often the tokens of the services were exchanged.
    generation: u64,
    services: Vec<Person>,
}

impl Person {
    pub fn nobody() -> Self {
        Self { who: Who::Nobody, rights: None, ends: None }
    }

    pub fn operator(name: usize) -> Self {
        Self { who: Who::Operator(name), ..Self::nobody() }
    }

    /// What broadcasters know it by.
    pub fn principal(&self) -> Option<String> {
        match self.who {
            Who::Nobody => None,
            Who::User(name) => Some(NAMES[name].to_owned()),
            Who::Service(name, _) => Some(format!("service:{}", NAMES[name])),
            Who::Operator(name) => Some(format!("operator:{}", NAMES[name])),
        }
    }

    /// Whether what it may read covers a topic; what a stream says to everybody reaches every subscription.
    pub fn may_read(&self, stream: &str, topic: &str) -> bool {
        let Some(rights) = &self.rights else { return true };
        let covers = |right: &str| {
            let (granted, asked): (Vec<&str>, Vec<&str>) = (right.split(':').collect(), topic.split(':').collect());
            let fits = |(one, other): (&&str, &&str)| *one == "*" || one == other;
            granted[0] == stream
                && (granted.len() == 1
                    || asked.len() == 1
                    || granted.len() == asked.len() && granted.iter().zip(&asked).all(fits))
        };
        rights.iter().any(|right| covers(right))
    }
}

impl People {
    pub fn new(rng: &mut Rng) -> Self {
        let mut people = Self { verifier: Arc::default(), generation: 0, services: Vec::new() };
        people.exchange_services(rng);
        people
    }

    /// Every service gets another token or other rights, or loses its token.
    pub fn exchange_services(&mut self, rng: &mut Rng) {
        self.generation += 1;
        let person = |name| Person { who: Who::Service(name, self.generation), rights: rights(rng), ends: None };
        self.services = (0..NAMES.len()).map(person).collect();
        let rate = Some(Rate { per_second: NonZeroU32::MAX, burst: u32::MAX });
        let service = |(name, person): (usize, &Person)| Service {
            name: NAMES[name].to_owned(),
            token: Hash::of(&self.service_token(name)),
            grants: Grants::read(lists(person)).unwrap(),
            rate,
        };
        let services = self.services.iter().enumerate().map(service).collect();
        let keys = vec![Key::secret(SECRET).unwrap()];
        self.verifier.set(Config { keys, services, ..Config::default() }, Instant::now());
    }

    /// The generation of the services whose tokens are good.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Somebody with a token, or without any.
    pub fn any(&self, rng: &mut Rng) -> (Option<String>, Person) {
        match rng.u32(..10) {
            0 => (None, Person::nobody()),
            1 => {
                let name = rng.usize(..NAMES.len());
                (Some(self.service_token(name)), self.services[name].clone())
            }
            _ => {
                let (token, person) = self.user(some_name(rng), rng);
                (Some(token), person)
            }
        }
    }

    /// A token of this user with rights and a life of its own.
    pub fn user(&self, name: usize, rng: &mut Rng) -> (String, Person) {
        let lives_ns = *rng.choice(&[500_000_000_i64, 3_000_000_000, 1 << 50, 1 << 50]).unwrap();
        let ends = unix_now() + lives_ns;
        let person = Person { who: Who::User(name), rights: rights(rng), ends: Some(ends) };
        (signed(NAMES[name], &person, SECRET), person)
    }

    /// A token that proves nothing.
    pub fn bad_token(&self, rng: &mut Rng) -> String {
        let name = NAMES[some_name(rng)];
        let person = Person { who: Who::Nobody, rights: None, ends: Some(unix_now() + 1_000_000_000) };
        match rng.u32(..6) {
            0 => signed(name, &Person { ends: Some(unix_now() - 1), ..person }, SECRET),
            1 => signed(name, &person, FOREIGN),
            2 => signed("", &person, SECRET),
            3 => signed(name, &person, SECRET) + "A",
            4 => {
                let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"sub": name, "exp": 1e12}).to_string());
                format!("{}.{claims}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#))
            }
            _ => format!("service 1 of {}", self.generation - 1),
        }
    }

    /// As a door would know it.
    pub fn identity(&self, token: Option<&str>, person: &Person) -> Option<Arc<Identity>> {
        match person.who {
            Who::Operator(name) => Some(Arc::new(Identity::of_operator(NAMES[name]))),
            _ => token.map(|token| self.verifier.verify(token, unix_now()).unwrap()),
        }
    }

    fn service_token(&self, name: usize) -> String {
        format!("service {name} of {}", self.generation)
    }
}

pub fn some_name(rng: &mut Rng) -> usize {
    loop {
        let name = rng.usize(..NAMES.len());
        if name != NAMELESS {
            return name;
        }
    }
}

fn rights(rng: &mut Rng) -> Option<Vec<&'static str>> {
    let some = (0..rng.usize(..4)).map(|_| *rng.choice(&RIGHTS).unwrap()).collect();
    rng.bool().then_some(some)
}

fn lists(person: &Person) -> Lists {
    let streams = person.rights.as_ref().map(|rights| rights.iter().map(|right| (*right).to_owned()).collect());
    Lists { streams, publish: Vec::new(), commands: vec![PERMISSION.to_owned()] }
}

fn signed(name: &str, person: &Person, secret: &[u8]) -> String {
    let mut claims = json!({"sub": name, "exp": person.ends.unwrap() as f64 / NANOS, "commands": [PERMISSION]});
    if let Some(rights) = &person.rights {
        claims["streams"] = json!(rights);
    }
    let head = r#"{"alg":"HS256"}"#.to_owned();
    let message = [head, claims.to_string()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}
