//! Who a client is, and what it may do: made from a verified token and from nothing else.

use std::fmt;
use std::sync::Arc;

use crate::hub::pattern::Pattern;

/// Somebody whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Arc<str>,
    reads: Reads,
    publishes: Vec<Pattern>,
    commands: Vec<String>,
    expires_unix_ns: Option<i64>,
}

/// What somebody may subscribe to; the log of its own of a private stream besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Every stream that clients may see.
    Visible,
    /// What one of these covers.
    Only(Vec<Pattern>),
    /// Every stream, also what only operators may see.
    Everything,
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

/// Knows whose tokens to trust. Without keys it trusts nobody.
#[derive(Debug, Default)]
pub struct Verifier {}

impl Identity {
    /// A user who may read what is visible, and nothing else.
    pub fn of_user(user: &str) -> Self {
        let user = user.into();
        Self { user, reads: Reads::Visible, publishes: Vec::new(), commands: Vec::new(), expires_unix_ns: None }
    }

    /// Somebody who runs the daemon, by the name that acts of his are known by.
    pub fn of_operator(name: &str) -> Self {
        Self { reads: Reads::Everything, ..Self::of_user(name) }
    }

    /// The audience of the private events that are for this client; the `user` of what it commands.
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    pub fn is_operator(&self) -> bool {
        self.reads == Reads::Everything
    }

    /// When its rights end, in nanoseconds since 1970.
    pub fn expires_unix_ns(&self) -> Option<i64> {
        self.expires_unix_ns
    }

    /// Whether a subscription to the pattern shows nothing that it may not see.
    pub fn may_read(&self, pattern: &Pattern) -> bool {
        match &self.reads {
            Reads::Visible | Reads::Everything => true,
            Reads::Only(granted) => granted.iter().any(|granted| granted.covers(pattern)),
        }
    }

    /// Whether it may publish to this topic, which is full and canonical.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.is_operator() || self.publishes.iter().any(|granted| granted.matches_topic(topic))
    }

    /// Whether it has this permission, such as `alerts.acknowledge`.
    pub fn may_command(&self, permission: &str) -> bool {
        self.is_operator() || self.commands.iter().any(|granted| granted == permission)
    }
}

impl Verifier {
    /// Whose token this is. The time is in nanoseconds since 1970.
    pub fn verify(&self, _token: &str, _unix_ns: i64) -> Result<Arc<Identity>, Rejected> {
        Err(Rejected("no keys are configured ([auth]), so no token can be checked".to_owned()))
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
