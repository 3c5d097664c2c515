//! The carrier: writes letters and keeps the connection for the next.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use broadcastd_notifier::{Carrier, Message, Refused};
use broadcastd_plugin_api::Failure;
use lettre::transport::smtp::authentication::Credentials;
use line::Trust;

use crate::letter::Letters;
use crate::session::{Server, Session};
use crate::settings::{Encryption, Settings};

/// How long a connection is kept for a next letter: servers wait five minutes (RFC 5321, 4.5.3.2.7), but what lies on
/// the way forgets sooner.
const KEPT: Duration = Duration::from_secs(60);

pub struct Email {
    server: Server,
    letters: Letters,
    /// The connection that the last letter went by, and until when it is kept.
    kept: Mutex<Option<(Session, Instant)>>,
}

impl Carrier for Email {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Result<(), Failure> {
        settings.meaning().map(drop)
    }

    fn open(settings: Settings) -> Result<Self, Failure> {
        let meaning = settings.meaning()?;
        let trust = match meaning.encryption {
            Encryption::None => None,
            _ => Some(Trust::load(settings.ca.as_deref()).map_err(|why| Failure::at("/ca", why))?),
        };
        let credentials = match (settings.user, settings.password) {
            (Some(user), Some(password)) => {
                Some(Credentials::new(user, password.read("/password")?.reveal().to_owned()))
            }
            _ => None,
        };
        let server = Server { place: meaning.place, encryption: meaning.encryption, trust, credentials };
        Ok(Email { server, letters: Letters::new(meaning.from, meaning.to), kept: Mutex::new(None) })
    }

    fn deliver(&self, message: &Message, timeout: Duration) -> Result<(), Refused> {
        let deadline = Instant::now() + timeout;
        let letter = self.letters.write(message)?;
        let mut session = match self.take(deadline) {
            Some(session) => session,
            None => Session::open(&self.server, deadline)?,
        };
        session.send(&letter)?;
        *self.kept() = Some((session, Instant::now() + KEPT));
        Ok(())
    }
}

impl Email {
    /// The kept connection, if it still leads somewhere.
    fn take(&self, deadline: Instant) -> Option<Session> {
        let (mut session, until) = self.kept().take()?;
        session.until(deadline);
        (Instant::now() < until && session.is_alive()).then_some(session)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<(Session, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
