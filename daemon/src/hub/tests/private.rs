//! Private streams under random steps: each audience hears exactly what is its own, in numbers of its own.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

/// Names that begin alike, and nobody: none of them may be taken for another.
const AUDIENCES: [&str; 5] = ["user-1", "user-10", "user-100", "User-1", "user-1 "];
const PARTS: [&str; 4] = ["", "A", "A:1", "B:1"];
const HISTORY: usize = 8;
/// Runs that are made every time, and as many with new seeds.
const RUNS: u64 = 100;
const STEPS: usize = 2000;

/// What one audience should have: the texts of its events, by number from 1 on, and its newest text of each record.
#[derive(Default)]
struct Own {
    texts: Vec<String>,
    records: BTreeMap<(String, &'static str), String>,
    /// The number behind which it is subscribed.
    since: Option<u64>,
}

struct World {
    rng: Rng,
    stream: Arc<Stream>,
    recorders: Vec<Arc<Recorder>>,
    own: Vec<Own>,
    published: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let settings = Settings { private: true, broadcast: ["news".to_owned()].into(), ..small_history(HISTORY) };
        let recorder = |id| Arc::new(Recorder { id: id as u64, ..Recorder::default() });
        Self {
            rng: Rng::with_seed(seed),
            stream: stream(settings),
            recorders: (0..AUDIENCES.len()).map(recorder).collect(),
            own: AUDIENCES.iter().map(|_| Own::default()).collect(),
            published: 0,
        }
    }

    fn step(&mut self) {
        let who = self.rng.usize(..AUDIENCES.len());
        match self.rng.u32(..10) {
            0 => self.subscribe(who),
            1 => self.leave(who),
            2 => self.look(who),
            _ => self.publish(who),
        }
    }

    /// To one audience, to nobody, or to everybody who is connected.
    fn publish(&mut self, who: usize) {
        self.published += 1;
        let (part, key) = (PARTS[self.rng.usize(..PARTS.len())], ["", "k", "l"][self.rng.usize(..3)]);
        let text = format!("{{\"n\":{}}}", self.published);
        let addressed = |audience, kind| Draft { audience, kind, ..draft(part, key, &text) };
        let draft = match self.rng.u32(..6) {
            0 => addressed("", "bar"),
            1 => addressed("", "news"),
            _ => addressed(AUDIENCES[who], "bar"),
        };
        let is_meant = |index: usize, own: &Own| match draft.audience {
            "" => draft.kind == "news" && own.since.is_some(),
            audience => audience == AUDIENCES[index],
        };
        let topic = if part.is_empty() { "bars".to_owned() } else { format!("bars:{part}") };
        for (index, own) in self.own.iter_mut().enumerate() {
            if is_meant(index, own) {
                own.texts.push(text.clone());
                if !key.is_empty() {
                    own.records.insert((topic.clone(), key), text.clone());
                }
            }
        }
        self.stream.publish(&draft, None).unwrap();
        self.check();
    }

    fn subscribe(&mut self, who: usize) {
        if self.own[who].since.is_some() {
            return;
        }
        let outlet: Arc<dyn Outlet> = self.recorders[who].clone();
        let subscribed = self.stream.subscribe(&self.wish(who, None), &outlet).unwrap();
        let own = &mut self.own[who];
        assert_eq!(subscribed.position.seq, own.texts.len() as u64, "its numbers are its own");
        own.since = Some(subscribed.position.seq);
        self.recorders[who].events.lock().unwrap().clear();
    }

    fn leave(&mut self, who: usize) {
        if self.own[who].since.take().is_some() {
            self.stream.unsubscribe(AUDIENCES[who], &[pattern("bars")], who as u64);
        }
    }

    /// Its snapshot, and what it missed behind a number, are its own and nobody else's.
    fn look(&mut self, who: usize) {
        let behind = self.rng.usize(..=self.own[who].texts.len()) as u64;
        let (snapshot, resumed) = (self.answer(who, None), self.answer(who, Some(behind)));
        let own = &self.own[who];
        let shown: Vec<String> = own.records.values().cloned().collect();
        assert_eq!(snapshot, Err(shown.join(",")));
        let missed = &own.texts[behind as usize..];
        if missed.len() <= HISTORY {
            assert_eq!(resumed, Ok(missed.to_vec()), "{} behind {behind}", AUDIENCES[who]);
        } else {
            assert!(resumed.is_err(), "it left the history");
        }
    }

    fn answer(&self, who: usize, behind: Option<u64>) -> Result<Vec<String>, String> {
        let position = behind.map(since);
        match self.stream.answer(&self.wish(who, position.as_ref())).unwrap().answer {
            Answer::Recovered(events) => Ok(events.iter().map(|event| text_of(event)).collect()),
            Answer::Snapshot(snapshot) => Err(String::from_utf8(snapshot.collections().concat_records()).unwrap()),
        }
    }

    fn wish<'a>(&self, who: usize, since: Option<&'a Position>) -> Wish<'a> {
        static WHOLE: std::sync::LazyLock<[Pattern; 1]> = std::sync::LazyLock::new(|| [pattern("bars")]);
        Wish { patterns: &*WHOLE, audience: AUDIENCES[who], reader: Reader::Client, since }
    }

    /// Everybody who is subscribed has heard all of its own since then, and nothing else.
    fn check(&self) {
        for (who, own) in self.own.iter().enumerate() {
            let Some(since) = own.since else { continue };
            let events = self.recorders[who].events.lock().unwrap();
            let heard = events.iter().map(|event| (event.seq, text_of(event)));
            let due = (since + 1..).zip(own.texts[since as usize..].iter().cloned());
            assert!(heard.eq(due), "{} since {since}", AUDIENCES[who]);
            assert!(events.iter().all(|event| *event.audience == *AUDIENCES[who]));
        }
    }
}

fn text_of(event: &Event) -> String {
    String::from_utf8(event.payload.to_vec()).unwrap()
}

#[test]
fn each_audience_hears_what_is_its_own_and_nothing_else() {
    let new = fastrand::u64(..);
    let given = std::env::var("BROADCASTD_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = (0..RUNS).chain((0..RUNS).map(|number| new.wrapping_add(number)));
    for seed in given.map_or_else(|| seeds.collect(), |seed| vec![seed]) {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
        });
        assert!(run.is_ok(), "to repeat this run: BROADCASTD_TEST_SEED={seed}");
    }
}
