//! The way out by HTTP: one POST for each attempt, signed anew.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broadcastd_notifier::{Carrier, Message, Refused};
use broadcastd_plugin_api::Failure;
use line::Trust;

use crate::address::Address;
use crate::answer::Verdict;
use crate::exchange;
use crate::settings::Settings;
use crate::signature::{MIN_SECRET, Signer};

/// How often one attempt may be sent elsewhere; more is a circle.
const MAX_REDIRECTS: usize = 3;

/// One receiver.
pub struct Webhook {
    address: Address,
    /// `None`: the system has none, and nothing needs one until a redirect leads to an encrypted place.
    trust: Option<Trust>,
    signer: Option<Signer>,
    /// The headers that are always the same.
    headers: String,
}

impl Carrier for Webhook {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Result<(), Failure> {
        let address = Address::parse(&settings.url).map_err(|why| Failure::at("/url", why))?;
        if settings.bearer.is_some() && !address.is_encrypted() && !address.place.is_loopback() {
            return Err(Failure::at("/bearer", "a bearer token is sent encrypted only: write https: in `url`"));
        }
        Ok(())
    }

    fn open(settings: Settings) -> Result<Self, Failure> {
        let address = Address::parse(&settings.url).map_err(|why| Failure::at("/url", why))?;
        let mut headers = "Content-Type: application/json\r\n".to_owned();
        headers.push_str(concat!("User-Agent: broadcastd-webhook/", env!("CARGO_PKG_VERSION"), "\r\n"));
        if let Some(bearer) = &settings.bearer {
            let bearer = bearer.read("/bearer")?;
            if !bearer.reveal().bytes().all(|letter| letter.is_ascii_graphic()) {
                return Err(Failure::at("/bearer", "a bearer token has neither spaces nor letters beyond ASCII"));
            }
            headers.push_str(&format!("Authorization: Bearer {}\r\n", bearer.reveal()));
        }
        let signer = settings.secret.as_ref().map(|secret| {
            let short = || Failure::at("/secret", format!("a secret has at least {MIN_SECRET} bytes"));
            Signer::new(secret.read("/secret")?.reveal()).ok_or_else(short)
        });
        let trust = match Trust::load(settings.ca.as_deref()) {
            Err(why) if address.is_encrypted() || settings.ca.is_some() => return Err(Failure::at("/ca", why)),
            trust => trust.ok(),
        };
        Ok(Webhook { address, trust, signer: signer.transpose()?, headers })
    }

    fn receiver(&self) -> String {
        self.address.origin()
    }

    fn deliver(&self, message: &Message, timeout: Duration) -> Result<(), Refused> {
        self.deliver_at(message, Instant::now() + timeout, SystemTime::now())
    }
}

impl Webhook {
    fn deliver_at(&self, message: &Message, deadline: Instant, now: SystemTime) -> Result<(), Refused> {
        let body = message.to_json()?;
        let headers = self.headers(message, &body, now);
        let mut address = self.address.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = exchange::post(&address, self.trust.as_ref(), &headers, &body, deadline);
            let said = |why: &dyn std::fmt::Display| format!("{}: {why}", address.origin());
            match answer.map_err(|error| Refused::later(said(&error)))?.verdict(now) {
                Verdict::Taken => return Ok(()),
                Verdict::Redirected(location) => {
                    address = address.redirected(&location).map_err(|why| Refused::never(said(&why)))?;
                }
                Verdict::Refused(Refused::Later { why, after }) => {
                    return Err(Refused::Later { why: said(&why), after });
                }
                Verdict::Refused(Refused::Never { why }) => return Err(Refused::never(said(&why))),
            }
        }
        Err(Refused::never(format!("{}: it redirects more than {MAX_REDIRECTS} times", self.address.origin())))
    }

    fn headers(&self, message: &Message, body: &[u8], now: SystemTime) -> String {
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut headers = self.headers.clone();
        headers.push_str(&format!("X-Broadcastd-Id: {}\r\nX-Broadcastd-Timestamp: {timestamp}\r\n", message.id));
        if let Some(signer) = &self.signer {
            headers.push_str(&format!("X-Broadcastd-Signature: {}\r\n", signer.sign(timestamp, body)));
        }
        headers
    }
}

#[cfg(test)]
mod tests;
