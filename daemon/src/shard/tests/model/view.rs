//! What one client knows of one stream, and what it may be told next: every number is delivered, shown, or told as lost
//! before anything newer comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::said::{FullUpdate, Said};
use super::truth::{Entry, KINDS, Key, Life, Line, Moment, Records, covers};

/// A subscription of a client.
#[derive(Clone, Copy)]
struct Subscription {
    /// Only higher numbers come through it.
    start: u64,
    /// The client has all of its records, not only what it asked to hear again.
    is_sound: bool,
    /// The number to remember: another subscription may be ahead while what this one missed is still to come.
    position: u64,
}

/// The records of some patterns, which must be the next thing to come.
struct Announced {
    patterns: Vec<String>,
    seq: u64,
}

/// What was told as replaced by newer events: how many, from which number to which.
#[derive(Clone, Copy)]
struct Notice {
    replaced: u64,
    from: u64,
    to: u64,
}

#[derive(Default)]
pub struct View {
    /// Which life of the stream it knows.
    pub life: usize,
    subscriptions: BTreeMap<String, Subscription>,
    /// Everything up to this number is accounted for.
    horizon: u64,
    /// The missed events that must come next.
    missed: VecDeque<u64>,
    announced: Option<Announced>,
    /// Told as lost; a fresh snapshot is due before anything else with a number to remember.
    is_owed: bool,
    /// Records that were announced did not come: this has to be told first.
    is_late: bool,
    /// Did not come and was not yet told as lost.
    untold: BTreeSet<u64>,
    notices: Vec<Notice>,
    /// How many replaceable events did not come; `None` when more happened than the notices alone explain.
    replaced: Option<u64>,
    records: BTreeMap<Key, u64>,
}

impl View {
    pub fn patterns(&self) -> Vec<String> {
        self.subscriptions.keys().cloned().collect()
    }

    /// The patterns that a next connection continues with, and behind which number: those whose records the client has.
    pub fn sound_patterns(&self) -> Vec<(String, u64)> {
        let sound = self.subscriptions.iter().filter(|(_, known)| known.is_sound);
        sound.map(|(pattern, known)| (pattern.clone(), known.position)).collect()
    }

    /// What is left of it on a next connection.
    pub fn remembered(&self) -> Self {
        Self { life: self.life, records: self.records.clone(), horizon: 0, replaced: Some(0), ..Self::default() }
    }

    /// A subscription begins. `continued` are the patterns that the client remembers its position for.
    pub fn subscribed(&mut self, line: &Line, reply: &Said<'_>, asked: (&[String], Option<(usize, u64)>, &[String])) {
        let (patterns, since, continued) = asked;
        let life = line.lives.iter().position(|life| Some(life.epoch.as_str()) == reply.epoch()).unwrap();
        if life == self.life {
            self.promised_number(&line.lives[life], reply.seq.unwrap()); // also for those that it replaces
        }
        patterns.iter().for_each(|pattern| _ = self.subscriptions.remove(pattern));
        if life != self.life {
            self.begin_anew(life);
        }
        let life = &line.lives[life];
        let seq = reply.seq.unwrap();
        self.horizon = seq;
        let since = since.filter(|(life, _)| *life == self.life).map(|(_, seq)| seq);
        let could = |moment| since.is_some_and(|since| life.reaches_back(moment, patterns, since));
        let recovered = reply.recovered();
        assert!(
            life.moments(seq).iter().any(|moment| could(moment) == recovered),
            "recovered: {recovered} since {since:?} at {seq} for {patterns:?}"
        );
        if recovered {
            let is_meant = |entry: &Entry| patterns.iter().any(|pattern| covers(pattern, &entry.topic));
            let missed = life.delivered(since.unwrap(), seq).filter(|(_, entry)| is_meant(entry));
            self.missed = missed.map(|(number, _)| number).collect();
        } else {
            self.announced = Some(Announced { patterns: patterns.to_vec(), seq });
        }
        for pattern in patterns {
            let is_sound = recovered && continued.contains(pattern);
            let position = since.filter(|_| recovered).unwrap_or_default();
            self.subscriptions.insert(pattern.clone(), Subscription { start: seq, is_sound, position });
        }
    }

    /// The answer to a question for records begins.
    pub fn snapshot_announced(&mut self, line: &Line, reply: &Said<'_>, patterns: &[String]) {
        let life = line.lives.iter().position(|life| Some(life.epoch.as_str()) == reply.epoch()).unwrap();
        let seq = reply.seq.unwrap();
        if life == self.life {
            self.promised_number(&line.lives[life], seq);
        } else {
            self.begin_anew(life);
            self.horizon = seq;
        }
        self.announced = Some(Announced { patterns: patterns.to_vec(), seq });
    }

    /// Up to `floor` everything had been handed to the shard before the client asked for this.
    pub fn unsubscribed(&mut self, life: &Life, patterns: &[String], floor: u64) {
        let missing = self.missing(life, floor.max(self.horizon));
        self.untold.extend(missing);
        self.untold.extend(self.missed.drain(..));
        self.announced = None;
        self.is_late = false;
        self.replaced = None;
        for pattern in patterns {
            assert!(self.subscriptions.remove(pattern).is_some(), "unsubscribed from {pattern}, which was not there");
        }
    }

    pub fn is_subscribed_to_any(&self, patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| self.subscriptions.contains_key(pattern))
    }

    /// How many subscriptions there are when these are added.
    pub fn subscriptions_with(&self, patterns: &[String]) -> usize {
        let more = patterns.iter().filter(|pattern| !self.subscriptions.contains_key(*pattern));
        self.subscriptions.len() + more.count()
    }

    /// The stream is gone, or may no longer be read: its subscriptions have ended, after everything up to then. What was
    /// dropped while this waited is told after it, if the client has subscribed again. The records stay, for the client may
    /// have asked already to go on behind a number that it remembers.
    pub fn shut(&mut self, life: &Life) {
        assert!(!self.subscriptions.is_empty(), "told of the end of a stream without a subscription");
        let end = life.shut_at.iter().find(|end| **end >= self.horizon).copied();
        let missing = self.missing(life, end.unwrap());
        self.untold.extend(missing);
        self.untold.retain(|seq| !life.entry(*seq).is_replaceable() || !told(&self.notices, *seq));
        self.untold.extend(self.missed.drain(..));
        let ended = std::mem::take(self);
        let Self { life, horizon, untold, notices, records, .. } = ended;
        *self = Self { life, horizon, untold, notices, records, ..Self::default() };
    }

    pub fn event(&mut self, line: &Line, event: &Said<'_>) {
        let life = &line.lives[self.life];
        let seq = event.seq.unwrap();
        let entry = life.entry(seq);
        self.check_event(line, entry, event);
        if self.missed.front() == Some(&seq) {
            self.missed.pop_front();
        } else {
            assert!(seq > self.horizon, "{seq} comes again, or after {}", self.horizon);
            self.newer_number(life, seq - 1);
            let is_meant =
                |(pattern, known): &(&String, &Subscription)| known.start < seq && covers(pattern, &entry.topic);
            let through = self.subscriptions.iter().find(is_meant);
            let (_, through) = through.unwrap_or_else(|| panic!("{seq} is an event that nobody asked for"));
            assert!(!life.has_replaced(through.start, seq), "{seq} comes before the records that were replaced");
            self.horizon = seq;
        }
        let reached = self.subscriptions.iter_mut().filter(|(pattern, _)| covers(pattern, &entry.topic));
        reached.for_each(|(_, known)| known.position = seq);
        let publication = entry.publication;
        if !publication.key.is_empty() {
            let key = (entry.topic.clone(), KINDS[publication.kind].1, publication.key);
            if publication.flags.has(crate::event::Flags::DELETE) {
                self.records.remove(&key);
            } else {
                self.records.insert(key, entry.serial);
            }
        }
    }

    pub fn full_update(&mut self, line: &Line, update: &Said<'_>) {
        let life = &line.lives[self.life];
        assert_eq!(update.epoch, Some(life.epoch.as_str()));
        let seq = update.seq.unwrap();
        let topics = update.topics();
        if update.resync {
            assert_eq!(topics, self.patterns());
            if self.is_owed {
                assert_eq!(seq, self.horizon, "the fresh snapshot is of the number that was told");
                self.is_owed = false;
            } else {
                let oldest = self.subscriptions.values().map(|known| known.start).min().unwrap();
                assert!(life.has_replaced(oldest, seq), "a fresh snapshot at {seq} that nobody announced");
                self.newer_number(life, seq);
            }
        } else {
            let announced = self.announced.take().expect("records that nobody asked for");
            assert_eq!((&topics, seq), (&announced.patterns, announced.seq));
        }
        let shown = FullUpdate::read(update);
        let moments = life.moments(seq);
        let is_so = |records: &Records| shown == FullUpdate::of(records, &topics);
        assert!(moments.iter().any(|moment| is_so(&moment.records)), "at {seq} of {topics:?}: {shown:?}");
        self.take_records(&topics, &shown, moments);
        for (pattern, known) in &mut self.subscriptions {
            if topics.contains(pattern) {
                *known = Subscription { start: seq, is_sound: true, position: seq };
            }
        }
    }

    pub fn lagged(&mut self, life: &Life, (from, to): (u64, u64)) {
        assert!(from <= to && to <= life.seq(), "lagged from {from} to {to} at {}", self.horizon);
        assert!(to >= self.horizon || self.subscriptions.is_empty(), "lagged to {to} after {}", self.horizon);
        let missing = self.missing(life, to);
        self.untold.extend(missing);
        self.untold.extend(self.missed.drain(..));
        self.untold.retain(|seq| *seq < from || *seq > to);
        let lasting = self.untold.iter().filter(|seq| !life.entry(**seq).is_replaceable());
        assert_eq!(lasting.collect::<Vec<_>>(), [] as [&u64; 0], "lost, but not from {from} to {to}");
        self.announced = None;
        self.is_late = false;
        self.is_owed = !self.subscriptions.is_empty();
        self.replaced = None;
    }

    pub fn replaced(&mut self, life: &Life, notice: (u64, u64, u64)) {
        let (replaced, from, to) = notice;
        assert!(replaced > 0 && from <= to && to <= life.seq(), "{replaced} replaced from {from} to {to}");
        assert!(replaced <= to - from + 1, "{replaced} replaced from {from} to {to}");
        self.notices.push(Notice { replaced, from, to });
        self.untold.retain(|seq| *seq < from || *seq > to || !life.is_superseded(*seq));
    }

    /// Everything has been sent and time has passed: nothing may be left untold, and the records are the stream's.
    pub fn check_at_rest(&mut self, line: &Line) {
        if self.subscriptions.is_empty() {
            return;
        }
        let life = &line.lives[self.life];
        assert_eq!(self.life + 1, line.lives.len(), "still at a life that is over");
        assert!(
            self.missed.is_empty() && self.announced.is_none() && !self.is_owed,
            "something announced did not come"
        );
        self.newer_number(life, life.seq());
        self.untold.retain(|seq| !life.entry(*seq).is_replaceable() || !told(&self.notices, *seq));
        assert_eq!(self.untold, BTreeSet::new(), "never told as lost of {}", line.name);
        if let Some(replaced) = self.replaced {
            assert_eq!(self.notices.iter().map(|notice| notice.replaced).sum::<u64>(), replaced, "replaced");
        }
        let sound = self.sound_patterns();
        let is_known =
            |key: &Key| sound.iter().any(|(pattern, _)| covers(pattern, &key.0)) && !life.unseen.contains(key);
        let have: Records =
            self.records.iter().filter(|(key, _)| is_known(key)).map(|(k, s)| (k.clone(), *s)).collect();
        let should = life.records().iter().filter(|(key, _)| is_known(key)).map(|(k, s)| (k.clone(), *s)).collect();
        assert!(have == should, "the records of {sound:?} are {have:?}, not {should:?}");
    }

    fn check_event(&self, line: &Line, entry: &Entry, event: &Said<'_>) {
        let serial = event.serial();
        assert_eq!(serial, entry.serial, "another event has this number");
        let publication = entry.publication;
        assert!(entry.is_delivered, "{serial} is not to be delivered");
        assert_eq!((event.stream, event.kind), (line.name, KINDS[publication.kind].0));
        assert_eq!((event.topic, event.prev.unwrap_or(0)), (Some(&*entry.topic), entry.prev));
        assert_eq!(event.session_id.unwrap_or(""), publication.session_id);
    }

    /// Something with this number comes, and nothing up to it may be left untold, unless newer events replaced it.
    fn newer_number(&mut self, life: &Life, seq: u64) {
        assert!(!self.is_owed && !self.is_late, "{seq} comes before the fresh snapshot");
        assert!(self.missed.is_empty() && self.announced.is_none(), "{seq} comes before what was announced");
        assert!(seq >= self.horizon, "{seq} comes after {}", self.horizon);
        let missing = self.missing(life, seq);
        self.untold.extend(missing);
        let lasting = self.untold.iter().filter(|seq| !life.entry(**seq).is_replaceable());
        assert_eq!(lasting.collect::<Vec<_>>(), [] as [&u64; 0], "left out before {seq} and not told");
    }

    fn begin_anew(&mut self, life: usize) {
        assert!(self.subscriptions.is_empty(), "the stream began anew under {:?}", self.patterns());
        self.untold.retain(|seq| !told(&self.notices, *seq));
        assert_eq!(self.untold, BTreeSet::new(), "not told before the stream began anew");
        *self = Self { life, ..Self::default() };
    }

    /// A reply names this number. What was dropped before it is told later, but before anything that the client remembers.
    fn promised_number(&mut self, life: &Life, seq: u64) {
        assert!(seq >= self.horizon, "{seq} comes after {}", self.horizon);
        self.is_late |= self.announced.take().is_some();
        let missing = self.missing(life, seq);
        self.untold.extend(missing);
        self.untold.extend(self.missed.drain(..));
    }

    /// The delivered numbers from the horizon to this one that a subscription should have had; they are accounted for by now.
    fn missing(&mut self, life: &Life, up_to: u64) -> Vec<u64> {
        let is_meant = |seq: u64, entry: &Entry| {
            self.subscriptions.iter().any(|(pattern, known)| known.start < seq && covers(pattern, &entry.topic))
        };
        let events = life.delivered(self.horizon, up_to).filter(|(seq, entry)| is_meant(*seq, entry));
        let missing: Vec<u64> = events.map(|(seq, _)| seq).collect();
        self.horizon = self.horizon.max(up_to);
        if let Some(replaced) = &mut self.replaced {
            *replaced += missing.len() as u64;
        }
        missing
    }

    fn take_records(&mut self, topics: &[String], shown: &FullUpdate, moments: &[Moment]) {
        let is_shown = |topic: &str| topics.iter().any(|pattern| covers(pattern, topic));
        if !self.subscriptions.keys().any(|pattern| topics.contains(pattern)) {
            return; // an answer to a question, which changes nothing
        }
        self.records.retain(|key, _| !is_shown(&key.0));
        let moment = moments.iter().find(|moment| *shown == FullUpdate::of(&moment.records, topics));
        let records = moment.unwrap().records.iter().filter(|(key, _)| is_shown(&key.0));
        self.records.extend(records.map(|(key, serial)| (key.clone(), *serial)));
    }
}

fn told(notices: &[Notice], seq: u64) -> bool {
    notices.iter().any(|notice| notice.from <= seq && seq <= notice.to)
}
