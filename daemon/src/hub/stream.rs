//! One stream: numbers, history and records behind one short lock; publish and subscribe are one step each under it.

mod broadcasters;
pub mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::commands::Commands;
use super::inputs::Inputs;
use super::interest::{Interest, MAX_PATTERNS};
use super::kinds::Kinds;
use super::log::{Answer, CaughtUp, Log};
use super::pattern::Pattern;
use super::repeats::{MAX_INPUTS, Repeats, Seen};
use super::settings::{Figures, Flush, Settings, Source};
use super::signal::{Signal, Wakes};
use super::targets::Outlet;
use super::{Accepted, Common, Reader, Refused, Subscribed, Wish};
use crate::event::{Draft, Event, Flags, Position, unix_now};
use crate::metrics;
use crate::metrics::labels::Relief;

/// The most audiences of a private stream: each has a log of its own.
pub const MAX_AUDIENCES: usize = 100_000;

pub struct Stream {
    name: Arc<str>,
    epoch: Arc<str>,
    common: Arc<Common>,
    inner: Mutex<Inner>,
    /// What is asked of the stream's broadcaster; it has a lock of its own.
    commands: Arc<Commands>,
    counters: metrics::Stream,
}

struct Inner {
    settings: Arc<Settings>,
    /// One log per audience. The one without audience is the whole of a public stream; of a private one it holds what
    /// was for nobody in particular, and no client reaches it.
    logs: BTreeMap<Arc<str>, Log>,
    kinds: Kinds,
    repeats: Repeats,
    inputs: Inputs,
    interest: Interest,
    demand_changed: BTreeSet<Pattern>,
    owner: Option<Arc<Signal>>,
    source: Source,
    is_ended: bool,
}

impl Stream {
    pub(super) fn new(name: &str, epoch: &Arc<str>, common: Arc<Common>) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let nobody: Arc<str> = "".into();
        let log = Log::new(name.clone(), nobody.clone(), &common);
        let inner = Inner {
            settings: Arc::default(),
            logs: BTreeMap::from([(nobody, log)]),
            kinds: Kinds::default(),
            repeats: Repeats::default(),
            inputs: Inputs::default(),
            interest: Interest::default(),
            demand_changed: BTreeSet::new(),
            owner: None,
            source: Source::Declared,
            is_ended: false,
        };
        let counters = metrics::Stream::new(&name);
        let commands = Commands::new(&name, common.clone());
        Arc::new(Self { name, epoch: epoch.clone(), common, inner: Mutex::new(inner), commands, counters })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    pub fn commands(&self) -> &Arc<Commands> {
        &self.commands
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.lock().settings.clone()
    }

    pub fn flush(&self) -> Option<Flush> {
        self.lock().settings.flush
    }

    pub fn source(&self) -> Source {
        self.lock().source.clone()
    }

    /// Whether this reader may subscribe to the log of this audience now.
    pub fn is_open(&self, audience: &str, reader: Reader) -> bool {
        self.lock().is_open(audience, reader)
    }

    pub(super) fn apply(&self, settings: Settings) {
        self.commands.declare(&settings.commands);
        let mut inner = self.lock();
        inner.kinds = Kinds::new(&settings.kinds);
        let is_turned = settings.private != inner.settings.private;
        let is_closer = settings.needs_identity && !inner.settings.needs_identity;
        let is_hidden = inner.settings.visible && !settings.visible;
        let is_shut = is_turned || is_closer || is_hidden;
        inner.settings = Arc::new(settings);
        inner.inputs.tell_writable();
        let limits = inner.settings.limits;
        if is_turned && let Some(log) = inner.logs.get_mut("") {
            log.forget(); // what was for nobody, or for users alone, is not for everybody now
        }
        for log in inner.logs.values_mut() {
            log.evict(&limits, Instant::now());
            if is_shut {
                log.targets.source_changed(log.id, log.seq(), &Source::Removed);
            }
        }
    }

    /// Gives the event its number and hands it to everybody who wants it. A refused publisher that gives its signal is
    /// told `WRITABLE` when there is room again.
    pub fn publish(&self, draft: &Draft<'_>, publisher: Option<&Arc<Signal>>) -> Result<Accepted, Refused> {
        let now = Instant::now();
        let stamped = Draft { unix_ns: if draft.unix_ns == 0 { unix_now() } else { draft.unix_ns }, ..*draft };
        let accepted = self.lock().publish(&stamped, self, publisher, now);
        match &accepted {
            Ok(Accepted { repeated: false, .. }) => self.counters.published(),
            Ok(_) => self.counters.repeated(),
            Err(_) => self.counters.refused(),
        }
        accepted
    }

    /// Takes the snapshot or the missed events and registers the outlet in one step: nothing is lost or doubled between.
    pub fn subscribe(&self, wish: &Wish<'_>, outlet: &Arc<dyn Outlet>) -> Result<Subscribed, Refused> {
        let mut inner = self.lock();
        if !inner.interest.has_room_for(wish.patterns) {
            return Err(Refused::TooManyPatterns(MAX_PATTERNS));
        }
        let subscribed = inner.answer(wish, self)?;
        let log = inner.log(wish.audience, self)?;
        log.targets.subscribe(outlet, wish.patterns);
        for pattern in wish.patterns {
            inner.change_demand(pattern, |inner| inner.interest.add(pattern));
        }
        self.counters.subscriptions(inner.interest.total());
        Ok(subscribed)
    }

    /// The same answer for a subscription that exists, after it could not take everything.
    pub fn answer(&self, wish: &Wish<'_>) -> Result<Subscribed, Refused> {
        self.lock().answer(wish, self)
    }

    pub fn unsubscribe(&self, audience: &str, patterns: &[Pattern], outlet: u64) {
        let mut inner = self.lock();
        if let Some(log) = inner.logs.get_mut(audience) {
            log.targets.unsubscribe(outlet, patterns);
        }
        for pattern in patterns {
            inner.change_demand(pattern, |inner| inner.interest.remove(pattern));
        }
        self.counters.subscriptions(inner.interest.total());
    }

    /// The number up to which an outlet that was full has to re-read the history; `None` when it missed nothing.
    pub fn owed_up_to(&self, audience: &str, outlet: u64) -> Option<u64> {
        let inner = self.lock();
        let log = inner.logs.get(audience)?;
        log.targets.behind(outlet).map(|_| log.seq())
    }

    /// What an outlet missed since it was full, up to a number and at most `max` events; `None` when it missed nothing.
    pub fn catch_up(&self, audience: &str, outlet: u64, up_to: u64, max: usize) -> Option<CaughtUp> {
        let mut inner = self.lock();
        let log = inner.logs.get_mut(audience)?;
        let behind = log.targets.behind(outlet).filter(|seq| *seq < up_to)?;
        let caught = log.catch_up(behind, up_to, max);
        let newest = log.seq();
        log.targets.caught_up(outlet, caught.reached, newest);
        Some(caught)
    }

    pub(super) fn halve_history(&self) {
        self.lock().logs.values_mut().for_each(Log::halve_history);
    }

    /// What there is now. Looking also brings the metrics of what is kept up to date.
    pub fn figures(&self) -> Figures {
        let inner = self.lock();
        let sum = |figure: fn(&Log) -> usize| inner.logs.values().map(figure).sum();
        let figures = Figures {
            seq: inner.logs.get("").map_or(0, Log::seq),
            topics: sum(Log::topic_count),
            records: sum(|log| log.records().len()),
            history_events: sum(|log| log.history().len()),
            history_bytes: sum(|log| log.history().bytes()),
            subscriptions: inner.interest.total(),
            listeners: inner.inputs.listeners(),
            input_bytes: inner.inputs.bytes(),
            source: inner.source.clone(),
            visible: inner.settings.visible,
            private: inner.settings.private,
        };
        self.counters.kept(figures.history_events, figures.records);
        figures
    }

    /// A panic while the lock was held leaves counts that are still sound: go on with them.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn publish(
        &mut self,
        draft: &Draft<'_>,
        stream: &Stream,
        publisher: Option<&Arc<Signal>>,
        now: Instant,
    ) -> Result<Accepted, Refused> {
        if self.source == Source::Removed {
            return Err(Refused::Removed);
        }
        if self.is_ended {
            return Err(Refused::Ended);
        }
        if let Some(seq) = self.accepted_before(draft, now)? {
            self.refresh_record(draft, stream, now)?;
            return Ok(Accepted { seq, repeated: true });
        }
        if !draft.audience.is_empty() && !self.settings.private {
            return Err(Refused::NotPrivate);
        }
        self.check_room(draft, &stream.common, publisher)?;
        let event = self.append(draft, stream, now)?;
        self.remember(draft, event.seq, now);
        if !draft.flags.has(Flags::RECORD_ONLY) && !self.is_for_nobody(draft) {
            // Across audiences inputs have a number of their own, and a stream that was private goes on with it.
            let next = self.inputs.newest() + 1;
            let number = if self.settings.private { next } else { event.seq.max(next) };
            self.inputs.push(number, &event);
        }
        Ok(Accepted { seq: event.seq, repeated: false })
    }

    fn is_for_nobody(&self, draft: &Draft<'_>) -> bool {
        self.settings.private && draft.audience.is_empty() && !self.settings.broadcast.contains(draft.kind)
    }

    fn accepted_before(&mut self, draft: &Draft<'_>, now: Instant) -> Result<Option<u64>, Refused> {
        self.repeats.forget_ids_older_than(self.settings.dedup, now);
        if let Some(seq) = self.repeats.seq_of(draft.id) {
            return Ok(Some(seq));
        }
        match draft.cause.map(|cause| self.repeats.seen(&cause)) {
            None | Some(Seen::New) => Ok(None),
            Some(Seen::Accepted) => Ok(Some(0)),
            Some(Seen::Forgotten) => Err(Refused::OldCause(MAX_INPUTS)),
        }
    }

    /// A repeated event that comes after the broadcaster has told its records is not in them: its maker was still at
    /// work on it when the state was saved.
    fn refresh_record(&mut self, draft: &Draft<'_>, stream: &Stream, now: Instant) -> Result<(), Refused> {
        if draft.cause.is_some() && !draft.key.is_empty() && self.source == Source::Running {
            let flags = Flags(draft.flags.0 | Flags::RECORD_ONLY.0);
            self.append(&Draft { flags, ..*draft }, stream, now)?;
        }
        Ok(())
    }

    fn check_room(
        &mut self,
        draft: &Draft<'_>,
        common: &Common,
        publisher: Option<&Arc<Signal>>,
    ) -> Result<(), Refused> {
        let full = self.inputs.has_listeners()
            && self.inputs.bytes() > 0
            && self.inputs.bytes() + draft.payload.len() > self.settings.listen_buffer;
        // What follows from an input is how inputs are let go, and a set of records must not be told by halves.
        let is_staging = self.logs.get(draft.audience).is_some_and(Log::is_staging);
        let may_grow = draft.flags.has(Flags::DELETE) || draft.cause.is_some() || is_staging;
        let refused = if common.memory.is_full() && !may_grow {
            common.memory.refuse();
            metrics::memory_relieved(Relief::Publish);
            Refused::NoMemory
        } else if full && !draft.flags.has(Flags::RECORD_ONLY) {
            Refused::Full
        } else {
            return Ok(());
        };
        if let Some(publisher) = publisher {
            self.inputs.refuse(publisher);
        }
        Err(refused)
    }

    fn append(&mut self, draft: &Draft<'_>, stream: &Stream, now: Instant) -> Result<Arc<Event>, Refused> {
        let kind = self.kinds.get(draft.kind)?;
        let limits = self.settings.limits;
        let event = self.log(draft.audience, stream)?.append(draft, &kind, &limits, now)?;
        if self.is_for_nobody(draft) {
            stream.counters.unaddressed();
        } else if self.settings.private && draft.audience.is_empty() {
            let connected =
                self.logs.iter_mut().filter(|(audience, log)| !audience.is_empty() && !log.targets.is_empty());
            for (_, log) in connected {
                log.append(draft, &kind, &limits, now)?;
            }
        }
        Ok(event)
    }

    fn remember(&mut self, draft: &Draft<'_>, seq: u64, now: Instant) {
        if let Some(cause) = &draft.cause {
            self.repeats.accept_cause(cause);
        }
        if !draft.id.is_empty() {
            self.repeats.accept_id(draft.id, seq, now);
        }
    }

    fn is_open(&self, audience: &str, reader: Reader) -> bool {
        let is_shown = self.settings.visible || reader == Reader::Operator;
        self.source != Source::Removed && is_shown && self.settings.private != audience.is_empty()
    }

    fn answer(&mut self, wish: &Wish<'_>, stream: &Stream) -> Result<Subscribed, Refused> {
        if !self.is_open(wish.audience, wish.reader) {
            return Err(Refused::Removed);
        }
        let source = self.source.clone();
        let limits = self.settings.limits;
        let declared = self.kinds.collections();
        let log = self.log(wish.audience, stream)?;
        log.evict(&limits, Instant::now());
        let since = wish.since.filter(|position| *position.epoch == *stream.epoch).map(|position| position.seq);
        let position = Position { epoch: stream.epoch.clone(), seq: log.seq() };
        let answer = match log.answer(wish.patterns, since) {
            Answer::Snapshot(snapshot) => Answer::Snapshot(snapshot.declaring(declared)),
            recovered => recovered,
        };
        Ok(Subscribed { stream: stream.name.clone(), log: log.id, position, answer, source })
    }

    fn log(&mut self, audience: &str, stream: &Stream) -> Result<&mut Log, Refused> {
        if !self.logs.contains_key(audience) {
            if self.logs.len() > MAX_AUDIENCES {
                return Err(Refused::TooManyAudiences(MAX_AUDIENCES));
            }
            let audience: Arc<str> = audience.into();
            self.logs.insert(audience.clone(), Log::new(stream.name.clone(), audience, &stream.common));
        }
        Ok(self.logs.get_mut(audience).expect("it was there, or was just put there"))
    }

    fn demand_of(&self, pattern: &Pattern) -> u64 {
        let listening = if pattern.text().contains(':') { 0 } else { self.inputs.listeners() as u64 };
        self.interest.of(pattern) + listening
    }

    /// Does what may bring a pattern its first subscriber, or take the last. Who came and went, or went and came, before the
    /// owner has looked is no news: so there is never more news than there are subscriptions or were at the last look.
    fn change_demand<R>(&mut self, pattern: &Pattern, change: impl FnOnce(&mut Self) -> R) -> R {
        let was_wanted = self.demand_of(pattern) > 0;
        let done = change(self);
        let is_wanted = self.demand_of(pattern) > 0;
        if let Some(owner) = self.owner.as_ref().filter(|_| was_wanted != is_wanted)
            && !self.demand_changed.remove(pattern)
        {
            self.demand_changed.insert(pattern.clone());
            owner.raise(Wakes::DEMAND);
        }
        done
    }

    fn set_source(&mut self, source: Source) {
        if source == self.source {
            return;
        }
        self.source = source;
        for log in self.logs.values() {
            log.targets.source_changed(log.id, log.seq(), &self.source);
        }
    }
}
