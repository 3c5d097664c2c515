//! Snapshots as connections get them: put into bytes once for all who are shown the same, however many ask at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::encoding::Deflation;
use super::poll::Backend;
use super::unasked::Show;
use super::{Shard, TICK};
use crate::dialect::{About, Cause, Dialect, Reply};
use crate::event::{LogId, Position};
use crate::hub::records::Snapshot;
use crate::metrics;

/// How many snapshots are kept at most: more than a page of any kind has topics, and each keeps records alive that newer
/// ones have replaced.
const MAX_KEPT: usize = 1024;
/// The most that they weigh together, unless a single one has more: those who come at once share what they are shown, and
/// the largest are the ones that nobody wants to make twice.
const MAX_KEPT_BYTES: usize = 32 << 20;
/// So long one is kept that nobody asks for: a crowd that comes at once comes in waves, because whom the kernel did not let in
/// tries again after one second, then after two more.
const LINGERS: Duration = Duration::from_secs(4);
/// The same, as looks at what is kept.
const TICKS: u128 = LINGERS.as_millis() / TICK.as_millis();

/// What the bytes of a snapshot depend on, beside the records, their number and the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Of a private stream each user has a log of its own: what one is shown is never another's.
    log: LogId,
    dialect: Dialect,
    deflation: Option<Deflation>,
    /// What the client calls the stream, and its topic where the dialect repeats the client's own spelling.
    stream: Box<str>,
    spelled: Option<Arc<str>>,
    topics: Box<[Arc<str>]>,
    session_id: Option<Box<str>>,
    cause: Cause,
}

/// What a snapshot shows.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub log: LogId,
    pub stream: &'a str,
    pub position: &'a Position,
    pub records: &'a Snapshot,
}

/// The snapshots of the last moments: each goes when nobody has asked for it for a while.
#[derive(Debug, Default)]
pub struct Snapshots {
    kept: HashMap<Sight, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    position: Position,
    /// Held, so that no other records can come to be where these are.
    records: Snapshot,
    frame: Bytes,
    /// After so many ticks it goes, unless somebody asks for it.
    ticks: u128,
}

impl Sight {
    pub fn new(
        log: LogId,
        about: &About<'_>,
        cause: Cause,
        (dialect, deflation): (Dialect, Option<Deflation>),
    ) -> Self {
        Self {
            log,
            dialect,
            deflation,
            stream: about.stream.into(),
            spelled: about.target.and_then(|target| dialect.spelled_topic(target)),
            topics: about.topics.into(),
            session_id: about.session_id.map(Into::into),
            cause,
        }
    }
}

impl Snapshots {
    /// The bytes of a snapshot, made only where they are not there.
    pub fn frame(&mut self, sight: Sight, scene: &Scene<'_>, make: impl FnOnce() -> Bytes) -> Bytes {
        if let Some(kept) = self.kept.get_mut(&sight)
            && kept.position == *scene.position
            && kept.records.is(scene.records)
        {
            kept.ticks = TICKS;
            return kept.frame.clone();
        }
        let frame = make();
        self.forget(&sight);
        if self.kept.len() == MAX_KEPT || self.bytes + frame.len() > MAX_KEPT_BYTES {
            self.clear();
        }
        self.bytes += frame.len();
        let (position, records) = (scene.position.clone(), scene.records.clone());
        self.kept.insert(sight, Kept { position, records, frame: frame.clone(), ticks: TICKS });
        frame
    }

    /// A tick: lets go of what nobody has asked for in the last `TICKS`.
    pub fn sweep(&mut self) {
        self.kept.retain(|_, kept| {
            kept.ticks -= 1;
            kept.ticks > 0
        });
        self.bytes = self.kept.values().map(|kept| kept.frame.len()).sum();
    }

    pub fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    fn forget(&mut self, sight: &Sight) {
        if let Some(gone) = self.kept.remove(sight) {
            self.bytes -= gone.frame.len();
        }
    }
}

impl<B: Backend> Shard<B> {
    /// Shows a connection records in its dialect.
    pub(super) fn show(&mut self, token: usize, about: &About<'_>, scene: &Scene<'_>, cause: Cause) {
        let connection = &mut self.connections[token];
        let sight = Sight::new(scene.log, about, cause, (connection.dialect(), connection.deflation));
        let frame = self.snapshots.frame(sight, scene, || {
            metrics::snapshot_made(scene.stream);
            let shown = &Show(scene.records);
            connection.encode(&Reply::FullUpdate { about: *about, position: scene.position, shown, cause })
        });
        connection.show(frame, scene.log, scene.stream, scene.position.seq);
        self.dirty.mark(connection, token);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::dialect::Target;
    use crate::dialect::fastws::Revision;
    use crate::hub::pattern::Pattern;
    use crate::hub::records::{Record, Records};

    const DIALECTS: [Dialect; 7] = [
        Dialect::Native,
        Dialect::Sse,
        Dialect::Streams,
        Dialect::Spc,
        Dialect::Fastws(Revision::A),
        Dialect::Fastws(Revision::C),
        Dialect::User,
    ];

    fn at(seq: u64) -> Position {
        Position { epoch: "epoch".into(), seq }
    }

    fn records(json: &'static str) -> Snapshot {
        let mut records = Records::default();
        let record = Record { kind: "bar".into(), unix_ns: 0, json: Bytes::from_static(json.as_bytes()) };
        records.put(&"bars:A".into(), &"bars".into(), "k", record);
        records.snapshot(&[Pattern::whole("bars")])
    }

    /// What somebody is shown of a log, beside the records.
    fn sight(log: u64) -> Sight {
        let about = About { stream: "bars", topics: &["bars".into()], target: None, session_id: None, id: &None };
        Sight::new(LogId(log), &about, Cause::Asked, (Dialect::Native, None))
    }

    /// Whether the frame of so many bytes had to be made.
    fn is_made(snapshots: &mut Snapshots, sight: &Sight, (seq, records): (u64, &Snapshot), size: usize) -> bool {
        let mut is_made = false;
        let scene = Scene { log: sight.log, stream: "bars", position: &at(seq), records };
        let frame = snapshots.frame(sight.clone(), &scene, || {
            is_made = true;
            vec![0; size].into()
        });
        assert_eq!(frame.len(), size);
        is_made
    }

    #[test]
    fn the_same_is_made_once_and_anew_when_number_or_records_are_others() {
        let (mut snapshots, shown) = (Snapshots::default(), records("1"));
        let (again, equal) = (shown.clone(), records("1"));
        let made = |snapshots: &mut Snapshots, seq, shown| is_made(snapshots, &sight(0), (seq, shown), 9);
        assert!(made(&mut snapshots, 7, &shown) && !made(&mut snapshots, 7, &again));
        assert!(made(&mut snapshots, 8, &shown) && !made(&mut snapshots, 8, &shown));
        assert!(made(&mut snapshots, 8, &equal), "the records of a log that forgot may have an old number");
        let declaring = equal.clone().declaring(vec!["more".into()]);
        assert!(made(&mut snapshots, 8, &declaring) && !made(&mut snapshots, 8, &declaring));
        assert_eq!((snapshots.kept.len(), snapshots.bytes), (1, 9), "what was replaced is gone");
    }

    #[test]
    fn what_nobody_asked_for_in_four_seconds_goes() {
        let (mut snapshots, shown) = (Snapshots::default(), records("1"));
        let made = |snapshots: &mut Snapshots, log| is_made(snapshots, &sight(log), (7, &shown), 9);
        assert_eq!(TICK * u32::try_from(TICKS).unwrap(), LINGERS);
        assert!(made(&mut snapshots, 1) && made(&mut snapshots, 2));
        (1..TICKS).for_each(|_| snapshots.sweep());
        assert!(!made(&mut snapshots, 1));
        snapshots.sweep();
        assert_eq!((snapshots.kept.len(), snapshots.bytes), (1, 9));
        assert!(!made(&mut snapshots, 1) && made(&mut snapshots, 2));
        (0..TICKS).for_each(|_| snapshots.sweep());
        assert_eq!((snapshots.kept.len(), snapshots.bytes), (0, 0));
    }

    #[test]
    fn so_many_are_kept_and_so_many_bytes_and_one_more_begins_anew() {
        let (mut snapshots, shown) = (Snapshots::default(), records("1"));
        let made = |snapshots: &mut Snapshots, log, size| is_made(snapshots, &sight(log), (7, &shown), size);
        (0..MAX_KEPT as u64).for_each(|log| assert!(made(&mut snapshots, log, 9)));
        assert!(!made(&mut snapshots, 0, 9) && snapshots.kept.len() == MAX_KEPT);
        assert!(made(&mut snapshots, 5000, 9) && snapshots.kept.len() == 1);
        snapshots.clear();
        assert!(made(&mut snapshots, 0, MAX_KEPT_BYTES - 10) && made(&mut snapshots, 1, 10));
        assert!(!made(&mut snapshots, 0, MAX_KEPT_BYTES - 10) && snapshots.bytes == MAX_KEPT_BYTES);
        assert!(made(&mut snapshots, 2, 1) && snapshots.bytes == 1);
        assert!(made(&mut snapshots, 3, MAX_KEPT_BYTES + 1) && !made(&mut snapshots, 3, MAX_KEPT_BYTES + 1));
    }

    fn target(number: usize) -> Option<Target> {
        let spelled = |text: &str| Some(RawValue::from_string(text.to_owned()).unwrap());
        let params = |text: &str| {
            let params: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
            let params = params.into_iter().map(|(name, value)| (name, vec![value])).collect();
            Target::Params { stream: "bars".to_owned(), params, spelled: spelled(text) }
        };
        Some(match number {
            0 => return None,
            1 => Target::Topic("bars:A".to_owned()),
            2 => params(r#"{"symbol":"A"}"#),
            3 => params(r#"{"symbol":"A","resolution":""}"#),
            4 => params(r#"{"session_id":"s1"}"#),
            5 => params(r#"{"session_id":"s2"}"#),
            _ => Target::Parts { stream: "bars".to_owned(), parts: vec!["7".to_owned()], spelled: spelled("[7]") },
        })
    }

    proptest! {
        #[test]
        fn what_is_seen_alike_is_said_alike_in_every_dialect(
            dialect in 0..DIALECTS.len(),
            views in prop::array::uniform2((0..7usize, 0..2usize, 1..3usize, any::<bool>())),
        ) {
            let (shown, position, dialect) = (records("{\"close\":1}"), at(7), DIALECTS[dialect]);
            let [one, other] = views.map(|(number, name, count, is_asked)| {
                let (topics, target): ([Arc<str>; 2], _) = (["bars:A".into(), "bars:B".into()], target(number));
                let session_id = target.as_ref().and_then(Target::session_id);
                let stream = ["bars", "ohlc"][name];
                let about = About { stream, topics: &topics[..count], target: target.as_ref(), session_id, id: &None };
                let cause = if is_asked { Cause::Asked } else { Cause::Resync };
                let update = Reply::FullUpdate { about, position: &position, shown: &Show(&shown), cause };
                (Sight::new(LogId(1), &about, cause, (dialect, None)), dialect.reply(&update, 0))
            });
            if one.0 == other.0 {
                prop_assert_eq!(one.1, other.1);
            }
        }
    }
}
