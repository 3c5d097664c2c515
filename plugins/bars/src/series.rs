//! The bars of one topic: which are open, when each closes, what a late trade amends and what fills a gap.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bar::{Bar, Trade};
use crate::calendar::{Bucket, Calendar};
use crate::resolution::{Resolution, Unit};
use crate::update::{Place, Update};

/// Bars that wait for their turn at the same time. Only `close_grace` and trades ahead of the clock make more than one;
/// beyond this the oldest closes early, so that one topic stays below a megabyte.
pub const MAX_OPEN: usize = 4_096;

/// Closed bars that a late trade may still amend. A longer `allowed_lateness` is cut to this many bars for the same
/// reason.
pub const MAX_AMENDABLE: usize = 4_096;

/// What decides over all bars of a broadcaster; times in milliseconds.
#[derive(Debug, Clone)]
pub struct Rules {
    pub calendar: Calendar,
    /// How long after its end a bar waits for trades that are still on their way.
    pub close_grace: i64,
    /// How long after its end a closed bar may be amended.
    pub allowed_lateness: i64,
    /// How many flat bars carry the last close over a gap; 0 leaves the gap empty.
    pub max_fill: u32,
}

/// What became of a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    InTime,
    Amended,
    TooLate,
}

/// Time is handed in as the *watermark*, which never goes back: trades from before it are not expected any more. A bar
/// is closed once the watermark has passed its end by the grace, and shown once it has passed its start by as much, so
/// that the final bar always comes before the first state of the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    #[serde(skip)]
    topic: u32,
    resolution: Resolution,
    /// By the time of the bar; the first is the one that is shown.
    open: BTreeMap<i64, Open>,
    /// By the time of the bar; the last is the newest, the others can still be amended.
    closed: BTreeMap<i64, Closed>,
    /// Bars up to this time are closed, whatever the watermark says.
    closed_through: i64,
    /// Bars up to this time are forgotten.
    forgotten_through: i64,
    /// Flat bars since the last one with trades.
    flats: u32,
    /// The next bar to fill if no trade comes.
    gap: Option<Bucket>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    bucket: Bucket,
    bar: Bar,
    is_shown: bool,
    has_changed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Closed {
    bucket: Bucket,
    bar: Bar,
    revision: u32,
}

impl Series {
    pub fn new(topic: u32, resolution: Resolution) -> Self {
        Self {
            topic,
            resolution,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            closed_through: i64::MIN,
            forgotten_through: i64::MIN,
            flats: 0,
            gap: None,
        }
    }

    pub fn topic(&self) -> u32 {
        self.topic
    }

    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Takes a trade from inside a session; `watermark` already counts it.
    pub fn take(&mut self, trade: Trade, watermark: i64, rules: &Rules, out: &mut Vec<Update>) -> Taken {
        self.settle(watermark, rules, out);
        let taken = match self.bucket(trade.ts, rules) {
            Some(bucket) if !self.is_closed(bucket, watermark, rules) => {
                self.update(bucket, trade);
                self.close_what_is_full(watermark, rules, out);
                Taken::InTime
            }
            Some(bucket) if bucket.time > self.forgotten_through && self.may_amend(bucket, watermark, rules) => {
                self.amend(bucket, trade, out);
                self.forget(watermark, rules);
                Taken::Amended
            }
            Some(_) | None => Taken::TooLate,
        };
        self.show(watermark, rules, out);
        taken
    }

    /// Closes and shows what is due at `watermark`.
    pub fn advance(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        self.settle(watermark, rules, out);
        self.show(watermark, rules, out);
    }

    /// Closes every open bar now; later trades of them are late.
    pub fn flush(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        while !self.open.is_empty() {
            self.settle_one(watermark, rules, out);
        }
    }

    /// The watermark at which [`Series::advance`] has something to do, if time alone brings anything.
    pub fn deadline(&self, rules: &Rules) -> Option<i64> {
        let front = self.open.values().next();
        let closes = front.map(|open| if self.is_visible(open) { open.bucket.end } else { open.bucket.start });
        let fills = self.next_gap().map(|gap| gap.end);
        let earliest = closes.into_iter().chain(fills).min()?;
        (earliest < i64::MAX).then(|| earliest.saturating_add(rules.close_grace))
    }

    /// The open bar that clients know.
    pub fn current(&self) -> Option<Update> {
        let open = self.open.values().next().filter(|open| open.is_shown)?;
        Some(Update { topic: self.topic, bar: open.bar, revision: 0, place: Place::Current })
    }

    /// The newest closed bar.
    pub fn newest_closed(&self) -> Option<Update> {
        let (_, closed) = self.closed.last_key_value()?;
        Some(Update { topic: self.topic, bar: closed.bar, revision: closed.revision, place: Place::Closed })
    }

    /// A saved series as it goes on under `topic`, unless the calendar has since come to divide time differently or the
    /// saved bars cannot be true.
    pub fn resumed(mut self, topic: u32, rules: &Rules) -> Option<Self> {
        let open = self.open.iter().map(|(time, open)| (*time, open.bucket, &open.bar));
        let closed = self.closed.iter().map(|(time, closed)| (*time, closed.bucket, &closed.bar));
        let counted = self.is_counted();
        let stands = |bucket: Bucket| counted || rules.calendar.has(self.resolution, bucket);
        let is_true = open.chain(closed).all(|(time, bucket, bar)| {
            time == bar.time && time == bucket.time && stands(bucket) && bar.broken_rule().is_none()
        });
        if !is_true {
            return None;
        }
        let newest = self.closed.last_key_value().map(|(_, closed)| closed.bucket);
        self.gap = self.gap.and(newest).and_then(|newest| self.gap_after(newest, rules));
        self.topic = topic;
        Some(self)
    }

    fn settle(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        while self.next_to_settle().is_some_and(|next| next.end.saturating_add(rules.close_grace) <= watermark) {
            self.settle_one(watermark, rules, out);
        }
    }

    fn next_to_settle(&self) -> Option<Bucket> {
        self.next_gap().or_else(|| self.open.values().next().map(|open| open.bucket))
    }

    /// The bar that has to be filled before the first open one can close.
    fn next_gap(&self) -> Option<Bucket> {
        let front = self.open.keys().next();
        self.gap.filter(|gap| front.is_none_or(|front| gap.time < *front))
    }

    fn settle_one(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        if let Some(bucket) = self.next_gap() {
            let close = self.closed.last_key_value().map(|(_, closed)| closed.bar.close);
            let flat = Bar::flat(bucket.time, close.expect("a gap only follows a closed bar"));
            self.flats += 1;
            self.finish(bucket, flat, rules, out);
        } else if let Some((_, Open { bucket, bar, .. })) = self.open.pop_first() {
            self.flats = 0;
            self.finish(bucket, bar, rules, out);
        }
        self.forget(watermark, rules);
    }

    fn finish(&mut self, bucket: Bucket, bar: Bar, rules: &Rules, out: &mut Vec<Update>) {
        self.closed_through = bucket.time;
        self.closed.insert(bucket.time, Closed { bucket, bar, revision: 0 });
        self.gap = self.gap_after(bucket, rules);
        out.extend(self.newest_closed());
    }

    fn gap_after(&self, closed: Bucket, rules: &Rules) -> Option<Bucket> {
        let fills = self.flats < rules.max_fill && !self.is_counted();
        if fills { rules.calendar.following(self.resolution, closed) } else { None }
    }

    /// Keeps the newest closed bar and those that may still be amended.
    fn forget(&mut self, watermark: i64, rules: &Rules) {
        while self.closed.len() > 1 {
            let Some(oldest) = self.closed.first_entry() else { return };
            let bucket = oldest.get().bucket;
            if self.may_amend(bucket, watermark, rules) && self.closed.len() <= MAX_AMENDABLE {
                return;
            }
            if let Some((time, _)) = self.closed.pop_first() {
                self.forgotten_through = self.forgotten_through.max(time);
            }
        }
    }

    fn bucket(&self, ts: i64, rules: &Rules) -> Option<Bucket> {
        if self.is_counted() {
            return self.counted_bucket(ts, rules);
        }
        let newest = self.open.values().next_back().map(|open| open.bucket);
        newest.filter(|bucket| bucket.holds(ts)).or_else(|| rules.calendar.bucket(self.resolution, ts))
    }

    /// Bars of a number of trades: a trade from before the end of a closed one cannot find its place any more. Two bars
    /// may begin in the same millisecond, but the time of a bar is its identity, so that the second is moved on.
    fn counted_bucket(&self, ts: i64, rules: &Rules) -> Option<Bucket> {
        let newest = self.closed.values().next_back();
        if newest.is_some_and(|closed| ts < closed.bar.last_ts) {
            return None;
        }
        if let Some(open) = self.open.values().next_back().filter(|open| ts < open.bucket.end) {
            return Some(open.bucket);
        }
        let newest = self.open.keys().next_back().copied().unwrap_or(self.closed_through);
        let time = ts.max(newest.saturating_add(1));
        Some(Bucket { time, start: ts, end: rules.calendar.day_end(ts)? })
    }

    fn is_closed(&self, bucket: Bucket, watermark: i64, rules: &Rules) -> bool {
        bucket.time <= self.closed_through || bucket.end.saturating_add(rules.close_grace) <= watermark
    }

    fn update(&mut self, bucket: Bucket, trade: Trade) {
        let add = |open: &mut Open| {
            open.bar.add(trade);
            open.has_changed = true;
        };
        let fresh = || Open { bucket, bar: Bar::new(bucket.time, trade), is_shown: false, has_changed: true };
        self.open.entry(bucket.time).and_modify(add).or_insert_with(fresh);
    }

    fn close_what_is_full(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        let (counted, count) = (self.is_counted(), u64::from(self.resolution.count()));
        let is_full = |open: &Open| counted && open.bar.ticks >= count;
        // A bar of trades does not wait for the grace when trade of the next day has begun.
        let most = if counted { 1 } else { MAX_OPEN };
        while self.open.len() > most || self.open.values().next().is_some_and(is_full) {
            self.settle_one(watermark, rules, out);
        }
    }

    fn amend(&mut self, bucket: Bucket, trade: Trade, out: &mut Vec<Update>) {
        let add = |closed: &mut Closed| {
            closed.bar.add(trade);
            closed.revision = closed.revision.saturating_add(1);
        };
        // Clients may have seen newer bars than a fresh one: it comes as a correction from the start.
        let fresh = || Closed { bucket, bar: Bar::new(bucket.time, trade), revision: 1 };
        self.closed.entry(bucket.time).and_modify(add).or_insert_with(fresh);
        self.closed_through = self.closed_through.max(bucket.time);
        self.tell_amended(bucket.time, out);
    }

    /// Tells the amended bar, and the flat bars behind it, which carry its close.
    fn tell_amended(&mut self, amended: i64, out: &mut Vec<Update>) {
        let newest = self.closed.keys().next_back().copied();
        let mut close = None;
        for (time, closed) in self.closed.range_mut(amended..) {
            match close {
                None => close = Some(closed.bar.close),
                Some(_) if closed.bar.ticks > 0 => break,
                Some(close) if closed.bar.close == close => break,
                Some(close) => {
                    closed.bar = Bar::flat(*time, close);
                    closed.revision = closed.revision.saturating_add(1);
                }
            }
            let place = if Some(*time) == newest { Place::Closed } else { Place::Older };
            out.push(Update { topic: self.topic, bar: closed.bar, revision: closed.revision, place });
        }
    }

    fn show(&mut self, watermark: i64, rules: &Rules, out: &mut Vec<Update>) {
        let counted = self.is_counted();
        let Some(open) = self.open.values_mut().next().filter(|open| open.has_changed) else { return };
        if counted || open.bucket.start.saturating_add(rules.close_grace) <= watermark {
            open.is_shown = true;
            open.has_changed = false;
            out.extend(self.current());
        }
    }

    fn is_visible(&self, open: &Open) -> bool {
        open.is_shown || self.is_counted()
    }

    /// Bars of a number of trades are final when they close: another trade would belong to all bars after it.
    fn may_amend(&self, bucket: Bucket, watermark: i64, rules: &Rules) -> bool {
        !self.is_counted() && bucket.end.saturating_add(rules.allowed_lateness) >= watermark
    }

    fn is_counted(&self) -> bool {
        self.resolution.unit() == Unit::Ticks
    }
}
