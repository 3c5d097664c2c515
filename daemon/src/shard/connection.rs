//! One client: its socket, what it has said and not yet been answered, and what waits to be sent to it.

mod blocks;
mod ending;
mod losses;
mod sending;

use std::any::Any;
use std::collections::VecDeque;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Config;
use super::encoding::{self, Deflation, Form, Told};
use super::inbox::{Endpoint, Newcomer};
use super::line::Line;
use super::outbox::Outbox;
use super::places::Places;
use super::poll::Interest;
use super::rate::Pace;
use super::standing::Standing;
use crate::dialect::{Command, Dialect, Loss, Refusal, Reply, Request, Said, Voice};
use crate::event::{Event, LogId, unix_now};
use crate::identity::Verify;
use crate::memory::Memory;
use crate::metrics;
use crate::websocket::close;
use crate::websocket::deflate::Compression;
use crate::websocket::frame::{self, Decoder, Input};

/// Requests that may wait: more than one read brings that is not compressed.
pub const MAX_WAITING: usize = 16_384;
/// Bytes of the texts that one read brings, behind which no other may come: sixty-four times what is read at once, which is
/// much for compressed messages and little for whoever wants to be a burden.
pub const MAX_HEARD_BYTES: usize = 4 << 20;
/// The start of a subscription that gets nothing until a fresh snapshot has been sent.
pub const PAUSED: u64 = u64::MAX;

/// One pattern of a connection and its seat in the group that shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub log: LogId,
    pub group: usize,
    pub seat: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// A close frame is queued or sent; the client may answer until then.
    Closing(Instant),
    /// The client broke the protocol. Its answer to our close frame would not be read, so our side of the socket ends
    /// with that frame; the rest ends with the client's side, or then. Closing it whole at once would let what the
    /// client still sends destroy the frame on its way.
    Failing(Instant),
    /// Both sides have said it: the socket ends when everything is sent, or then.
    Closed(Instant),
    /// The socket is of no more use.
    Gone,
}

/// What every delivery touches comes first, so that it is in few lines of the cache, which have 64 bytes: a crowd does not
/// stay there.
#[repr(C, align(64))]
pub struct Connection {
    line: Line,
    pub endpoint: Arc<Endpoint>,
    stage: Stage,
    pub is_dirty: bool,
    /// The kernel has taken something since the last tick.
    takes: bool,
    pub interest: Interest,
    pub outbox: Outbox,
    pub subscriptions: Vec<Subscription>,
    /// Logs whose events were dropped, each once, until the fresh snapshot that replaces them.
    pub lost: Vec<(LogId, Loss)>,
    /// Requests that are answered when enough of the earlier answers has been sent. Nothing is read while some wait, so
    /// there are no more than one read can bring.
    pub waiting: VecDeque<Result<Request, Refusal>>,
    /// Where a client of server-sent events is in each log.
    places: Places,
    pub number: u64,
    pub peer: Option<IpAddr>,
    pub arrived_at: Instant,
    pub standing: Standing,
    /// Whose tokens are trusted here, where it is not those of clients.
    pub trust: Option<Arc<dyn Verify>>,
    /// Nothing is read of a client that only listens.
    decoder: Option<Decoder>,
    /// How its messages are compressed, if that was agreed on.
    pub deflation: Option<Deflation>,
    /// The code with which the client ends it, until what it has asked before is answered.
    goodbye: Option<u16>,
    /// What it asked for by coming, until that has been done.
    pub wishes: Option<Vec<Command>>,
    pub pace: Pace,
    /// How often it could not take everything.
    pub lagged: u64,
    heard_at: Instant,
    pinged_at: Instant,
    told_at: Option<Instant>,
    memory: Arc<Memory>,
    _permit: Box<dyn Any + Send>,
}

impl Connection {
    pub fn new(newcomer: Newcomer, number: u64, config: &Config, memory: &Arc<Memory>, now: Instant) -> Self {
        let (mut outbox, is_framed) = (Outbox::default(), newcomer.endpoint.dialect.is_framed());
        if !newcomer.head.is_empty() {
            outbox.head(memory.hold(newcomer.head));
        }
        Self {
            line: Line::new(newcomer.socket),
            number,
            peer: newcomer.peer,
            arrived_at: now,
            standing: Standing::new(newcomer.identity, newcomer.endpoint.auth, now),
            trust: newcomer.trust,
            decoder: is_framed.then(|| Decoder::new(config.max_message).with(newcomer.compression)),
            deflation: (newcomer.compression == Compression::On).then_some(config.deflation),
            places: Places::default(),
            endpoint: newcomer.endpoint,
            outbox,
            subscriptions: Vec::new(),
            wishes: Some(newcomer.wishes),
            waiting: VecDeque::new(),
            pace: Pace::new(now),
            lost: Vec::new(),
            lagged: 0,
            is_dirty: false,
            goodbye: None,
            takes: false,
            interest: Interest::Read,
            heard_at: now,
            pinged_at: now,
            told_at: None,
            stage: Stage::Open,
            memory: memory.clone(),
            _permit: newcomer.permit,
        }
    }

    /// Has what every delivery touches brought from memory. Nothing waits for it: done for several connections before the
    /// first is given something, it costs little more than once.
    pub fn fetch(&self) {
        let outbox = (self.outbox.is_empty(), self.outbox.bytes(), self.outbox.has_replaced());
        black_box((self.is_dirty, outbox, self.subscriptions.len(), self.waiting.len())); // something of each line
    }

    pub fn dialect(&self) -> Dialect {
        self.endpoint.dialect
    }

    /// Whether single events can be queued as all get them alike: none waits that a newer one may replace.
    pub fn takes_joined(&self) -> bool {
        self.dialect().is_framed() && self.outbox.is_empty()
    }

    /// Whether a fresh snapshot can take the place of what was lost. A client of server-sent events that hears several logs
    /// remembers with each event where it is in all of them, and would not come back to what it lost of another.
    pub fn can_resync(&self) -> bool {
        self.dialect().can_resync() && self.places.count() < 2
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether nothing is left to do: the socket is lost, or both sides have closed and everything is sent.
    pub fn is_finished(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Open => false,
            Stage::Closing(until) | Stage::Failing(until) => now >= until,
            Stage::Closed(until) => self.has_sent_all() || now >= until,
            Stage::Gone => true,
        }
    }

    /// Whether the kernel has taken everything that there was to say.
    pub fn has_sent_all(&self) -> bool {
        self.outbox.is_empty() && !self.line.has_unsent()
    }

    /// Whether something is due although the socket is quiet.
    pub fn needs_care(&self, now: Instant) -> bool {
        !self.has_sent_all() || self.outbox.has_replaced() || !self.lost.is_empty() || self.is_finished(now)
    }

    /// How many patterns of the log the connection is subscribed to.
    pub fn patterns_of(&self, log: LogId) -> usize {
        self.subscriptions.iter().filter(|subscription| subscription.log == log).count()
    }

    /// Takes in what came from the socket; `clear` has room for what it decrypts to.
    pub fn receive(&mut self, bytes: &mut [u8], clear: &mut Vec<u8>, now: Instant) {
        match self.line.open(bytes, clear) {
            Ok(bytes) => self.hear(bytes, now),
            Err(error) => {
                tracing::debug!(%error, "what a client sent cannot be decrypted");
                self.lose();
            }
        }
    }

    /// Takes in what the client said. Requests wait to be handled; protocol frames are answered here. After a close
    /// frame of ours only the client's own counts.
    pub fn hear(&mut self, bytes: &mut [u8], now: Instant) {
        self.heard_at = now;
        let is_open = self.is_open();
        let (mut rest, mut heard) = (bytes, 0);
        let Some(decoder) = &mut self.decoder else { return };
        loop {
            match decoder.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(Input::Close { code, .. })) => {
                    self.goodbye = Some(code.unwrap_or(close::NO_CODE));
                    return self.answer_goodbye(now);
                }
                Ok(Some(_)) if !is_open => {}
                Ok(Some(Input::Text(text))) => {
                    let is_too_much = heard > MAX_HEARD_BYTES;
                    heard += text.len();
                    self.waiting.extend(self.endpoint.dialect.parse(text, &self.endpoint.streams));
                    if self.waiting.len() > MAX_WAITING || is_too_much {
                        return self.close(close::POLICY, "far too many requests at once", now);
                    }
                }
                Ok(Some(Input::Binary(_))) => self.waiting.push_back(Err(Refusal::binary())),
                Ok(Some(Input::Ping(payload))) => self.outbox.pong(frame::pong(payload)),
                Ok(Some(Input::Pong(_))) => {}
                Err(violation) => return self.fail(violation, now),
            }
        }
    }

    /// From here on the connection is granted this.
    pub fn configure(&mut self, config: &Config) {
        if let Some(decoder) = &mut self.decoder {
            decoder.set_max_message(config.max_message);
        }
        self.deflation = self.deflation.map(|_| config.deflation);
    }

    /// The form in which the connection gets the events of a subscription.
    pub fn form(&self, voice: &Voice, batch: Option<Duration>) -> Form {
        Form { voice: voice.clone(), is_deflated: self.deflation.is_some(), batch }
    }

    /// Says this, unless a close frame has been said: that is the last word.
    pub fn say(&mut self, reply: &Reply<'_>) -> Told {
        if !self.is_open() {
            return Told::Yes;
        }
        match self.dialect().reply(reply, unix_now()) {
            Said::Texts(texts) if texts.is_empty() => {
                if let Reply::NoSource { stream, reason } = reply {
                    metrics::no_source_untold(stream, self.dialect().label());
                    tracing::debug!(stream, reason, path = self.endpoint.path, "a client is not told: no words for it");
                }
                return Told::NoWords;
            }
            Said::Texts(texts) => self.say_texts(&texts),
            // Only what it has just said can have this answer.
            Said::Close { code, reason } => self.close(code, reason, self.heard_at),
        }
        Told::Yes
    }

    fn say_texts(&mut self, texts: &[Vec<u8>]) {
        if !texts.is_empty() {
            self.outbox.control(self.end_reply(self.bytes_of(texts)));
        }
    }

    /// The text that shows records, for all connections of the dialect that are shown the same.
    pub fn encode(&self, reply: &Reply<'_>) -> Bytes {
        match self.dialect().reply(reply, unix_now()) {
            Said::Texts(texts) => self.bytes_of(&texts),
            Said::Close { .. } => Bytes::new(),
        }
    }

    fn bytes_of(&self, texts: &[Vec<u8>]) -> Bytes {
        match self.deflation {
            Some(deflation) => encoding::deflated_frames(texts, self.dialect(), deflation, &self.memory),
            None => encoding::frames(texts, self.dialect(), &self.memory),
        }
    }

    /// Shows a log's records at a number, encoded for this dialect; what waits goes with the log when that is dropped.
    pub fn show(&mut self, update: Bytes, log: LogId, stream: &str, seq: u64) {
        if self.is_open() && !update.is_empty() {
            let block = self.end_block(update, log, seq);
            self.outbox.snapshot(block, log, seq);
            metrics::snapshot_sent(stream);
        }
    }

    pub fn recover(&mut self, event: &Arc<Event>, frame: &Bytes) {
        if self.is_open() {
            let block = self.end_block(frame.clone(), event.log, event.seq);
            self.outbox.missed(block, event);
        }
    }

    /// An event of a group's.
    pub fn deliver(&mut self, event: &Arc<Event>, frame: &Bytes, group: usize) {
        let block = self.end_block(frame.clone(), event.log, event.seq);
        self.outbox.event(block, event, group);
    }

    /// The same for several events of one log, which wait, and go, together.
    pub fn deliver_joined(&mut self, bytes: &Bytes, events: &[Arc<Event>]) {
        let Some(newest) = events.last() else { return };
        let block = self.end_block(bytes.clone(), newest.log, newest.seq);
        self.outbox.joined(block, events);
    }
}
