//! Publishes updates to topics that somebody listens to, and keeps the records of all others right.

use std::collections::{BTreeMap, HashMap, VecDeque};

use broadcastd_plugin_api::{Cause, Context, Failure, FailureKind, Flags, Outgoing, PublishError};
use serde::Serialize;

use crate::counters::Outputs;
use crate::feed::Feed;
use crate::update::{Place, Update};
use crate::waiting::Waiting;

pub const KIND: &str = "bar";

/// Final bars that wait for room in the stream, some 30 MB of them. Only a listener that has stopped reading fills
/// this; beyond it the broadcaster fails, and its inputs are fed to it again when it is restarted.
pub const MAX_WAITING: usize = 100_000;

/// Between the feed and the stream.
///
/// A topic that nobody listens to is not published to: it becomes *stale*, and [`Publisher::refresh`] brings its
/// records up to date. When the stream is full, final bars *wait* and open ones become stale. While anything waits,
/// nothing overtakes it. A final bar keeps its cause wherever it is, so that it is published once, whoever listened or
/// waited when its trade was first handled, and again after a failure.
pub struct Publisher {
    /// The name of each topic, as far as they were needed.
    names: Vec<String>,
    /// Topics whose records are behind, with the newest final bar that was not published.
    stale: BTreeMap<u32, Option<Untold>>,
    waiting: VecDeque<Waiting>,
    counters: Outputs,
}

/// An update that nobody has heard of, with what it follows from, if that is not what is being handled.
struct Untold {
    update: Update,
    cause: Option<Cause>,
}

impl Untold {
    /// It follows from what is being handled.
    fn new(update: &Update) -> Self {
        Self { update: *update, cause: None }
    }
}

/// The payload of an event that removes a record.
#[derive(Serialize)]
struct Nothing {}

impl Publisher {
    pub fn new(counters: Outputs) -> Self {
        Self { names: Vec::new(), stale: BTreeMap::new(), waiting: VecDeque::new(), counters }
    }

    /// Publishes updates in their order. The failure: too many final bars wait.
    pub fn publish(&mut self, updates: &[Update], feed: &Feed, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.learn_names(feed);
        let has_listeners = !updates.is_empty() && cx.demand("") > 0;
        // Of an input the first events are the updates, published or not; what else may have to be told follows.
        let count = updates.len() as u32;
        for (at, update) in (0..).zip(updates) {
            cx.set_ordinal(at);
            if update.place == Place::Closed && update.revision == 0 {
                self.counters.closed.increment(1);
            }
            if !has_listeners || cx.demand(&self.names[update.topic as usize]) == 0 {
                self.counters.skipped.increment(1);
                let cause = if update.place.is_final() { cx.take_cause() } else { None };
                self.mark_stale(update, cause);
                continue;
            }
            if let Some(Some(untold)) = self.stale.remove(&update.topic) {
                cx.set_ordinal(count + at);
                self.tell_untold(&untold, Flags::NONE, feed, cx)?;
                cx.set_ordinal(at);
            }
            self.tell(update, Flags::NONE, feed, cx)?;
            cx.set_ordinal(2 * count + at);
            let is_last = updates.get(at as usize + 1).is_none_or(|next| next.topic != update.topic);
            if is_last && update.place == Place::Closed && feed.record(update.topic).current.is_none() {
                self.remove_current(update.topic, cx);
            }
        }
        Ok(())
    }

    /// Brings stale topics up to date: for whoever has come since, as an update, else in the records only.
    pub fn refresh(&mut self, feed: &Feed, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.is_blocked() {
            return Ok(());
        }
        self.learn_names(feed);
        for (topic, closed) in std::mem::take(&mut self.stale) {
            let has_listeners = cx.demand(&self.names[topic as usize]) > 0;
            let how = if has_listeners { Flags::NONE } else { Flags::RECORD_ONLY };
            let current = feed.record(topic).current;
            if let Some(untold) = &closed {
                self.tell_untold(untold, how, feed, cx)?;
            }
            if let Some(update) = &current {
                self.tell(update, how, feed, cx)?;
            } else {
                self.remove_current(topic, cx);
            }
        }
        Ok(())
    }

    /// Publishes the records of every topic, when the daemon asks for them.
    pub fn records(&mut self, feed: &Feed, cx: &mut Context<'_>) {
        self.learn_names(feed);
        for topic in 0..feed.topic_count() {
            let record = feed.record(topic);
            for update in record.closed.iter().chain(&record.current) {
                if let Err(error) = self.say(&Untold::new(update), Flags::RECORD_ONLY, feed, cx) {
                    self.count_error(error);
                }
            }
        }
    }

    /// Goes on where the stream was full. Answers whether all that waited is published.
    pub fn go_on(&mut self, feed: &Feed, cx: &mut Context<'_>) -> Result<bool, Failure> {
        while let Some(waiting) = self.waiting.front() {
            match cx.publish(&Outgoing { kind: KIND, ..waiting.outgoing() }) {
                Ok(()) => self.counters.sent.increment(1),
                Err(PublishError::Again) => return Ok(false),
                Err(error) => self.count_error(error),
            }
            self.waiting.pop_front();
        }
        self.refresh(feed, cx)?;
        Ok(!self.is_blocked())
    }

    /// Whether final bars wait for room; then no more trades should be made.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn waiting(&self) -> &VecDeque<Waiting> {
        &self.waiting
    }

    /// Takes over what waited in the instance before.
    pub fn resume(&mut self, waiting: VecDeque<Waiting>) {
        self.waiting = waiting;
    }

    /// The feed is replaced by another with other topics: removes the records that the new one does not know.
    pub fn change_feed(&mut self, old: &Feed, new: &Feed, cx: &mut Context<'_>) {
        self.learn_names(old);
        let old_names = std::mem::take(&mut self.names);
        self.learn_names(new);
        let topics: HashMap<String, u32> = self.names.iter().cloned().zip(0..).collect();
        let mut stale = std::mem::take(&mut self.stale);
        for (old_topic, name) in (0..).zip(&old_names) {
            let topic = topics.get(name).copied();
            let (was, is) = (old.record(old_topic), topic.map(|topic| new.record(topic)).unwrap_or_default());
            for (place, was, is) in [(Place::Current, was.current, is.current), (Place::Closed, was.closed, is.closed)]
            {
                if was.is_some() && is.is_none() {
                    self.remove_record(name, place, cx);
                }
            }
            if let (Some(topic), Some(closed)) = (topic, stale.remove(&old_topic)) {
                let moved = closed.map(|Untold { update, cause }| Untold { update: Update { topic, ..update }, cause });
                self.stale.insert(topic, moved);
            }
        }
    }

    fn learn_names(&mut self, feed: &Feed) {
        let known = self.names.len() as u32;
        self.names.extend((known..feed.topic_count()).map(|topic| feed.topic_name(topic)));
    }

    fn mark_stale(&mut self, update: &Update, cause: Option<Cause>) {
        match update.place {
            Place::Closed => _ = self.stale.insert(update.topic, Some(Untold { update: *update, cause })),
            Place::Current => _ = self.stale.entry(update.topic).or_default(),
            Place::Older => {} // it is in no record
        }
    }

    /// Publishes an update, or puts it off until there is room.
    fn tell(&mut self, update: &Update, how: Flags, feed: &Feed, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.tell_untold(&Untold::new(update), how, feed, cx)
    }

    fn tell_untold(&mut self, untold: &Untold, how: Flags, feed: &Feed, cx: &mut Context<'_>) -> Result<(), Failure> {
        let said = if self.is_blocked() { Err(PublishError::Again) } else { self.say(untold, how, feed, cx) };
        match said {
            Ok(()) if how.has(Flags::RECORD_ONLY) => {}
            Ok(()) => self.counters.sent.increment(1),
            Err(PublishError::Again) if how.has(Flags::RECORD_ONLY) || !untold.update.place.is_final() => {
                self.mark_stale(&untold.update, untold.cause.clone());
            }
            Err(PublishError::Again) => return self.wait(untold, feed, cx),
            Err(error) => self.count_error(error),
        }
        Ok(())
    }

    fn say(&self, untold: &Untold, how: Flags, feed: &Feed, cx: &mut Context<'_>) -> Result<(), PublishError> {
        let Untold { update, cause } = untold;
        let flags = if update.place.is_final() { how } else { how | Flags::LATEST };
        let event = cx.event(KIND).topic(&self.names[update.topic as usize]).key(update.place.key()).flags(flags);
        let event = if let Some(cause) = cause { event.cause(cause) } else { event };
        event.publish(&feed.payload(update))
    }

    fn wait(&mut self, untold: &Untold, feed: &Feed, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.waiting.len() >= MAX_WAITING {
            let why = format!(
                "{MAX_WAITING} final bars wait because a listener of the stream does not read; see why it is stuck"
            );
            return Err(Failure::of(FailureKind::Limit, why));
        }
        if self.waiting.is_empty() {
            tracing::warn!("the stream is full; final bars wait for room");
        }
        let update = &untold.update;
        let payload = serde_json::to_string(&feed.payload(update))?;
        let topic = self.names[update.topic as usize].clone();
        let cause = untold.cause.clone().or_else(|| cx.take_cause());
        self.waiting.push_back(Waiting::new(topic, update.place, payload, cause));
        Ok(())
    }

    /// Without this a snapshot would show the closed bar as open, too, until the next trade.
    fn remove_current(&mut self, topic: u32, cx: &mut Context<'_>) {
        if self.is_blocked() {
            self.stale.entry(topic).or_default();
        } else {
            self.remove_record(&self.names[topic as usize], Place::Current, cx);
        }
    }

    fn remove_record(&self, name: &str, place: Place, cx: &mut Context<'_>) {
        let event = cx.event(KIND).topic(name).key(place.key()).delete().record_only();
        if let Err(error) = event.publish(&Nothing {}) {
            self.count_error(error);
        }
    }

    /// The bars go on: the next update of the topic says all that this one would have said.
    fn count_error(&self, error: PublishError) {
        self.counters.errors.increment(1);
        tracing::warn!(%error, "a bar is not published");
    }
}
