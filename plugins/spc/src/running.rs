//! A running broadcaster of control charts: what comes in is entered into the book and what follows is published; its
//! saved state.

use std::collections::VecDeque;
use std::time::Duration;

use broadcastd_plugin_api::{Answer, Command, Context, Failure, FailureKind, Gap, Message};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::broadcaster::MOCK;
use crate::characteristic::Outcome;
use crate::counters::Counters;
use crate::mock::{CHARACTERISTICS, Mock};
use crate::publish::Publisher;
use crate::sample::{Incoming, Recalculate, Reject};
use crate::settings::{Settings, SourceName};
use crate::stamp::Stamp;
use crate::told::{Acknowledge, Told};
use crate::waiting::Waiting;

pub const STATE_VERSION: u32 = 1;

pub struct Charts {
    book: Book,
    publisher: Publisher,
    counters: Counters,
    mock: Option<Mock>,
    interval: Duration,
}

#[derive(Serialize)]
struct State<'a> {
    book: &'a Book,
    waiting: &'a VecDeque<Waiting>,
    is_made_up: bool,
}

#[derive(Deserialize)]
struct Saved {
    book: Book,
    waiting: VecDeque<Waiting>,
    /// Some of its characteristics are made up.
    #[serde(default)]
    is_made_up: bool,
}

/// The rule that an input breaks, and what the operator reads.
type Refusal = (Reject, String);

impl Charts {
    pub fn new(settings: Settings, cx: &Context<'_>) -> Self {
        let mock = || Mock::new(settings.auto.limits.samples(), Rng::new());
        Self {
            mock: (settings.source == SourceName::Mock).then(mock),
            interval: settings.interval.to_std(),
            book: Book::new(settings, now(cx)),
            publisher: Publisher::new(),
            counters: Counters::new(),
        }
    }

    /// Tells what came into force by the settings.
    pub fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.mock.is_some() {
            tracing::info!("some of what is shown is made up: source = \"mock\"");
            cx.timer_every(MOCK, Duration::ZERO, self.interval)?;
        }
        self.publisher.go_on(cx);
        let mut out = Vec::new();
        self.book.tell_new_limits(&mut out);
        self.counters.show(&self.book);
        self.publisher.tell(out, cx)
    }

    pub fn take(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        let arrived = Stamp::of_ns(message.unix_ns);
        let done = match message.kind {
            "sample" => self.take_sample(message, arrived, &mut out),
            "recalculate" => self.recalculate(message, arrived, &mut out),
            _ => {
                self.counters.ignored.increment(1);
                return Ok(());
            }
        };
        if let Err((reject, why)) = done {
            self.counters.reject(reject);
            tracing::warn!(kind = message.kind, seq = message.seq, why, "an input is refused");
        }
        self.publisher.tell(out, cx)
    }

    /// The mock measures, and its samples go the way of what is heard. While events wait for room it does not: that is its
    /// back-pressure.
    pub fn make_up(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Some(mock) = self.mock.as_mut().filter(|_| !self.publisher.is_blocked()) else { return Ok(()) };
        for data in mock.samples() {
            let payload = serde_json::to_vec(&data)?;
            let message = Message {
                stream: "",
                topic: "",
                kind: "sample",
                key: "",
                audience: "",
                session_id: "",
                payload: &payload,
                seq: 0,
                epoch: "",
                unix_ns: cx.now_unix_ns(),
            };
            self.take(&message, cx)?;
        }
        Ok(())
    }

    /// Inputs are gone, or the daemon did not end in order: then nobody can say how many.
    pub fn miss(&mut self, gap: &Gap<'_>) {
        let Gap { stream, from, to } = *gap;
        self.counters.gaps.increment(1);
        self.book.interrupt();
        match to {
            0 => tracing::warn!(stream, "the daemon was killed; samples since the last save are gone; runs begin anew"),
            _ => tracing::warn!(stream, from, to, "samples are gone before they were read; runs begin anew"),
        }
    }

    pub fn obey(&mut self, command: &Command<'_>, cx: &mut Context<'_>) -> Result<Answer, Failure> {
        let asked: Acknowledge = command.json()?;
        if self.publisher.is_blocked() {
            let why = "the stream is full, so that nobody could be told; ask again in a second";
            return Err(Failure::of(FailureKind::Limit, why));
        }
        let mut out = Vec::new();
        let update = self.book.acknowledge(&asked, command.principal, now(cx), &mut out)?;
        self.counters.acknowledged.increment(1);
        self.counters.show(&self.book);
        self.publisher.tell(out, cx)?;
        Ok(Answer::Now(serde_json::to_value(&update)?))
    }

    pub fn refresh(&mut self, cx: &mut Context<'_>) {
        let mut out = Vec::new();
        self.book.tell_records(&mut out);
        self.publisher.refresh(out, cx);
    }

    pub fn go_on(&mut self, cx: &mut Context<'_>) {
        self.publisher.go_on(cx);
    }

    pub fn state(&self) -> Result<Vec<u8>, Failure> {
        let (waiting, is_made_up) = (self.publisher.waiting(), self.mock.is_some());
        let state = State { book: &self.book, waiting, is_made_up };
        Ok(serde_json::to_vec(&state)?)
    }

    pub fn resume(&mut self, from_version: u32, state: &[u8], cx: &Context<'_>) -> Result<(), Failure> {
        if from_version != STATE_VERSION {
            let why = format!("the saved charts are of version {from_version}, this plugin reads {STATE_VERSION}");
            return Err(Failure::of(FailureKind::Unsupported, why));
        }
        let Saved { book, mut waiting, is_made_up } = serde_json::from_slice(state)?;
        let forgotten = self.book.restore(book, now(cx));
        if is_made_up && self.mock.is_none() {
            for one in &CHARACTERISTICS {
                if self.book.forget(one.id) {
                    waiting.retain(|event| !event.told.is_about(one.id));
                }
            }
        }
        if forgotten > 0 {
            tracing::info!(forgotten, "characteristics that are listed no longer are forgotten");
        }
        self.publisher.resume(waiting);
        Ok(())
    }

    fn take_sample(&mut self, message: &Message<'_>, arrived: Stamp, out: &mut Vec<Told>) -> Result<(), Refusal> {
        let incoming: Incoming = message.json().map_err(malformed)?;
        let known = self.book.characteristic_count();
        let outcome = self.book.take(&incoming, arrived, out).map_err(refusal)?;
        self.counters.count(&outcome);
        let is_violated = matches!(&outcome, Outcome::Taken { violated, .. } if !violated.is_empty());
        if is_violated || self.book.characteristic_count() != known {
            self.counters.show(&self.book);
        }
        Ok(())
    }

    fn recalculate(&mut self, message: &Message<'_>, arrived: Stamp, out: &mut Vec<Told>) -> Result<(), Refusal> {
        let asked: Recalculate = message.json().map_err(malformed)?;
        self.book.recalculate(&asked.characteristic_id, arrived, out).map_err(refusal)?;
        self.counters.recalculated.increment(1);
        Ok(())
    }
}

fn malformed(failure: Failure) -> Refusal {
    (Reject::Malformed, failure.to_string())
}

fn refusal(reject: Reject) -> Refusal {
    (reject, reject.to_string())
}

fn now(cx: &Context<'_>) -> Stamp {
    Stamp::of_ns(cx.now_unix_ns())
}
