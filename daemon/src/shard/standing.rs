//! Who a connection is, and until when: an identity ends with its token, and a client that must say who it is has a moment
//! for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::unix_now;
use crate::hub::stream::Stream;
use crate::identity::{Auth, Identity};

/// How long a client may take to say who it is where that is required.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// The log of a private stream that nobody hears.
const NOBODY: &str = "";

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

    /// Whose log of the stream the connection reads: its own of a private one, the only one of any other.
    pub fn audience(&self, stream: &Stream) -> Arc<str> {
        let own = self.identity.as_ref().and_then(|identity| identity.audience());
        own.filter(|_| stream.settings().private).cloned().unwrap_or_else(|| NOBODY.into())
    }
}

fn end_of(identity: &Identity, now: Instant) -> Option<Instant> {
    let left = identity.expires_unix_ns()?.saturating_sub(unix_now());
    Some(now + Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;
    use crate::hub::settings::Settings;

    #[test]
    fn only_a_user_has_a_log_of_its_own_and_nobody_takes_over_anothers_connection() {
        let hub = Hub::new("epoch");
        let private = hub.declare("user", Settings { private: true, ..Settings::default() });
        let public = hub.declare("bars", Settings::default());
        let now = Instant::now();
        let user = Arc::new(Identity::of_user("user-1"));
        let operator = Arc::new(Identity::of_operator("user-1"));
        let audience = |identity: &Arc<Identity>, stream: &Stream| {
            Standing::new(Some(identity.clone()), Auth::Optional, now).audience(stream).to_string()
        };
        assert_eq!((audience(&user, &private), audience(&user, &public)), ("user-1".to_owned(), NOBODY.to_owned()));
        assert_eq!(audience(&operator, &private), NOBODY, "an operator of the same name is somebody else");
        let mut standing = Standing::new(Some(operator), Auth::Optional, now);
        assert!(!standing.take_up(user.clone(), now) && standing.audience(&private).is_empty());
        assert!(Standing::new(None, Auth::Required, now).take_up(user, now));
    }
}
