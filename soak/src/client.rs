//! One client, visit after visit: it subscribes, reads, asks for this and that, leaves in every way, and comes back for what
//! it missed. What it hears goes into its ledger.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::{Error, Message};

use crate::config::{DROP_AFTER_SECONDS, random_wish};
use crate::http::PATIENCE;
use crate::ledger::Ledger;
use crate::shared::Shared;
use crate::socket::{self, Temper};

/// Subscriptions of one connection at most.
const MAX_SUBSCRIPTIONS: usize = 6;
/// How long a visit lasts at most, in milliseconds.
const LONGEST_VISIT: u64 = 20_000;
/// How long it does nothing but read at most, in milliseconds: its commands stay below `hub.rate`.
const LONGEST_PAUSE: u64 = 2000;

pub struct Client {
    shared: Arc<Shared>,
    name: String,
    temper: Temper,
    random: fastrand::Rng,
    ledger: Ledger,
}

/// Why a visit is over.
enum Over {
    /// The daemon, or the network, ended the connection.
    Ended,
    /// A promise was broken.
    Broken(String),
}

impl Client {
    pub fn new(shared: &Arc<Shared>, number: u64, temper: Temper) -> Self {
        Self {
            shared: shared.clone(),
            name: format!("client {number} ({temper:?})"),
            temper,
            random: shared.random(number),
            ledger: Ledger::new(shared.tally.clone()),
        }
    }

    /// Visits until the run settles; then once more, to account for everything.
    pub fn live(mut self) {
        while self.shared.is_running() {
            self.visit();
            sleep(Duration::from_millis(self.random.u64(..500))); // a pace; nothing depends on it
        }
        let deadline = Instant::now() + PATIENCE;
        self.temper = Temper::Fast;
        while self.ledger.has_memory() {
            if Instant::now() > deadline {
                return self.shared.report(&format!(
                    "{} cannot account for everything: {}",
                    self.name,
                    self.ledger.describe()
                ));
            }
            self.visit();
        }
    }

    fn visit(&mut self) {
        let opened = socket::open(self.shared.clients, self.temper, self.random.fork());
        let Ok(client) = opened else {
            self.shared.tally.refused.one();
            return sleep(Duration::from_millis(100)); // it would be refused again at once
        };
        self.shared.tally.connected.one();
        let mut visit = Visit { client, ledger: &mut self.ledger };
        let until = Instant::now() + Duration::from_millis(self.random.u64(..LONGEST_VISIT));
        let outcome = visit.go(&mut self.random, &self.shared, until);
        match outcome {
            Ok(()) if self.random.u8(..5) == 0 && self.shared.is_running() => self.forget(),
            Ok(()) => {}
            Err(Over::Ended) => self.shared.tally.ended.one(),
            Err(Over::Broken(why)) => {
                self.shared.report(&format!("{}: {why}", self.name));
                self.forget();
            }
        }
    }

    fn forget(&mut self) {
        self.ledger = Ledger::new(self.shared.tally.clone());
    }
}

/// One connection of a client.
struct Visit<'a> {
    client: socket::Client,
    ledger: &'a mut Ledger,
}

impl Visit<'_> {
    fn go(&mut self, random: &mut fastrand::Rng, shared: &Shared, until: Instant) -> Result<(), Over> {
        for text in self.ledger.resume() {
            self.say(text)?;
        }
        let mut acts_at = Instant::now();
        while shared.is_running() && Instant::now() < until {
            if Instant::now() >= acts_at || self.ledger.is_empty() {
                self.act(random)?;
                acts_at = Instant::now() + Duration::from_millis(random.u64(..LONGEST_PAUSE));
            }
            self.turn()?;
        }
        if !shared.is_running() {
            self.account_for_everything(shared)?;
            return self.leave(shared);
        }
        match random.u8(..10) {
            0..4 => self.leave(shared),
            4..7 => {
                shared.tally.reset.one();
                self.client.get_ref().reset();
                Ok(())
            }
            7..9 => {
                shared.tally.dropped.one();
                Ok(())
            }
            _ => {
                shared.tally.muted.one();
                let until = Instant::now() + Duration::from_secs(DROP_AFTER_SECONDS + 2);
                while shared.is_running() && Instant::now() < until {
                    sleep(Duration::from_millis(100)); // to be silent for long enough is the matter itself
                }
                Ok(())
            }
        }
    }

    /// Does one of the things that clients do.
    fn act(&mut self, random: &mut fastrand::Rng) -> Result<(), Over> {
        let which = random.usize(..);
        let text = match random.u8(..8) {
            _ if self.ledger.is_empty() => {
                let (stream, want) = random_wish(random);
                self.ledger.subscribe(stream, want)
            }
            0..3 if self.ledger.len() < MAX_SUBSCRIPTIONS => {
                let (stream, want) = random_wish(random);
                self.ledger.subscribe(stream, want)
            }
            0..4 => self.ledger.unsubscribe(which),
            4 => Some(self.ledger.ping()),
            5 => Some(self.ledger.nonsense()),
            _ => self.ledger.snapshot(which),
        };
        text.map_or(Ok(()), |text| self.say(text))
    }

    /// Reads until nothing is open, ends every subscription, hears that nothing more comes, and closes.
    fn leave(&mut self, shared: &Shared) -> Result<(), Over> {
        self.hurry()?;
        for which in 0..self.ledger.len() {
            let text = self.ledger.snapshot(which);
            text.map_or(Ok(()), |text| self.say(text))?;
        }
        self.read_until("everything that was announced has come", Ledger::is_settled)?;
        for which in 0..self.ledger.len() {
            let text = self.ledger.unsubscribe(which);
            text.map_or(Ok(()), |text| self.say(text))?;
        }
        self.read_until("every subscription has ended", |ledger| ledger.is_settled() && ledger.is_empty())?;
        let ping = self.ledger.ping();
        self.say(ping)?;
        self.read_until("the last ping is answered", Ledger::is_settled)?;
        shared.tally.left.one();
        // The answer to it needs nobody; what comes before it was accounted for.
        _ = self.client.close(None);
        while self.turn().is_ok() {}
        Ok(())
    }

    fn account_for_everything(&mut self, shared: &Shared) -> Result<(), Over> {
        self.hurry()?;
        let has_all = |ledger: &Ledger| shared.relays.iter().all(|relay| ledger.has_all_of(relay.name, relay.last()));
        self.read_until("all that was published has come", |ledger| ledger.is_settled() && has_all(ledger))
    }

    fn hurry(&mut self) -> Result<(), Over> {
        self.client.get_mut().hurry().map_err(|error| Over::Broken(format!("no room for what waits: {error}")))
    }

    fn read_until(&mut self, what: &str, is_so: impl Fn(&Ledger) -> bool) -> Result<(), Over> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self.ledger) {
            if Instant::now() > deadline {
                return Err(Over::Broken(format!("it is not so that {what}: {}", self.ledger.describe())));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn say(&mut self, text: String) -> Result<(), Over> {
        self.client.send(Message::text(text)).map_err(over)
    }

    /// Hears one message, or looks around.
    fn turn(&mut self) -> Result<(), Over> {
        match self.client.read() {
            Ok(Message::Text(text)) => {
                let message: Value =
                    serde_json::from_str(&text).map_err(|error| Over::Broken(format!("no JSON ({error}): {text}")))?;
                self.ledger.hear(&message).map_err(Over::Broken)
            }
            Ok(Message::Close(Some(frame))) => match u16::from(frame.code) {
                1000 | 1001 | 1013 => Err(Over::Ended),
                code => Err(Over::Broken(format!("closed with {code} {}", frame.reason))),
            },
            Ok(Message::Binary(_)) => Err(Over::Broken("a binary message".into())),
            Ok(_) => Ok(()),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) => Err(over(error)),
        }
    }
}

fn over(error: Error) -> Over {
    match error {
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => Over::Ended,
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Over::Ended,
        other => Over::Broken(format!("{other}")),
    }
}
