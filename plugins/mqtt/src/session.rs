//! One connection with a broker: coming in, and messages one after the other, each until it is acknowledged.
use std::io::{self, Write};
use std::time::{Duration, Instant};

use broadcastd_notifier::Refused;
use line::{Line, Place, Trust};

use crate::packet::{Ack, Connect, DISCONNECT, Granted, PINGREQ, Publish, Reason, Reply, Version, pubrel};

/// The time for leave-taking: it is written into a socket with room, and nobody waits for an answer.
const FAREWELL: Duration = Duration::from_millis(50);

/// The broker, and how to come in.
pub struct Broker {
    pub place: Place,
    /// For an encrypted connection.
    pub trust: Option<Trust>,
    pub version: Version,
    pub client_id: String,
    pub keep_alive_seconds: u16,
    /// User and password.
    pub login: Option<(String, String)>,
}

/// A connection on which messages can be published.
pub struct Session {
    line: Line,
    version: Version,
    granted: Granted,
    /// Of the message before.
    number: u16,
    /// How long the broker waits for a next packet.
    keep_alive: Duration,
    /// When the broker last heard from us.
    heard: Instant,
}

/// Why a step went wrong.
#[derive(Debug)]
pub enum Trouble {
    /// The connection or the broker's words are of no use any more.
    Lost(io::Error),
    /// The broker refused.
    Said(Reason),
    /// It cannot be published at this broker, now or ever.
    Unfit(Refused),
}

impl Session {
    /// Whatever fails here says nothing about a message, not even a wrong password: it can be mended while messages wait.
    pub fn open(broker: &Broker, deadline: Instant) -> Result<Session, Trouble> {
        let mut line = Line::dial(&broker.place.host, broker.place.port, deadline).map_err(Trouble::Lost)?;
        if let Some(trust) = &broker.trust {
            line = line.encrypt(trust, &broker.place.host).map_err(Trouble::Lost)?;
        }
        let connect = Connect {
            version: broker.version,
            client_id: &broker.client_id,
            keep_alive_seconds: broker.keep_alive_seconds,
            login: broker.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
        };
        let heard = Instant::now();
        line.write_all(&connect.encode().map_err(Trouble::Lost)?).map_err(Trouble::Lost)?;
        line.flush().map_err(Trouble::Lost)?;
        match Reply::read(&mut line, broker.version).map_err(Trouble::Lost)? {
            Reply::ConnAck(mut reason, _) if reason.is_refusal() => {
                if broker.login.as_ref().is_some_and(|(_, password)| reason.words.contains(password)) {
                    reason.words.clear(); // it repeats what nobody else is to read
                }
                Err(Trouble::Said(reason))
            }
            Reply::ConnAck(_, granted) => {
                let keep_alive = match granted.keep_alive_seconds.unwrap_or(broker.keep_alive_seconds) {
                    0 => Duration::MAX, // the broker waits for ever
                    seconds => Duration::from_secs(seconds.into()),
                };
                Ok(Session { line, version: broker.version, granted, number: 0, keep_alive, heard })
            }
            other => Err(Trouble::Lost(unexpected(&other))),
        }
    }

    /// Whether the broker may still wait for a next packet.
    pub fn is_kept(&self) -> bool {
        self.heard.elapsed() < self.keep_alive
    }

    /// The next steps end at another deadline.
    pub fn until(&mut self, deadline: Instant) {
        self.line.until(deadline);
    }

    /// Publishes one message and waits until the broker has it as its QoS says; after a failure the session is of no use.
    pub fn publish(&mut self, message: &Publish<'_>) -> Result<(), Trouble> {
        self.fits(message)?;
        self.number = self.number.checked_add(1).unwrap_or(1);
        let packet = message.encode(self.number).map_err(|error| Trouble::Unfit(Refused::never(error.to_string())))?;
        if packet.len() > self.granted.max_packet {
            let most = self.granted.max_packet;
            return Err(Trouble::Unfit(Refused::never(format!(
                "it has over {most} bytes, which is all that the broker takes"
            ))));
        }
        self.say(&packet)?;
        match message.qos {
            // Nothing acknowledges it; but a broker that answers what came behind it has read it.
            0 => {
                self.say(&PINGREQ)?;
                self.hear(|reply| matches!(reply, Reply::PingResp))
            }
            1 => self.acknowledged(Ack::Published),
            _ => {
                self.acknowledged(Ack::Received)?;
                self.say(&pubrel(self.number))?;
                self.acknowledged(Ack::Completed)
            }
        }
    }

    fn fits(&self, message: &Publish<'_>) -> Result<(), Trouble> {
        let unfit = |why: String| Err(Trouble::Unfit(Refused::later(why)));
        if message.qos > self.granted.max_qos {
            return unfit(format!("the broker offers QoS {0} at most; set `qos` to {0}", self.granted.max_qos));
        }
        if message.retain && !self.granted.retain {
            return unfit("the broker retains nothing; set `retain` to false".to_owned());
        }
        Ok(())
    }

    fn acknowledged(&mut self, wanted: Ack) -> Result<(), Trouble> {
        let number = self.number;
        self.hear(|reply| matches!(reply, Reply::Ack(ack, of, _) if *ack == wanted && *of == number))
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.heard = Instant::now();
        self.line.write_all(bytes).and_then(|()| self.line.flush()).map_err(Trouble::Lost)
    }

    /// The next packet must be this one, and no refusal.
    fn hear(&mut self, is_expected: impl FnOnce(&Reply) -> bool) -> Result<(), Trouble> {
        let reply = Reply::read(&mut self.line, self.version).map_err(Trouble::Lost)?;
        if let Reply::Disconnect(reason) = reply {
            return Err(Trouble::Said(reason));
        }
        if !is_expected(&reply) {
            return Err(Trouble::Lost(unexpected(&reply)));
        }
        match reply {
            Reply::Ack(_, _, reason) if reason.is_refusal() => Err(Trouble::Said(reason)),
            _ => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.line.until(Instant::now() + FAREWELL);
        let _it_may_be_gone = self.line.write_all(&DISCONNECT).and_then(|()| self.line.flush());
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the broker says {reply:?}, which answers nothing"))
}
