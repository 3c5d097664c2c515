//! All symbols of a broadcaster: which trades are taken, which bars they make, what is known of each topic.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::bar::Payload;
use crate::book::{Book, Clock};
use crate::calendar::Session;
use crate::resolution::Resolution;
use crate::series::{Place, Rules, Series, Update};
use crate::tick::{Reject, Tick};

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
        let is_final = update.place != Place::Current;
        Payload { symbol, resolution, bar: &update.bar, is_final, revision: update.revision }
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
