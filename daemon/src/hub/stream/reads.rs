//! What is read of a stream without subscribing to it: its records, its history page by page, and who is subscribed.

use std::sync::Arc;
use std::time::Instant;

use super::{Inner, Stream};
use crate::event::{Event, Position};
use crate::hub::Refused;
use crate::hub::inputs::Standing;
use crate::hub::log::Log;
use crate::hub::pattern::Pattern;
use crate::hub::records::Snapshot;
use crate::hub::settings::Source;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Only what clients may see at this moment.
    Client,
    /// Every log of every stream; to subscribe to, what is no user's own.
    Operator,
}

/// The log that is read, and who reads it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub reader: Reader,
    pub audience: &'a str,
}

/// How much of a history is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub events: usize,
    /// Of payloads; one event is given whatever it weighs.
    pub bytes: usize,
}

/// Some events of a history, oldest first.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Arc<Event>>,
    /// Everything up to here that the patterns name is in this page or in one before.
    pub position: Position,
    /// There are events behind `position`.
    pub more: bool,
}

/// Why there are no events to show behind a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Closed,
    /// The position belongs to another life of the stream.
    OtherEpoch(Position),
    /// Something behind the position is no longer kept.
    Gone(Position),
    /// The stream has not come so far.
    Future(Position),
}

/// What there is of one log.
#[derive(Clone, Debug)]
pub struct Outline {
    pub position: Position,
    pub source: Source,
    pub private: bool,
    pub topics: usize,
    pub records: usize,
    pub subscriptions: u64,
    pub history_events: usize,
    pub history_bytes: usize,
    /// The number of the oldest event that is kept.
    pub oldest: Option<u64>,
}

impl Stream {
    /// The records that these patterns name, as of the position.
    pub fn show(&self, sight: &Sight<'_>, patterns: &[Pattern]) -> Result<(Position, Snapshot), Refused> {
        let mut inner = self.lock();
        let declared = inner.kinds.collections();
        inner.read(sight, self, |log| {
            let position = Position { epoch: self.epoch.clone(), seq: log.seq() };
            (position, log.records().snapshot(patterns).declaring(declared))
        })
    }

    /// The next events that these patterns name: behind a position, or from the oldest one that is kept.
    pub fn page(
        &self,
        sight: &Sight<'_>,
        patterns: &[Pattern],
        since: Option<&Position>,
        share: Share,
    ) -> Result<Page, Unreachable> {
        let mut inner = self.lock();
        let found = inner.read(sight, self, |log| {
            let newest = Position { epoch: self.epoch.clone(), seq: log.seq() };
            let reach = match since {
                Some(since) if since.epoch != self.epoch => return Err(Unreachable::OtherEpoch(newest)),
                Some(since) if since.seq > newest.seq => return Err(Unreachable::Future(newest)),
                Some(since) if !log.reaches_back_to(patterns, since.seq) => return Err(Unreachable::Gone(newest)),
                since => since.map_or(0, |since| since.seq),
            };
            let (events, more) = log.some_of(patterns, reach, share);
            let last = events.last().filter(|_| more).map_or(newest.seq, |last| last.seq);
            Ok(Page { events, position: Position { seq: last, ..newest }, more })
        });
        found.unwrap_or(Err(Unreachable::Closed))
    }

    pub fn outline(&self, sight: &Sight<'_>) -> Result<Outline, Refused> {
        let mut inner = self.lock();
        let (source, private) = (inner.source.clone(), inner.settings.private);
        inner.read(sight, self, |log| Outline {
            position: Position { epoch: self.epoch.clone(), seq: log.seq() },
            source,
            private,
            topics: log.topic_count(),
            records: log.records().len(),
            subscriptions: log.targets.subscriptions(),
            history_events: log.history().len(),
            history_bytes: log.history().bytes(),
            oldest: log.history().oldest(),
        })
    }

    /// The topics of a log, in no order.
    pub fn topics(&self, sight: &Sight<'_>) -> Result<Vec<Arc<str>>, Refused> {
        self.lock().read(sight, self, |log| log.topics().cloned().collect())
    }

    /// Whose logs there are, in no order; that of everybody is called "".
    pub fn audiences(&self) -> Vec<Arc<str>> {
        self.lock().logs.keys().cloned().collect()
    }

    /// How many subscriptions each pattern has, in no order; of a private stream those of all audiences together.
    pub fn subscribers(&self) -> Vec<(Pattern, u64)> {
        let inner = self.lock();
        inner.interest.patterns().map(|pattern| (pattern.clone(), inner.interest.of(&pattern))).collect()
    }

    /// The broadcasters that listen, and how far behind they are.
    pub fn listeners(&self) -> Vec<Standing> {
        self.lock().inputs.standings()
    }
}

impl Inner {
    /// Reads a log as it is now. An audience that has none yet has nothing to show, and gets none by being asked for.
    fn read<R>(&mut self, sight: &Sight<'_>, stream: &Stream, read: impl FnOnce(&Log) -> R) -> Result<R, Refused> {
        let is_open = match sight.reader {
            Reader::Client => self.is_open(sight.audience, sight.reader),
            Reader::Operator => self.source != Source::Removed,
        };
        if !is_open {
            return Err(Refused::Removed);
        }
        let limits = self.settings.limits;
        match self.logs.get_mut(sight.audience) {
            Some(log) => {
                log.evict(&limits, Instant::now());
                Ok(read(log))
            }
            None => Ok(read(&Log::new(stream.name.clone(), sight.audience.into(), &stream.common))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Draft;
    use crate::hub::Hub;
    use crate::hub::settings::Settings;
    use crate::hub::signal::Signal;

    const CLIENT: Sight<'static> = Sight { reader: Reader::Client, audience: "" };
    const OPERATOR: Sight<'static> = Sight { reader: Reader::Operator, audience: "" };

    fn stream(settings: Settings, events: usize) -> Arc<Stream> {
        let stream = Hub::new("e1").declare("ticks", settings);
        (0..events).for_each(|_| _ = stream.publish(&draft(""), None).unwrap());
        stream
    }

    fn draft(audience: &str) -> Draft<'_> {
        Draft { kind: "t", audience, payload: b"0123456789", ..Draft::default() }
    }

    /// The numbers of a page and whether there are more.
    fn page(stream: &Stream, since: u64, events: usize, bytes: usize) -> (Vec<u64>, bool) {
        let since = Position { epoch: "e1".into(), seq: since };
        let found = stream.page(&CLIENT, &[Pattern::whole("ticks")], Some(&since), Share { events, bytes });
        let found = found.unwrap();
        (found.events.iter().map(|event| event.seq).collect(), found.more)
    }

    #[test]
    fn a_page_is_bounded_in_events_and_bytes_and_never_empty_while_there_are_more() {
        let stream = stream(Settings::default(), 5);
        assert_eq!(page(&stream, 0, 5, 1000), (vec![1, 2, 3, 4, 5], false));
        assert_eq!(page(&stream, 0, 4, 1000), (vec![1, 2, 3, 4], true));
        assert_eq!(page(&stream, 0, 5, 50), (vec![1, 2, 3, 4, 5], false));
        assert_eq!(page(&stream, 0, 5, 49), (vec![1, 2, 3, 4], true));
        assert_eq!(page(&stream, 3, 5, 1), (vec![4], true));
        assert_eq!(page(&stream, 5, 5, 1), (vec![], false));
    }

    #[test]
    fn clients_read_what_is_open_to_them_at_this_moment() {
        let everything = [Pattern::whole("ticks")];
        let hidden = stream(Settings { visible: false, ..Settings::default() }, 1);
        assert_eq!(hidden.show(&CLIENT, &everything).err(), Some(Refused::Removed));
        assert!(hidden.show(&OPERATOR, &everything).is_ok());
        let private = stream(Settings { private: true, ..Settings::default() }, 1);
        let share = Share { events: 1, bytes: 1 };
        assert_eq!(private.page(&CLIENT, &everything, None, share).err(), Some(Unreachable::Closed));
        assert_eq!(private.topics(&CLIENT).err(), Some(Refused::Removed));
        assert_eq!(private.outline(&CLIENT).err(), Some(Refused::Removed));
        private.set_source(Source::Removed);
        assert_eq!(private.outline(&OPERATOR).err(), Some(Refused::Removed));
    }

    #[test]
    fn asking_for_a_log_makes_none() {
        let private = stream(Settings { private: true, ..Settings::default() }, 0);
        private.publish(&draft("u1"), None).unwrap();
        let events = |audience: &str| private.outline(&Sight { audience, ..CLIENT }).unwrap().history_events;
        assert_eq!((events("u1"), events("u"), events("u10")), (1, 0, 0));
        let logs = private.lock().logs.len();
        assert_eq!(logs, 2, "nobody's, and that of u1");
    }

    #[test]
    fn listeners_are_told_by_name_with_what_waits_and_what_is_not_saved() {
        let stream = stream(Settings::default(), 0);
        let listener = stream.listen(Arc::new(Signal::of("counter")), None);
        (0..4).for_each(|_| _ = stream.publish(&draft(""), None).unwrap());
        stream.read_inputs(listener, 3);
        stream.saved_inputs(listener, 1);
        assert_eq!(stream.listeners(), [Standing { name: "counter".into(), waiting: 1, unsaved: 3 }]);
    }
}
