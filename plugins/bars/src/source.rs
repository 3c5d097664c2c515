//! Where trades come from while the broadcaster runs: made up, from inputs, or from a file.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;

use broadcastd_plugin_api::{Failure, Message};
use fastrand::Rng;

use crate::counters::Inputs;
use crate::feed::Feed;
use crate::mock::Mock;
use crate::replay::Replay;
use crate::settings::{ReplaySettings, Source};
use crate::tick::{Reject, Tick};
use crate::update::{Place, Update};

/// Lines of a file that are read in one step: a millisecond or two of work, so that other calls come in between.
pub const STEP_LINES: usize = 1_000;

/// Where trades go to.
pub struct Intake {
    pub feed: Feed,
    pub inputs: Inputs,
    /// What follows from the trades and is not published yet.
    pub updates: Vec<Update>,
    /// Why inputs were refused so far: the first of each sort is a warning, further ones could fill the log.
    warned: HashSet<&'static str>,
}

pub enum Trades {
    Mock(Mock),
    Ticks,
    Replay(Box<Recording>),
}

pub struct Recording {
    settings: ReplaySettings,
    replay: Replay<BufReader<File>>,
}

impl Trades {
    /// `line` is how many lines of a replayed file are done with.
    pub fn open(source: &Source, line: u64) -> Result<Self, Failure> {
        Ok(match source {
            Source::Mock(symbols) => Trades::Mock(Mock::new(symbols.clone(), Rng::new())),
            Source::Ticks => Trades::Ticks,
            Source::Replay(settings) => {
                let open = || Replay::new(BufReader::new(File::open(&settings.file)?), settings.speed, line);
                let replay = open().map_err(|error| cannot_read(settings, &error))?;
                Trades::Replay(Box::new(Recording { settings: settings.clone(), replay }))
            }
        })
    }

    /// Takes the trades that are due at `now` into the feed. Answers when the next step is due; `None` where the
    /// interval or the inputs say so, and at the end.
    pub fn step(&mut self, now: i64, intake: &mut Intake) -> Result<Option<i64>, Failure> {
        match self {
            Trades::Mock(mock) if intake.feed.is_open(now) => {
                for trade in mock.trades(now) {
                    intake.take(&trade, 0, now);
                }
            }
            Trades::Mock(_) | Trades::Ticks => {}
            Trades::Replay(recording) => recording.step(now, intake)?,
        }
        keep_newest(&mut intake.updates);
        Ok(if let Trades::Replay(recording) = self { recording.replay.next_deadline() } else { None })
    }

    /// Takes an input that arrived at `now`. What is wrong with one is its sender's matter: it is counted, and the
    /// bars go on.
    pub fn input(&self, message: &Message<'_>, now: i64, intake: &mut Intake) {
        match (self, message.kind) {
            (Trades::Ticks, "tick") => match message.json::<Tick<'_>>() {
                Ok(tick) => intake.take(&tick, message.seq, now),
                Err(failure) => {
                    intake.inputs.malformed.increment(1);
                    intake.refuse("malformed", message.seq, &failure);
                }
            },
            (Trades::Ticks, "flush") => intake.feed.flush(&mut intake.updates),
            (_, kind) => {
                intake.inputs.ignored.increment(1);
                if kind == "tick" {
                    intake.refuse("ignored", message.seq, &"the source is not \"ticks\"");
                }
            }
        }
    }

    /// Made-up prices go on from the bars that are known, so that a restart is no crash of the market.
    pub fn go_on_from(&mut self, feed: &Feed) {
        let Trades::Mock(mock) = self else { return };
        let mut closes = HashMap::new();
        for topic in 0..feed.topic_count() {
            let record = feed.record(topic);
            if let Some(update) = record.current.or(record.closed) {
                closes.insert(feed.payload(&update).symbol.to_owned(), update.bar.close);
            }
        }
        mock.go_on(&closes);
    }

    /// The replayed file and how many lines of it are done with.
    pub fn position(&self) -> Option<(&ReplaySettings, u64)> {
        if let Trades::Replay(recording) = self { Some((&recording.settings, recording.replay.line())) } else { None }
    }
}

impl Recording {
    fn step(&mut self, now: i64, intake: &mut Intake) -> Result<(), Failure> {
        let step = self.replay.step(now, STEP_LINES).map_err(|error| cannot_read(&self.settings, &error))?;
        for bad in &step.bad {
            intake.inputs.bad_lines.increment(1);
            tracing::debug!(line = bad.line, why = bad.why, "a line of the replayed file is no trade");
        }
        for trade in &step.trades {
            let symbol = self.settings.symbol.as_str().into();
            let tick = Tick { symbol, time: trade.ts, price: trade.price, size: trade.size, id: None };
            // A recorded time is not measured against the clock of today.
            intake.take(&tick, 0, trade.ts);
        }
        if self.replay.has_ended() {
            intake.feed.flush(&mut intake.updates);
            tracing::info!(file = %self.settings.file.display(), lines = self.replay.line(), "the replay is at its end");
        }
        Ok(())
    }
}

impl Intake {
    pub fn new(feed: Feed) -> Self {
        Self { feed, inputs: Inputs::new(), updates: Vec::new(), warned: HashSet::new() }
    }

    /// The feed has counted a refused trade. `seq` is its number in its stream, 0 where it came by none.
    fn take(&mut self, tick: &Tick<'_>, seq: u64, now: i64) {
        match self.feed.tick(tick, now, &mut self.updates) {
            Ok(()) => {}
            // Whoever is not sure sends it again, and inputs are fed again after a failure: nothing is wrong with it.
            Err(Reject::Duplicate) => tracing::debug!(seq, symbol = %tick.symbol, "a trade comes again"),
            Err(reject) => self.refuse(reject.label(), seq, &reject),
        }
    }

    fn refuse(&mut self, reason: &'static str, seq: u64, why: &dyn Display) {
        if self.warned.insert(reason) {
            tracing::warn!(seq, reason, %why, "a trade is refused; further ones for this reason are only counted, and told at debug");
        } else {
            tracing::debug!(seq, reason, %why, "a further trade is refused");
        }
    }
}

/// Of many trades in one step only the newest state of an open bar is worth telling; final bars all stay.
fn keep_newest(updates: &mut Vec<Update>) {
    let mut told = HashSet::new();
    updates.reverse();
    updates.retain(|update| update.place != Place::Current || told.insert(update.topic));
    updates.reverse();
}

fn cannot_read(settings: &ReplaySettings, error: &std::io::Error) -> Failure {
    Failure::at("/replay/file", format!("{} cannot be read: {error}", settings.file.display()))
}
