//! A running broadcaster of bars: the feed between its source and its publisher, its timers and its saved state.

use std::collections::VecDeque;
use std::time::Duration;

use broadcastd_plugin_api::{Context, Failure, FailureKind, Message, Reconfigured};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::broadcaster::{CLOSE, REFRESH, TRADE};
use crate::counters::Outputs;
use crate::feed::{Feed, STATE_VERSION};
use crate::publish::Publisher;
use crate::settings::{ReplaySettings, Settings, Setup, Source};
use crate::source::{Intake, Trades};
use crate::waiting::Waiting;

/// How long after a restart the clock alone closes no bar, in milliseconds: inputs that the instance before had not
/// saved are fed again first, and are not late.
pub const CATCH_UP: i64 = 2_000;

pub struct Bars {
    source: Source,
    interval: Duration,
    trades: Trades,
    pub intake: Intake,
    pub publisher: Publisher,
    /// What the timer of the next closing is set to.
    alarm: Option<i64>,
    /// Before this the clock alone closes no bar.
    caught_up: i64,
}

#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    #[serde(borrow)]
    feed: &'a RawValue,
    waiting: VecDeque<Waiting>,
    replay: Option<(ReplaySettings, u64)>,
    /// The bars are of trades that were made up.
    #[serde(default)]
    is_made_up: bool,
}

/// What the settings come to; the failure points at the one at fault.
pub fn check(settings: &Settings) -> Result<Setup, Failure> {
    settings.check().map_err(|(pointer, why)| Failure::at(pointer, why))
}

impl Bars {
    pub fn open(setup: Setup) -> Result<Self, Failure> {
        let trades = Trades::open(&setup.source, 0)?;
        Ok(Self {
            source: setup.source,
            interval: setup.interval.to_std(),
            trades,
            intake: Intake::new(Feed::new(setup.feed)),
            publisher: Publisher::new(Outputs::new()),
            alarm: None,
            caught_up: i64::MIN,
        })
    }

    pub fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.is_made_up() {
            tracing::info!("what is shown is made up: source = \"mock\"");
        }
        self.set_timers(Duration::ZERO, cx)?;
        self.go_on(cx)
    }

    /// Sets the timers of the interval; `first` is when the source begins.
    pub fn set_timers(&mut self, first: Duration, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.trades {
            Trades::Mock(_) => cx.timer_every(TRADE, first, self.interval)?,
            Trades::Replay(_) => cx.timer_once(TRADE, first)?,
            Trades::Ticks => {}
        }
        cx.timer_every(REFRESH, self.interval, self.interval)
    }

    /// The source has trades. While final bars wait for room it is left alone: that is its back-pressure.
    pub fn trade(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.publisher.is_blocked() {
            return Ok(());
        }
        let now = now(cx);
        let next = self.trades.step(now, &mut self.intake)?;
        if let Some(next) = next {
            cx.timer_once(TRADE, until(next, now))?;
        }
        self.publish(cx)
    }

    pub fn take(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        // The time of its arrival makes a trade late or not, so that one that waited, or is fed again, is judged alike.
        let arrived = message.unix_ns.div_euclid(1_000_000).min(now(cx));
        self.trades.input(message, arrived, &mut self.intake);
        self.publish(cx)
    }

    /// A bar is due to close.
    pub fn close(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.alarm = None;
        self.advance(cx);
        self.publish(cx)
    }

    /// Timers do not follow the wall clock when it is set, so that closing is looked at here, too.
    pub fn refresh(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.advance(cx);
        self.publish(cx)?;
        self.publisher.refresh(&self.intake.feed, cx)
    }

    /// Publishes what waits for room, and lets the source go on when there was room for all.
    pub fn go_on(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let is_free = self.publisher.go_on(&self.intake.feed, cx)?;
        if is_free && matches!(self.trades, Trades::Replay(_)) {
            cx.timer_once(TRADE, Duration::ZERO)?;
        }
        self.set_alarm(cx)
    }

    pub fn state(&self) -> Result<Vec<u8>, Failure> {
        let feed = self.intake.feed.save();
        let saved = Saved {
            feed: serde_json::from_slice(&feed)?,
            waiting: self.publisher.waiting().clone(),
            replay: self.trades.position().map(|(settings, line)| (settings.clone(), line)),
            is_made_up: self.is_made_up(),
        };
        Ok(serde_json::to_vec(&saved)?)
    }

    pub fn resume(&mut self, from_version: u32, state: &[u8], cx: &mut Context<'_>) -> Result<(), Failure> {
        if from_version != STATE_VERSION {
            let why = format!("the saved bars are of version {from_version}, this plugin reads {STATE_VERSION}");
            return Err(Failure::of(FailureKind::Unsupported, why));
        }
        let saved: Saved<'_> = serde_json::from_slice(state)?;
        if self.source == Source::Ticks {
            self.caught_up = now(cx).saturating_add(CATCH_UP);
        }
        match (saved.is_made_up, self.is_made_up()) {
            (true, false) => {
                tracing::info!("the made-up bars are forgotten");
                Ok(())
            }
            (false, true) => self.make_up_behind(saved),
            _ => self.go_on_from(saved),
        }
    }

    /// Bars of topics that stay go on. Another source needs a new instance.
    pub fn change(&mut self, setup: Setup, cx: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        let stays = match (&self.source, &setup.source) {
            (Source::Mock(_), Source::Mock(_)) | (Source::Ticks, Source::Ticks) => true,
            (old, new) => old == new,
        };
        if !stays {
            return Ok(Reconfigured::Replace);
        }
        let mut feed = Feed::new(setup.feed);
        let anew = feed.restore(&self.intake.feed.save()).map_err(Failure::new)?;
        tell_of_lost(anew);
        self.publisher.change_feed(&self.intake.feed, &feed, cx);
        self.intake.feed = feed;
        self.intake.inputs.start_over();
        if let Source::Mock(_) = setup.source {
            self.trades = Trades::open(&setup.source, 0)?;
            self.trades.go_on_from(&self.intake.feed);
        }
        self.source = setup.source;
        self.interval = setup.interval.to_std();
        self.set_timers(self.interval, cx)?;
        self.set_alarm(cx)?;
        Ok(Reconfigured::Done)
    }

    /// Goes on with the bars of the instance before.
    fn go_on_from(&mut self, saved: Saved<'_>) -> Result<(), Failure> {
        let anew = self.intake.feed.restore(saved.feed.get().as_bytes()).map_err(Failure::new)?;
        tell_of_lost(anew);
        self.publisher.resume(saved.waiting);
        if let (Source::Replay(settings), Some((recorded, line))) = (&self.source, saved.replay)
            && (&settings.file, &settings.symbol) == (&recorded.file, &recorded.symbol)
        {
            self.trades = Trades::open(&self.source, line)?;
        }
        self.trades.go_on_from(&self.intake.feed);
        Ok(())
    }

    /// Bars of real trades take no made-up ones: only prices go on, and the final bars that wait are told.
    fn make_up_behind(&mut self, saved: Saved<'_>) -> Result<(), Failure> {
        let mut real = self.intake.feed.to_empty();
        real.restore(saved.feed.get().as_bytes()).map_err(Failure::new)?;
        self.trades.go_on_from(&real);
        self.publisher.resume(saved.waiting);
        tracing::info!("the bars of real trades are forgotten");
        Ok(())
    }

    fn is_made_up(&self) -> bool {
        matches!(self.source, Source::Mock(_))
    }

    fn advance(&mut self, cx: &Context<'_>) {
        let now = now(cx);
        if now >= self.caught_up {
            self.intake.feed.advance(now, &mut self.intake.updates);
        }
    }

    fn publish(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Intake { feed, inputs, updates, .. } = &mut self.intake;
        self.publisher.publish(updates, feed, cx)?;
        updates.clear();
        inputs.follow(feed.counts());
        self.set_alarm(cx)
    }

    fn set_alarm(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let next = self.intake.feed.next_deadline().map(|deadline| deadline.max(self.caught_up));
        if next == self.alarm {
            return Ok(());
        }
        self.alarm = next;
        match next {
            Some(next) => cx.timer_once(CLOSE, until(next, now(cx))),
            None => {
                cx.timer_clear(CLOSE);
                Ok(())
            }
        }
    }
}

fn tell_of_lost(topics: usize) {
    if topics > 0 {
        tracing::warn!(
            topics,
            "bars start anew because the clock or the calendar is another than when they were saved"
        );
    }
}

/// The wall clock in milliseconds since 1970.
fn now(cx: &Context<'_>) -> i64 {
    cx.now_unix_ns().div_euclid(1_000_000)
}

fn until(then: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(then.saturating_sub(now)).unwrap_or(0))
}
