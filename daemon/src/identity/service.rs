//! Programs that show a token of their own, which is configured by its hash and may have a rate.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Identity;
use super::grants::Grants;
use crate::rate::{Bucket, Rate};

/// A program, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub token: Hash,
    pub grants: Grants,
    pub rate: Option<Rate>,
}

/// The SHA-256 of a token. From it nobody learns the token, so it may stand in a file; still it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// How fast a service may publish, all its connections together.
pub struct Allowance {
    rate: Rate,
    bucket: Mutex<Bucket>,
}

impl Service {
    pub fn identity(&self, now: Instant) -> Identity {
        let allowance = |rate| Arc::new(Allowance { rate, bucket: Mutex::new(Bucket::full(now)) });
        let (grants, allowance) = (self.grants.clone(), self.rate.map(allowance));
        Identity { grants, allowance, ..Identity::of_service(&self.name) }
    }
}

impl Hash {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hex digits, as sha256sum prints them.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let bytes = digits.as_bytes();
        let mut hash = [0; 32];
        if bytes.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(bytes.chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(hash))
    }

    /// Compares every byte, so that the time says nothing about how much of a guess is right.
    pub fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |different, (ours, theirs)| different | (ours ^ theirs)) == 0
    }
}

impl Allowance {
    pub fn admit(&self, events: u32, now: Instant) -> Result<(), Duration> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(self.rate, events, now)
    }
}

/// What is granted, whatever was used of it.
impl PartialEq for Allowance {
    fn eq(&self, other: &Self) -> bool {
        self.rate == other.rate
    }
}

impl Eq for Allowance {}

impl fmt::Debug for Allowance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(out)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hash(…)")
    }
}
