//! All symbols of a broadcaster: which trades are taken, which bars they make, what is known of each topic.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::bar::Payload;
use crate::book::{Book, Clock};
use crate::calendar::Session;
use crate::resolution::Resolution;
use crate::series::{Rules, Series};
use crate::tick::{Reject, Tick};
use crate::update::Update;

/// Symbols of a feed that takes whatever comes (`symbols = ["*"]`): beyond any exchange's list, and a bound for a
/// feed gone wrong.
pub const MAX_SYMBOLS: usize = 10_000;

/// The longest symbol taken; exchanges use at most a few dozen letters.
pub const MAX_SYMBOL_BYTES: usize = 128;

/// The form of what [`Feed::save`] writes.
pub const STATE_VERSION: u32 = 1;

/// What a feed needs to know; `settings` makes it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub symbols: Symbols,
    pub resolutions: Vec<Resolution>,
    pub clock: Clock,
    /// How far the time of a trade may lie ahead of the wall clock, in milliseconds.
    pub max_future: i64,
    pub prices: Prices,
    pub rules: Rules,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    Any,
    Listed(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prices {
    Positive,
    /// Spreads and some futures trade at or below zero.
    Any,
}

/// Trades in, updates of bars out. Topics are numbered: `topic` of an [`Update`] is an index below
/// [`Feed::topic_count`].
#[derive(Debug)]
pub struct Feed {
    plan: Plan,
    /// The canonical spelling of each resolution.
    spellings: Vec<String>,
    symbols: Vec<String>,
    books: Vec<Book>,
    index: HashMap<String, usize>,
    counts: Counts,
    deadline: Option<i64>,
    /// The session of the last trade: the next one is most likely in it, and needs no look at the calendar.
    session: Option<Session>,
}

/// Figures since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub taken: u64,
    /// In the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// Closed bars that late trades have changed; a trade counts once for each resolution.
    pub amended: u64,
    /// Bars that late trades were too late for, counted the same.
    pub too_late: u64,
}

/// What a snapshot of a topic shows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Record {
    pub current: Option<Update>,
    pub closed: Option<Update>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    clock: Clock,
    books: Vec<(String, Book)>,
}

impl Feed {
    pub fn new(plan: Plan) -> Self {
        let spellings = plan.resolutions.iter().map(Resolution::to_string).collect();
        let listed = if let Symbols::Listed(symbols) = &plan.symbols { symbols.clone() } else { Vec::new() };
        let mut feed = Self {
            plan,
            spellings,
            symbols: Vec::new(),
            books: Vec::new(),
            index: HashMap::new(),
            counts: Counts::default(),
            deadline: None,
            session: None,
        };
        for symbol in listed {
            feed.open_book(&symbol);
        }
        feed
    }

    /// One of the same plan that knows of no trades.
    pub fn to_empty(&self) -> Self {
        Self::new(self.plan.clone())
    }

    /// Takes a trade at the wall clock's `now` and appends what follows from it to `out`, in the order in which it has
    /// to be published. A refused trade is counted and changes nothing.
    pub fn tick(&mut self, tick: &Tick<'_>, now: i64, out: &mut Vec<Update>) -> Result<(), Reject> {
        let taken = self.admit(tick, now).and_then(|book| {
            let watermark = if self.plan.clock == Clock::Event { tick.time } else { now };
            let outcome = self.books[book].take(tick, watermark, &self.plan.rules, out)?;
            self.counts.amended += outcome.amended;
            self.counts.too_late += outcome.too_late;
            if self.plan.clock == Clock::Wall {
                let deadline = self.books[book].deadline(&self.plan.rules);
                self.deadline = self.deadline.into_iter().chain(deadline).min();
            }
            Ok(())
        });
        match taken {
            Ok(()) => self.counts.taken += 1,
            Err(reject) => self.counts.rejected[reject as usize] += 1,
        }
        taken
    }

    /// Closes, shows and fills what is due at the wall clock's `now`. On the event clock only trades move time.
    pub fn advance(&mut self, now: i64, out: &mut Vec<Update>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        for book in &mut self.books {
            book.advance(now, &self.plan.rules, out);
        }
        self.find_deadline();
    }

    /// When [`Feed::advance`] has something to do; `None` as long as only a trade can bring anything.
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadline
    }

    /// Closes every open bar.
    pub fn flush(&mut self, out: &mut Vec<Update>) {
        for book in &mut self.books {
            book.flush(&self.plan.rules, out);
        }
        self.find_deadline();
    }

    /// Whether trade is possible at `now`.
    pub fn is_open(&self, now: i64) -> bool {
        self.plan.rules.calendar.session(now).is_some()
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub fn topic_count(&self) -> u32 {
        (self.books.len() * self.plan.resolutions.len()) as u32
    }

    /// The topic after the name of the stream, such as `AAPL:1`.
    pub fn topic_name(&self, topic: u32) -> String {
        let (symbol, resolution) = self.topic_parts(topic);
        let mut name = String::with_capacity(symbol.len() + 1 + resolution.len());
        for letter in symbol.chars() {
            match letter {
                ':' => name.push_str("%3A"),
                '*' => name.push_str("%2A"),
                '%' => name.push_str("%25"),
                plain => name.push(plain),
            }
        }
        name + ":" + resolution
    }

    /// What clients read of an update.
    pub fn payload<'a>(&'a self, update: &'a Update) -> Payload<'a> {
        let (symbol, resolution) = self.topic_parts(update.topic);
        Payload { symbol, resolution, bar: &update.bar, is_final: update.place.is_final(), revision: update.revision }
    }

    pub fn record(&self, topic: u32) -> Record {
        let per_book = self.plan.resolutions.len();
        let series: &Series = &self.books[topic as usize / per_book].series()[topic as usize % per_book];
        Record { current: series.current(), closed: series.newest_closed() }
    }

    /// The state as JSON of version [`STATE_VERSION`]. Figures are not part of it: they count since the start.
    pub fn save(&self) -> Vec<u8> {
        let books = self.symbols.iter().cloned().zip(self.books.iter().cloned()).collect();
        serde_json::to_vec(&Saved { version: STATE_VERSION, clock: self.plan.clock, books })
            .expect("finite numbers and texts are JSON")
    }

    /// Goes on from a saved state, as far as the plan still wants it. The answer is how many wanted topics start anew
    /// because the clock or the calendar has changed since. After an error the feed is as it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<usize, String> {
        let saved: Saved = serde_json::from_slice(state)
            .map_err(|error| format!("the saved bars cannot be read: {error}; remove the saved state to start anew"))?;
        if saved.version != STATE_VERSION {
            return Err(format!("the saved bars are of version {}, this plugin reads {STATE_VERSION}", saved.version));
        }
        if saved.clock != self.plan.clock {
            return Ok(self.topic_count() as usize);
        }
        let mut dropped = 0;
        for (symbol, book) in saved.books {
            if let Ok(known) = self.book(&symbol) {
                dropped += self.books[known].resume(book, &self.plan.rules);
            }
        }
        self.find_deadline();
        Ok(dropped)
    }

    /// The book that takes this trade, opened when the feed takes any symbol.
    fn admit(&mut self, tick: &Tick<'_>, now: i64) -> Result<usize, Reject> {
        if !tick.price.is_finite() || !tick.size.is_finite() {
            return Err(Reject::NotFinite);
        }
        if tick.price <= 0.0 && self.plan.prices == Prices::Positive {
            return Err(Reject::Price);
        }
        if tick.size < 0.0 {
            return Err(Reject::Size);
        }
        if tick.time > now.saturating_add(self.plan.max_future) {
            return Err(Reject::TooFarAhead);
        }
        if !self.session.is_some_and(|session| session.holds(tick.time)) {
            self.session = Some(self.plan.rules.calendar.session(tick.time).ok_or(Reject::OutOfSession)?);
        }
        self.book(&tick.symbol)
    }

    fn book(&mut self, symbol: &str) -> Result<usize, Reject> {
        if let Some(book) = self.index.get(symbol) {
            return Ok(*book);
        }
        let fits = !symbol.is_empty() && symbol.len() <= MAX_SYMBOL_BYTES;
        match self.plan.symbols {
            Symbols::Any if !fits => Err(Reject::UnknownSymbol),
            Symbols::Any if self.books.len() >= MAX_SYMBOLS => Err(Reject::TooManySymbols),
            Symbols::Any => Ok(self.open_book(symbol)),
            Symbols::Listed(_) => Err(Reject::UnknownSymbol),
        }
    }

    fn open_book(&mut self, symbol: &str) -> usize {
        let book = self.books.len();
        let first_topic = self.topic_count();
        self.books.push(Book::new(first_topic, &self.plan.resolutions));
        self.symbols.push(symbol.to_owned());
        self.index.insert(symbol.to_owned(), book);
        book
    }

    fn find_deadline(&mut self) {
        if self.plan.clock == Clock::Wall {
            self.deadline = self.books.iter().filter_map(|book| book.deadline(&self.plan.rules)).min();
        }
    }

    fn topic_parts(&self, topic: u32) -> (&str, &str) {
        let per_book = self.spellings.len();
        (&self.symbols[topic as usize / per_book], &self.spellings[topic as usize % per_book])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{Calendar, Texts};
    use crate::series::{MAX_AMENDABLE, MAX_OPEN};
    use crate::update::Place;

    fn plan(resolutions: &[&str]) -> Plan {
        let calendar =
            Calendar::new(Texts { timezone: "UTC", session: "24x7", holidays: "", corrections: "" }).unwrap();
        Plan {
            symbols: Symbols::Listed(vec!["A".into(), "B".into()]),
            resolutions: resolutions.iter().map(|text| text.parse().unwrap()).collect(),
            clock: Clock::Wall,
            max_future: 60_000,
            prices: Prices::Positive,
            rules: Rules { calendar, close_grace: 0, allowed_lateness: 0, max_fill: 0 },
        }
    }

    fn event_plan(resolutions: &[&str]) -> Plan {
        Plan { clock: Clock::Event, ..plan(resolutions) }
    }

    fn tick(symbol: &str, time: i64, price: f64) -> Tick<'_> {
        Tick { symbol: symbol.into(), time, price, size: 1.0, id: None }
    }

    /// Place, time, close and revision: enough to tell updates apart.
    fn brief(out: &mut Vec<Update>) -> Vec<(Place, i64, f64, u32)> {
        out.drain(..).map(|update| (update.place, update.bar.time, update.bar.close, update.revision)).collect()
    }

    #[test]
    fn the_wall_clock_closes_without_a_next_trade() {
        let mut plan = plan(&["1"]);
        plan.rules.close_grace = 500;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        assert_eq!(feed.next_deadline(), None);
        feed.tick(&tick("A", 10_000, 5.0), 10_000, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Current, 0, 5.0, 0)]);
        assert_eq!(feed.next_deadline(), Some(60_500));
        feed.advance(60_499, &mut out);
        assert_eq!(out, []);
        feed.advance(60_500, &mut out);
        assert_eq!(brief(&mut out), [(Place::Closed, 0, 5.0, 0)]);
        assert_eq!(feed.next_deadline(), None);
        assert_eq!(feed.record(0).current, None);
        assert_eq!(feed.record(0).closed.unwrap().bar.close, 5.0);
    }

    #[test]
    fn within_the_grace_the_next_bar_waits_for_the_last_one() {
        let mut plan = plan(&["1"]);
        plan.rules.close_grace = 500;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        feed.tick(&tick("A", 59_000, 5.0), 59_000, &mut out).unwrap();
        feed.tick(&tick("A", 60_100, 7.0), 60_100, &mut out).unwrap();
        feed.tick(&tick("A", 59_900, 6.0), 60_200, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Current, 0, 5.0, 0), (Place::Current, 0, 6.0, 0)]);
        feed.advance(60_500, &mut out);
        assert_eq!(brief(&mut out), [(Place::Closed, 0, 6.0, 0), (Place::Current, 60_000, 7.0, 0)]);
        assert_eq!(feed.counts().too_late, 0);
    }

    #[test]
    fn a_trade_ahead_of_the_clock_is_shown_when_its_time_comes() {
        let (mut feed, mut out) = (Feed::new(plan(&["1"])), Vec::new());
        feed.tick(&tick("A", 60_000, 5.0), 59_000, &mut out).unwrap();
        assert_eq!((brief(&mut out), feed.next_deadline(), feed.record(0)), (vec![], Some(60_000), Record::default()));
        feed.advance(60_000, &mut out);
        assert_eq!(brief(&mut out), [(Place::Current, 60_000, 5.0, 0)]);
    }

    #[test]
    fn late_trades_amend_within_the_allowed_lateness() {
        let mut plan = event_plan(&["1", "5"]);
        plan.rules.allowed_lateness = 60_000;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        for (time, price) in [(0, 1.0), (61_000, 2.0)] {
            feed.tick(&tick("A", time, price), i64::MAX, &mut out).unwrap();
        }
        out.clear();
        feed.tick(&tick("A", 59_999, 9.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Closed, 0, 9.0, 1), (Place::Current, 0, 2.0, 0)]);
        feed.tick(&tick("A", 120_000, 3.0), i64::MAX, &mut out).unwrap();
        out.clear();
        feed.tick(&tick("A", 5, 8.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out)[0], (Place::Older, 0, 9.0, 2));
        assert_eq!(feed.record(0).closed.unwrap().bar.time, 60_000);
        feed.tick(&tick("A", 120_001, 3.0), i64::MAX, &mut out).unwrap();
        out.clear();
        feed.tick(&tick("A", 6, 8.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out).len(), 1, "too late for the minute, in time for five");
        assert_eq!((feed.counts().too_late, feed.counts().amended), (1, 2));
    }

    #[test]
    fn a_gap_is_filled_with_the_previous_close_up_to_the_limit() {
        let mut plan = event_plan(&["1"]);
        plan.rules.max_fill = 3;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        feed.tick(&tick("A", 0, 5.0), i64::MAX, &mut out).unwrap();
        feed.tick(&tick("A", 180_000, 6.0), i64::MAX, &mut out).unwrap();
        let closed = |time, close| (Place::Closed, time, close, 0);
        let expected = [closed(0, 5.0), closed(60_000, 5.0), closed(120_000, 5.0), (Place::Current, 180_000, 6.0, 0)];
        assert_eq!(brief(&mut out)[1..], expected);
        feed.tick(&tick("A", 3_600_000, 7.0), i64::MAX, &mut out).unwrap();
        assert!(out.iter().skip(1).take(3).all(|flat| flat.bar.volume == 0.0 && flat.bar.broken_rule().is_none()));
        assert_eq!(brief(&mut out).len(), 1 + 3 + 1, "a close, three flat bars and no more, the next bar");
    }

    #[test]
    fn time_alone_fills_on_the_wall_clock_and_only_inside_sessions() {
        let mut plan = plan(&["1"]);
        let texts = Texts { timezone: "UTC", session: "0000-0003:1234567", holidays: "19700102", corrections: "" };
        plan.rules.calendar = Calendar::new(texts).unwrap();
        plan.rules.max_fill = 4;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        feed.tick(&tick("A", 0, 5.0), 0, &mut out).unwrap();
        let mut deadlines = Vec::new();
        while let Some(deadline) = feed.next_deadline() {
            feed.advance(deadline, &mut out);
            deadlines.push(deadline);
        }
        let third = 2 * 86_400_000;
        assert_eq!(deadlines, [60_000, 120_000, 180_000, third + 60_000, third + 120_000]);
        let times: Vec<i64> = out.iter().skip(1).map(|update| update.bar.time).collect();
        assert_eq!(times, [0, 60_000, 120_000, third, third + 60_000]);
    }

    #[test]
    fn an_amended_close_is_carried_over_the_gap_behind_it() {
        let mut plan = event_plan(&["1"]);
        (plan.rules.max_fill, plan.rules.allowed_lateness) = (9, 600_000);
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        feed.tick(&tick("A", 0, 5.0), i64::MAX, &mut out).unwrap();
        feed.tick(&tick("A", 180_000, 6.0), i64::MAX, &mut out).unwrap();
        out.clear();
        feed.tick(&tick("A", 30_000, 4.0), i64::MAX, &mut out).unwrap();
        let expected = [(Place::Older, 0, 4.0, 1), (Place::Older, 60_000, 4.0, 1), (Place::Closed, 120_000, 4.0, 1)];
        assert_eq!(brief(&mut out), expected);
        feed.tick(&tick("A", 90_000, 3.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Older, 60_000, 3.0, 2), (Place::Closed, 120_000, 3.0, 2)]);
        feed.tick(&tick("A", 29_000, 1.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Older, 0, 4.0, 2)], "a bar with trades keeps them");
    }

    #[test]
    fn a_flush_closes_every_open_bar() {
        let (mut feed, mut out) = (Feed::new(event_plan(&["1", "D", "3T"])), Vec::new());
        feed.tick(&tick("A", 0, 5.0), i64::MAX, &mut out).unwrap();
        feed.tick(&tick("B", 7, 6.0), i64::MAX, &mut out).unwrap();
        out.clear();
        feed.flush(&mut out);
        assert_eq!(out.iter().map(|update| update.topic).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert!(out.iter().all(|update| update.place == Place::Closed));
        out.clear();
        feed.flush(&mut out);
        assert_eq!(out, []);
        feed.tick(&tick("A", 1, 4.0), i64::MAX, &mut out).unwrap();
        let expected = [(Place::Closed, 0, 4.0, 1), (Place::Closed, 0, 4.0, 1), (Place::Current, 1, 4.0, 0)];
        assert_eq!(brief(&mut out), expected, "a trade after the flush corrects, a bar of trades begins");
    }

    #[test]
    fn refused_trades_are_counted_by_reason_and_change_nothing() {
        let mut plan = plan(&["1"]);
        let texts = Texts { timezone: "UTC", session: "0900-1000:1234567", holidays: "", corrections: "" };
        plan.rules.calendar = Calendar::new(texts).unwrap();
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        let now = 9 * 3_600_000;
        let good = Tick { id: Some(1), ..tick("A", now, 5.0) };
        feed.tick(&good, now, &mut out).unwrap();
        assert_eq!(feed.tick(&tick("A", now + 60_000, 5.0), now, &mut out), Ok(()), "as far ahead as allowed");
        out.clear();
        let (state, plain) = (feed.save(), tick("A", now, 5.0));
        for (bad, reject) in [
            (Tick { price: f64::NAN, ..plain.clone() }, Reject::NotFinite),
            (Tick { size: f64::INFINITY, ..plain.clone() }, Reject::NotFinite),
            (Tick { price: 0.0, ..plain.clone() }, Reject::Price),
            (Tick { price: -1.0, ..plain.clone() }, Reject::Price),
            (Tick { size: -0.1, ..plain.clone() }, Reject::Size),
            (Tick { time: now + 60_001, ..plain.clone() }, Reject::TooFarAhead),
            (Tick { time: i64::MAX, ..plain.clone() }, Reject::TooFarAhead),
            (Tick { time: i64::MIN, ..plain.clone() }, Reject::OutOfSession),
            (Tick { time: now - 1, ..plain.clone() }, Reject::OutOfSession),
            (Tick { symbol: "C".into(), ..plain.clone() }, Reject::UnknownSymbol),
            (good.clone(), Reject::Duplicate),
        ] {
            let before = feed.counts().rejected[reject as usize];
            assert_eq!(feed.tick(&bad, now, &mut out), Err(reject), "{bad:?}");
            assert_eq!(feed.counts().rejected[reject as usize], before + 1);
        }
        assert_eq!((out.len(), feed.counts().taken, feed.save()), (0, 2, state));
        assert!(Reject::ALL.iter().enumerate().all(|(at, reject)| at == *reject as usize));
    }

    #[test]
    fn prices_below_zero_are_taken_where_they_are_allowed() {
        let mut feed = Feed::new(Plan { prices: Prices::Any, ..plan(&["1"]) });
        assert_eq!(feed.tick(&tick("A", 0, -37.63), 0, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn the_table_of_symbols_is_bounded() {
        let mut feed = Feed::new(Plan { symbols: Symbols::Any, ..event_plan(&["1"]) });
        let mut out = Vec::new();
        for symbol in 0..MAX_SYMBOLS {
            feed.tick(&tick(&symbol.to_string(), 0, 1.0), 0, &mut out).unwrap();
        }
        assert_eq!(feed.tick(&tick("one more", 0, 1.0), 0, &mut out), Err(Reject::TooManySymbols));
        assert_eq!(feed.tick(&tick("7", 0, 1.0), 0, &mut out), Ok(()));
        let mut feed = Feed::new(Plan { symbols: Symbols::Any, ..event_plan(&["1"]) });
        assert_eq!(feed.tick(&tick(&"x".repeat(MAX_SYMBOL_BYTES), 0, 1.0), 0, &mut out), Ok(()));
        assert_eq!(
            feed.tick(&tick(&"x".repeat(MAX_SYMBOL_BYTES + 1), 0, 1.0), 0, &mut out),
            Err(Reject::UnknownSymbol)
        );
        assert_eq!(feed.tick(&tick("", 0, 1.0), 0, &mut out), Err(Reject::UnknownSymbol));
    }

    #[test]
    fn open_bars_are_bounded() {
        let mut feed = Feed::new(Plan { max_future: i64::MAX, ..plan(&["1S"]) });
        let mut out = Vec::new();
        let ahead = |bar: usize| 1_000_000 + bar as i64 * 1_000;
        for bar in 0..MAX_OPEN {
            feed.tick(&tick("A", ahead(bar), 1.0), 0, &mut out).unwrap();
        }
        assert_eq!(out, [], "all wait for their time");
        feed.tick(&tick("A", ahead(MAX_OPEN), 1.0), 0, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Closed, ahead(0), 1.0, 0)]);
    }

    #[test]
    fn amendable_bars_are_bounded() {
        let mut plan = event_plan(&["1S"]);
        plan.rules.allowed_lateness = i64::MAX;
        let (mut feed, mut out) = (Feed::new(plan), Vec::new());
        for bar in 0..=MAX_AMENDABLE {
            feed.tick(&tick("A", bar as i64 * 1_000, 1.0), i64::MAX, &mut out).unwrap();
        }
        feed.tick(&tick("A", 0, 1.0), i64::MAX, &mut out).unwrap();
        assert_eq!((feed.counts().amended, feed.counts().too_late), (1, 0), "as many as allowed are closed");
        feed.tick(&tick("A", (MAX_AMENDABLE as i64 + 1) * 1_000, 1.0), i64::MAX, &mut out).unwrap();
        feed.tick(&tick("A", 0, 1.0), i64::MAX, &mut out).unwrap();
        feed.tick(&tick("A", 1_000, 1.0), i64::MAX, &mut out).unwrap();
        assert_eq!((feed.counts().amended, feed.counts().too_late), (2, 1), "one more has pushed the first out");
        feed.tick(&tick("A", -5_000, 1.0), i64::MAX, &mut out).unwrap();
        assert_eq!(feed.counts().too_late, 2, "nor does a bar before the first come to be");
    }

    #[test]
    fn a_state_goes_on_as_far_as_the_plan_still_wants_it() {
        let mut feed = Feed::new(event_plan(&["1", "60", "D"]));
        let mut out = Vec::new();
        for symbol in ["A", "B"] {
            feed.tick(&tick(symbol, 3_599_999, 5.0), i64::MAX, &mut out).unwrap();
        }
        let state = feed.save();
        let mut other = event_plan(&["5", "D", "60"]);
        other.symbols = Symbols::Listed(vec!["B".into(), "C".into()]);
        let mut restored = Feed::new(other.clone());
        assert_eq!(restored.restore(&state), Ok(0));
        let kept: Vec<bool> = (0..6).map(|topic| restored.record(topic).current.is_some()).collect();
        assert_eq!(kept, [false, true, true, false, false, false]);
        assert_eq!(restored.record(1).current.unwrap().topic, 1, "under its new number");
        let texts = Texts { timezone: "Asia/Kolkata", session: "24x7", holidays: "", corrections: "" };
        other.rules.calendar = Calendar::new(texts).unwrap();
        let mut moved = Feed::new(other.clone());
        assert_eq!(moved.restore(&state), Ok(1), "days begin elsewhere, hours do not");
        assert!(moved.record(1).current.is_none() && moved.record(2).current.is_some());
        let mut by_wall = Feed::new(Plan { clock: Clock::Wall, ..other });
        assert_eq!(by_wall.restore(&state), Ok(6));
        let newer = String::from_utf8(state).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(moved.restore(newer.as_bytes()).unwrap_err().contains("version 2, this plugin reads 1"));
        assert!(moved.restore(b"{").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_restored_feed_knows_its_deadline_and_its_ids() {
        let mut feed = Feed::new(plan(&["1"]));
        let trade = Tick { id: Some(7), ..tick("A", 0, 5.0) };
        feed.tick(&trade, 0, &mut Vec::new()).unwrap();
        let mut restored = Feed::new(plan(&["1"]));
        restored.restore(&feed.save()).unwrap();
        assert_eq!(restored.next_deadline(), Some(60_000));
        assert_eq!(restored.tick(&trade, 0, &mut Vec::new()), Err(Reject::Duplicate));
    }

    #[test]
    fn a_longer_grace_after_a_restart_opens_no_closed_bar_again() {
        let mut plan = event_plan(&["1"]);
        plan.rules.allowed_lateness = 600_000;
        let (mut feed, mut out) = (Feed::new(plan.clone()), Vec::new());
        for time in [70_000, 30_000] {
            feed.tick(&tick("A", time, 5.0), i64::MAX, &mut out).unwrap();
        }
        assert_eq!(brief(&mut out)[1], (Place::Closed, 0, 5.0, 1));
        plan.rules.close_grace = 20_000;
        let mut restored = Feed::new(plan);
        restored.restore(&feed.save()).unwrap();
        restored.tick(&tick("A", 40_000, 6.0), i64::MAX, &mut out).unwrap();
        assert_eq!(brief(&mut out), [(Place::Closed, 0, 6.0, 2)]);
    }

    #[test]
    fn topics_have_names_that_patterns_cannot_mistake() {
        let mut plan = plan(&["1", "D"]);
        plan.symbols = Symbols::Listed(vec!["AAPL".into(), "BINANCE:BTC*%".into()]);
        let feed = Feed::new(plan);
        let names: Vec<String> = (0..feed.topic_count()).map(|topic| feed.topic_name(topic)).collect();
        assert_eq!(names, ["AAPL:1", "AAPL:1D", "BINANCE%3ABTC%2A%25:1", "BINANCE%3ABTC%2A%25:1D"]);
    }
}
