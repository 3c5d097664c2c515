//! Who a connection is, and until when: an identity ends with its token, and a client that must say who it is has a moment
//! for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::unix_now;
use crate::identity::{Auth, Identity};

/// How long a client may take to say who it is where that is required.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection may do by who it is.
#[derive(Debug)]
pub struct Standing {
    identity: Option<Arc<Identity>>,
    is_required: bool,
    until: Option<Instant>,
}

impl Standing {
    pub fn new(identity: Option<Arc<Identity>>, auth: Auth, now: Instant) -> Self {
        let is_required = auth == Auth::Required;
        match identity {
            Some(identity) => Self { is_required, until: end_of(&identity, now), identity: Some(identity) },
            None => Self { is_required, until: is_required.then(|| now + AUTH_TIMEOUT), identity: None },
        }
    }

    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The user who the client is; services and operators are none.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.identity.as_ref().and_then(|identity| identity.user())
    }

    /// Whether nothing is to be done for the client before it has said who it is.
    pub fn must_say_who(&self) -> bool {
        self.is_required && self.identity.is_none()
    }

    /// When the connection ends for want of a valid identity.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Takes up an identity, or the same one for longer. Another user's is refused: what waits for the client is for the
    /// first. Whether it was taken.
    pub fn take_up(&mut self, identity: Arc<Identity>, now: Instant) -> bool {
        if self.identity.as_ref().is_some_and(|known| !known.is_same(&identity)) {
            return false;
        }
        self.until = end_of(&identity, now);
        self.identity = Some(identity);
        true
    }
}

fn end_of(identity: &Identity, now: Instant) -> Option<Instant> {
    let left = identity.expires_unix_ns()?.saturating_sub(unix_now());
    Some(now + Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_over_anothers_connection() {
        let now = Instant::now();
        let user = Arc::new(Identity::of_user("user-1"));
        let operator = Arc::new(Identity::of_operator("user-1"));
        let mut standing = Standing::new(Some(operator.clone()), Auth::Optional, now);
        assert!(!standing.take_up(user.clone(), now), "an operator of the same name is somebody else");
        assert_eq!(standing.identity(), Some(&operator));
        assert!(Standing::new(None, Auth::Required, now).take_up(user, now));
    }
}
