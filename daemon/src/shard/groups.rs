//! Who gets what in a shard: one group per pattern and form, so that the frames of a turn are joined once for all of
//! its members.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cadence::Cadence;
use super::encoding::{self, Deflation, Form};
use super::slabs::Slabs;
use crate::event::{Event, LogId};
use crate::hub::pattern::Pattern;
use crate::hub::settings::Flush;
use crate::hub::stream::Stream;
use crate::metrics;

/// The most that events of one batch weigh, unless a single one has more: like all that is joined, a batch whose sending has
/// begun can no longer be dropped. What more is gathered goes before its time.
pub const MAX_BATCH_BYTES: usize = 64 << 10;

/// Connections that share a pattern of a log, and the form of its events.
pub struct Group {
    pub log: LogId,
    pub pattern: Pattern,
    pub form: Form,
    /// The kinds that the dialect has no word for: nobody here is told of them.
    untold: &'static [&'static str],
    pub members: Vec<Member>,
    /// Events of this turn, or those that are gathered, in order.
    pub pending: Vec<Arc<Event>>,
    /// What is pending weighs this.
    weight: usize,
    /// When it is to be delivered, where that is not in this turn.
    due: Option<Instant>,
    /// The stream's events may be gathered.
    is_gathered: bool,
    pub deliveries: metrics::Deliveries,
}

impl Group {
    /// The event as the group's members get it.
    pub fn frame(&self, event: &Event, deflation: Deflation) -> Bytes {
        encoding::event(event, &self.form, deflation)
    }

    /// What is pending, each event once for all members.
    pub fn frames(&self, deflation: Deflation) -> Vec<Bytes> {
        self.pending.iter().map(|event| self.frame(event, deflation)).collect()
    }

    /// What is pending above a number.
    pub fn newer_than(&self, start: u64) -> &[Arc<Event>] {
        &self.pending[self.pending.partition_point(|event| event.seq <= start)..]
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub connection: usize,
    /// Only events with higher numbers are for this member.
    pub start: u64,
}

/// The log that a pattern belongs to, by all of its names.
pub struct Home<'a> {
    pub log: LogId,
    pub stream: &'a Arc<Stream>,
    pub audience: &'a str,
}

/// One log that the shard has subscribers for.
pub struct Routes {
    pub stream: Arc<Stream>,
    pub audience: Arc<str>,
    exact: HashMap<Arc<str>, Vec<usize>>,
    others: Vec<usize>,
    groups: usize,
}

pub struct Groups {
    groups: Slabs<Group>,
    logs: HashMap<LogId, Routes>,
    due: Due,
}

/// The groups that have something pending, each once.
struct Due {
    now: Vec<usize>,
    later: BTreeSet<(Instant, usize)>,
    /// Of streams that say nothing else.
    flush: Flush,
    cadence: Cadence,
    /// Gathered events have gone since the last rest.
    is_spent: bool,
    /// See `Groups::copied`.
    copied: usize,
}

impl Groups {
    /// No groups; events of a stream that says nothing about it are gathered like this.
    pub fn new(flush: Flush) -> Self {
        let (now, later) = (Vec::new(), BTreeSet::new());
        let due = Due { now, later, flush, cadence: Cadence::default(), is_spent: false, copied: 0 };
        Self { groups: Slabs::default(), logs: HashMap::new(), due }
    }

    /// From here on events are gathered like this.
    pub fn set_flush(&mut self, flush: Flush) {
        self.due.flush = flush;
    }

    /// A turn that began at this time is over: what may be gathered waits for the time that it asks for.
    pub fn rest(&mut self, began: Instant) {
        if std::mem::take(&mut self.due.is_spent) {
            self.due.cadence.delivered(began, began.elapsed());
        }
    }

    pub fn log(&self, log: LogId) -> Option<&Routes> {
        self.logs.get(&log)
    }

    pub fn logs(&self) -> impl Iterator<Item = (LogId, &Routes)> {
        self.logs.iter().map(|(log, routes)| (*log, routes))
    }

    pub fn get(&self, group: usize) -> Option<&Group> {
        self.groups.get(group)
    }

    pub fn get_mut(&mut self, group: usize) -> Option<&mut Group> {
        self.groups.get_mut(group)
    }

    /// All groups of a log.
    pub fn of_log(&self, log: LogId) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(_, group)| group).filter(move |group| group.log == log)
    }

    /// Gives the member a seat and returns the group and the seat's number.
    pub fn join(&mut self, home: &Home<'_>, pattern: &Pattern, form: &Form, member: Member) -> (usize, usize) {
        let known = self.logs.entry(home.log).or_insert_with(|| Routes::new(home));
        let candidates = match pattern.exact() {
            Some(topic) => known.exact.entry(topic.clone()).or_default(),
            None => &mut known.others,
        };
        let fits =
            |id: &&usize| self.groups.get(**id).is_some_and(|group| group.form == *form && group.pattern == *pattern);
        let untold = form.voice.dialect.untold(home.stream.settings().view.as_deref());
        let id = match candidates.iter().find(fits) {
            Some(id) => *id,
            None => {
                let deliveries = metrics::Deliveries::new(home.stream.name(), form.voice.dialect.label());
                let group = Group {
                    log: home.log,
                    pattern: pattern.clone(),
                    form: form.clone(),
                    untold,
                    members: Vec::new(),
                    pending: Vec::new(),
                    weight: 0,
                    due: None,
                    is_gathered: false,
                    deliveries,
                };
                let id = self.groups.insert(group);
                candidates.push(id);
                known.groups += 1;
                id
            }
        };
        let group = &mut self.groups[id];
        group.untold = untold; // a reload may have given the stream another view
        group.members.push(member);
        (id, group.members.len() - 1)
    }

    /// Frees a seat. The member that moved into it, if any, is returned.
    pub fn leave(&mut self, group: usize, seat: usize) -> Option<Member> {
        let members = &mut self.groups.get_mut(group)?.members;
        members.swap_remove(seat);
        let moved = members.get(seat).copied();
        if members.is_empty() {
            self.remove(group);
        }
        moved
    }

    /// Puts the event before every group that it is for.
    pub fn route(&mut self, event: &Arc<Event>, now: Instant) {
        let Some(routes) = self.logs.get(&event.log) else { return };
        let stream = &routes.stream;
        let exact = routes.exact.get(&event.topic);
        if event.is_root() {
            for id in routes.exact.values().flatten().chain(&routes.others) {
                self.due.pend((&mut self.groups[*id], *id), stream, event, now);
            }
            return;
        }
        for id in exact.into_iter().flatten() {
            self.due.pend((&mut self.groups[*id], *id), stream, event, now);
        }
        for id in &routes.others {
            if self.groups[*id].pattern.matches(&event.topic) {
                self.due.pend((&mut self.groups[*id], *id), stream, event, now);
            }
        }
    }

    /// Bytes of which those who share none get copies of their own, by what has come since these were last offered.
    pub fn copied(&self) -> usize {
        self.due.copied
    }

    pub fn copies_were_offered(&mut self) {
        self.due.copied = 0;
    }

    /// The groups that have something to deliver now, each once.
    pub fn take_due(&mut self, now: Instant) -> Vec<usize> {
        while let Some((due, id)) = self.due.later.first().copied().filter(|(due, _)| *due <= now) {
            self.due.later.remove(&(due, id));
            self.groups[id].due = None;
            self.due.now.push(id);
        }
        std::mem::take(&mut self.due.now)
    }

    /// When the next batch is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.later.first().map(|(due, _)| *due)
    }

    /// Gives the list back so that its memory serves the next turn.
    pub fn done(&mut self, mut due: Vec<usize>) {
        for id in due.drain(..) {
            if let Some(group) = self.groups.get_mut(id) {
                self.due.is_spent |= group.is_gathered;
                group.pending.clear();
                group.weight = 0;
            }
        }
        self.due.now = due;
    }

    fn remove(&mut self, id: usize) {
        let mut group = self.groups.remove(id);
        self.due.now.retain(|due| *due != id);
        self.due.forget(&mut group, id);
        let Some(routes) = self.logs.get_mut(&group.log) else { return };
        match group.pattern.exact() {
            Some(topic) => {
                if let Some(ids) = routes.exact.get_mut(topic) {
                    ids.retain(|known| *known != id);
                    if ids.is_empty() {
                        routes.exact.remove(topic);
                    }
                }
            }
            None => routes.others.retain(|known| *known != id),
        }
        routes.groups -= 1;
        if routes.groups == 0 {
            self.logs.remove(&group.log);
        }
    }
}

impl Routes {
    fn new(home: &Home<'_>) -> Self {
        Self {
            stream: home.stream.clone(),
            audience: home.audience.into(),
            exact: HashMap::new(),
            others: Vec::new(),
            groups: 0,
        }
    }
}

impl Due {
    fn pend(&mut self, (group, id): (&mut Group, usize), stream: &Stream, event: &Arc<Event>, now: Instant) {
        if group.untold.contains(&&*event.kind) {
            return group.deliveries.untold(group.members.iter().filter(|member| member.start < event.seq).count());
        }
        let (is_first, was_full) = (group.pending.is_empty(), group.weight >= MAX_BATCH_BYTES);
        group.pending.push(event.clone());
        group.weight += event.weight();
        if !group.form.voice.dialect.is_framed() {
            self.copied += group.members.len() * event.weight();
        }
        if is_first {
            group.due = self.when(group, stream, now);
            match group.due {
                None => return self.now.push(id),
                Some(due) => _ = self.later.insert((due, id)),
            }
        }
        if group.due.is_some() && !was_full && group.weight >= MAX_BATCH_BYTES {
            self.forget(group, id);
            self.now.push(id);
        }
    }

    /// When what comes now for the group is due, if that is not in this turn.
    fn when(&self, group: &mut Group, stream: &Stream, now: Instant) -> Option<Instant> {
        match group.form.batch {
            Some(interval) => Some(now + interval),
            None => {
                let flush = stream.flush().unwrap_or(self.flush);
                group.is_gathered = flush != Flush::Every(Duration::ZERO);
                self.cadence.due(flush, now)
            }
        }
    }

    /// Nothing of the group is due later.
    fn forget(&mut self, group: &mut Group, id: usize) {
        if let Some(due) = group.due.take() {
            self.later.remove(&(due, id));
        }
    }
}
