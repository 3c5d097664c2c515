//! Who gets what in a shard: one group per pattern and voice, so that the frames of a turn are joined once for all of
//! its members.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;

use super::encoding;
use crate::dialect::Voice;
use crate::event::{Event, LogId};
use crate::hub::pattern::Pattern;
use crate::hub::stream::Stream;
use crate::metrics;

/// Connections that share a pattern of a log, and the words for its events.
pub struct Group {
    pub log: LogId,
    pub pattern: Pattern,
    pub voice: Voice,
    pub members: Vec<Member>,
    /// Events of this turn, in order.
    pub pending: Vec<Arc<Event>>,
    pub deliveries: metrics::Deliveries,
}

impl Group {
    /// The event as the group's members get it.
    pub fn frame(&self, event: &Event) -> Bytes {
        encoding::event(event, &self.voice)
    }

    /// What is pending, each event once for all members.
    pub fn frames(&self) -> Vec<Bytes> {
        self.pending.iter().map(|event| self.frame(event)).collect()
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

#[derive(Default)]
pub struct Groups {
    groups: Slab<Group>,
    logs: HashMap<LogId, Routes>,
    dirty: Vec<usize>,
}

impl Groups {
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
    pub fn join(&mut self, home: &Home<'_>, pattern: &Pattern, voice: &Voice, member: Member) -> (usize, usize) {
        let known = self.logs.entry(home.log).or_insert_with(|| Routes::new(home));
        let candidates = match pattern.exact() {
            Some(topic) => known.exact.entry(topic.clone()).or_default(),
            None => &mut known.others,
        };
        let fits =
            |id: &&usize| self.groups.get(**id).is_some_and(|group| group.voice == *voice && group.pattern == *pattern);
        let id = match candidates.iter().find(fits) {
            Some(id) => *id,
            None => {
                let deliveries = metrics::Deliveries::new(home.stream.name(), voice.dialect.name());
                let group = Group {
                    log: home.log,
                    pattern: pattern.clone(),
                    voice: voice.clone(),
                    members: Vec::new(),
                    pending: Vec::new(),
                    deliveries,
                };
                let id = self.groups.insert(group);
                candidates.push(id);
                known.groups += 1;
                id
            }
        };
        let members = &mut self.groups[id].members;
        members.push(member);
        (id, members.len() - 1)
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
    pub fn route(&mut self, event: &Arc<Event>) {
        let Some(routes) = self.logs.get(&event.log) else { return };
        let exact = routes.exact.get(&event.topic);
        if event.is_root() {
            for id in routes.exact.values().flatten().chain(&routes.others) {
                pend(&mut self.groups[*id], *id, event, &mut self.dirty);
            }
            return;
        }
        for id in exact.into_iter().flatten() {
            pend(&mut self.groups[*id], *id, event, &mut self.dirty);
        }
        for id in &routes.others {
            if self.groups[*id].pattern.matches(&event.topic) {
                pend(&mut self.groups[*id], *id, event, &mut self.dirty);
            }
        }
    }

    /// The groups that have something pending, each once.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives the list back so that its memory serves the next turn.
    pub fn done(&mut self, mut dirty: Vec<usize>) {
        for id in dirty.drain(..) {
            if let Some(group) = self.groups.get_mut(id) {
                group.pending.clear();
            }
        }
        self.dirty = dirty;
    }

    fn remove(&mut self, id: usize) {
        let group = self.groups.remove(id);
        self.dirty.retain(|dirty| *dirty != id);
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

fn pend(group: &mut Group, id: usize, event: &Arc<Event>, dirty: &mut Vec<usize>) {
    if group.pending.is_empty() {
        dirty.push(id);
    }
    group.pending.push(event.clone());
}
