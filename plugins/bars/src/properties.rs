//! Property tests: whatever order trades come in, the published bars keep their invariants and equal a plain sum.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::bar::{Bar, Trade};
use crate::book::Clock;
use crate::calendar::{Calendar, Texts};
use crate::feed::{Feed, Plan, Prices, Symbols};
use crate::resolution::{Resolution, Unit};
use crate::series::Rules;
use crate::tick::{Reject, Tick};
use crate::update::{Place, Update};

const LADDER: [&str; 7] = ["1S", "1", "5", "15", "60", "1D", "1W"];

fn calendar(timezone: &str, session: &str) -> Calendar {
    Calendar::new(Texts { timezone, session, holidays: "", corrections: "" }).unwrap()
}

fn calendars() -> impl Strategy<Value = Calendar> {
    prop_oneof![
        Just(calendar("UTC", "24x7")),
        Just(calendar("America/New_York", "1700-1700")),
        Just(calendar("Asia/Kolkata", "0915-1530:1234567")),
        Just(calendar("Asia/Tokyo", "0900-1130,1230-1500:1234567")),
    ]
}

fn plan(calendar: Calendar, resolutions: &[&str], close_grace: i64, allowed_lateness: i64) -> Plan {
    Plan {
        symbols: Symbols::Listed(vec!["A".into()]),
        resolutions: resolutions.iter().map(|text| text.parse().unwrap()).collect(),
        clock: Clock::Event,
        max_future: 0,
        prices: Prices::Any,
        rules: Rules { calendar, close_grace, allowed_lateness, max_fill: 0 },
    }
}

/// Trades of which many share a millisecond and some come late, near a change of the clocks in New York (a Sunday at
/// 06:00 UTC), around the epoch, or spread over days.
fn trades() -> impl Strategy<Value = Vec<Trade>> {
    let start = prop::sample::select(vec![1_541_311_200_000i64, 1_541_394_000_000, 0, -60_000]);
    let steps = prop::collection::vec((0i64..4, 0i64..30_000, -9i32..90, 0u32..5), 1..120);
    (start, steps, prop::sample::select(vec![1i64, 20, 400])).prop_map(|(start, steps, stretch)| {
        let mut now = start;
        let trade = |(kind, step, price, size): (i64, i64, i32, u32)| {
            match kind {
                0 => {}
                1 => now += step % 3,
                _ => now += step * stretch,
            }
            let late = if step % 7 == 0 { step * stretch } else { 0 };
            Trade { ts: now - late, price: f64::from(price), size: f64::from(size) }
        };
        steps.into_iter().map(trade).collect()
    })
}

fn tick(trade: Trade) -> Tick<'static> {
    Tick { symbol: "A".into(), time: trade.ts, price: trade.price, size: trade.size, id: None }
}

fn run(feed: &mut Feed, trades: &[Trade]) -> Vec<Update> {
    let mut out = Vec::new();
    for trade in trades {
        let taken = feed.tick(&tick(*trade), i64::MAX - 1, &mut out);
        assert!(matches!(taken, Ok(()) | Err(Reject::OutOfSession)), "{taken:?}");
    }
    feed.flush(&mut out);
    out
}

/// The bars of one resolution by the letter: a trade counts unless its bar is closed and can no longer be amended.
fn by_the_letter(rules: &Rules, resolution: Resolution, trades: &[Trade]) -> BTreeMap<i64, Bar> {
    let mut watermark = i64::MIN;
    let mut bars: BTreeMap<i64, Vec<Trade>> = BTreeMap::new();
    for trade in trades {
        let Some(bucket) = rules.calendar.bucket(resolution, trade.ts) else { continue };
        watermark = watermark.max(trade.ts);
        if bucket.end + rules.close_grace > watermark || bucket.end + rules.allowed_lateness >= watermark {
            bars.entry(bucket.time).or_default().push(*trade);
        }
    }
    let bar = |(time, mut trades): (i64, Vec<Trade>)| {
        trades.sort_by_key(|trade| trade.ts);
        (time, plain_bar(time, &trades))
    };
    bars.into_iter().map(bar).collect()
}

fn plain_bar(time: i64, sorted: &[Trade]) -> Bar {
    let prices = || sorted.iter().map(|trade| trade.price);
    let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
    Bar {
        time,
        open: first.price,
        high: prices().fold(f64::MIN, f64::max),
        low: prices().fold(f64::MAX, f64::min),
        close: last.price,
        volume: sorted.iter().map(|trade| trade.size).sum(),
        first_ts: first.ts,
        last_ts: last.ts,
        ticks: sorted.len() as u64,
    }
}

/// What a client knows of a topic after all updates; on the way the rules for sequences of bars are checked.
fn told(rules: &Rules, resolution: Resolution, updates: &[Update]) -> BTreeMap<i64, Bar> {
    let mut known: BTreeMap<i64, (Bar, Option<u32>)> = BTreeMap::new();
    for update in updates {
        let bar = update.bar;
        assert_eq!(bar.broken_rule(), None, "{bar:?}");
        if resolution.unit() != Unit::Ticks {
            let bucket = rules.calendar.bucket(resolution, bar.first_ts).unwrap();
            assert_eq!(bucket.time, bar.time, "the time lies on the grid");
            assert!(bucket.holds(bar.last_ts));
        }
        let newest_closed = known.iter().filter(|(_, (_, closed))| closed.is_some()).map(|(time, _)| *time).max();
        let before = known.get(&bar.time).copied();
        if let Some((old, _)) = before {
            assert!(bar.high >= old.high && bar.low <= old.low && bar.volume >= old.volume, "{old:?} {bar:?}");
            assert!(bar.open == old.open || bar.first_ts < old.first_ts, "{old:?} {bar:?}");
        }
        let revision = before.and_then(|(_, revision)| revision);
        match (update.place, update.revision) {
            (Place::Current, told) => {
                assert_eq!((told, revision), (0, None), "an open bar has not been closed");
                assert!(newest_closed.is_none_or(|newest| bar.time > newest));
                assert_eq!(known.range(bar.time + 1..).next(), None, "an open bar is the newest");
            }
            (_, 0) => {
                assert_eq!(revision, None, "a bar closes once");
                assert!(newest_closed.is_none_or(|newest| bar.time > newest), "closed bars come in order");
                assert_eq!(known.range(bar.time + 1..).next(), None, "a bar closes before the next one is told");
            }
            (_, told) => assert_eq!(told, revision.unwrap_or(0) + 1, "each revision comes once"),
        }
        if update.place != Place::Current {
            let is_newest = newest_closed.is_none_or(|newest| bar.time >= newest);
            assert_eq!(update.place == Place::Closed, is_newest);
        }
        known.insert(bar.time, (bar, (update.place != Place::Current).then_some(update.revision)));
    }
    assert!(known.values().all(|(_, closed)| closed.is_some()), "a flush leaves no bar open");
    known.into_iter().map(|(time, (bar, _))| (time, bar)).collect()
}

fn of_topic(updates: &[Update], topic: usize) -> Vec<Update> {
    updates.iter().filter(|update| update.topic as usize == topic).copied().collect()
}

proptest! {
    #[test]
    fn bars_are_what_the_rules_say_of_the_trades(
        calendar in calendars(),
        trades in trades(),
        grace in prop::sample::select(vec![0i64, 1, 700, 90_000]),
        lateness in prop::sample::select(vec![0i64, 5_000, 100_000, 1_000_000_000]),
    ) {
        let plan = plan(calendar, &LADDER, grace, lateness);
        let rules = plan.rules.clone();
        let updates = run(&mut Feed::new(plan.clone()), &trades);
        for (topic, resolution) in plan.resolutions.into_iter().enumerate() {
            let told = told(&rules, resolution, &of_topic(&updates, topic));
            prop_assert_eq!(told, by_the_letter(&rules, resolution, &trades), "{}", resolution);
        }
    }

    /// Finer bars merged are the coarser ones, along the whole ladder.
    #[test]
    fn roll_ups_equal_direct_aggregation(calendar in calendars(), trades in trades()) {
        let lateness = 1_000_000_000_000;
        let plan = plan(calendar, &LADDER, 0, lateness);
        let updates = run(&mut Feed::new(plan.clone()), &trades);
        let bars = |topic: usize| told(&plan.rules, plan.resolutions[topic], &of_topic(&updates, topic));
        for topic in 1..LADDER.len() {
            let mut rolled_up: BTreeMap<i64, Bar> = BTreeMap::new();
            for finer in bars(topic - 1).into_values() {
                let bucket = plan.rules.calendar.bucket(plan.resolutions[topic], finer.first_ts).unwrap();
                let coarser = rolled_up.get(&bucket.time).map_or(finer, |coarser| coarser.merge(finer));
                rolled_up.insert(bucket.time, Bar { time: bucket.time, ..coarser });
            }
            prop_assert_eq!(rolled_up, bars(topic), "{} to {}", LADDER[topic - 1], LADDER[topic]);
        }
    }

    /// Saving and going on at any point changes nothing that is told.
    #[test]
    fn a_restored_feed_goes_on_as_if_nothing_had_happened(
        calendar in calendars(),
        trades in trades(),
        at in 0usize..120,
        grace in prop::sample::select(vec![0i64, 700]),
    ) {
        let mut plan = plan(calendar, &["1S", "1", "D", "3T"], grace, 60_000);
        plan.rules.max_fill = 3;
        let (before, after) = trades.split_at(at.min(trades.len()));
        let mut whole = Feed::new(plan.clone());
        let expected = run(&mut whole, &trades);
        let mut first = Feed::new(plan.clone());
        let mut out = Vec::new();
        for trade in before {
            let _ = first.tick(&tick(*trade), i64::MAX - 1, &mut out);
        }
        let mut second = Feed::new(plan);
        prop_assert_eq!(second.restore(&first.save()), Ok(0));
        out.extend(run(&mut second, after));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn bars_of_a_number_of_trades(trades in trades(), count in 1usize..6) {
        let text = format!("{count}T");
        let plan = plan(calendar("UTC", "24x7"), &[text.as_str()], 0, 0);
        let mut feed = Feed::new(plan.clone());
        let updates = run(&mut feed, &trades);
        let bars = told(&plan.rules, plan.resolutions[0], &updates);
        let late = feed.counts().too_late;
        let (mut open, mut closed_at, mut expected_late) = (Vec::new(), i64::MIN, 0);
        for trade in &trades {
            if trade.ts < closed_at {
                expected_late += 1;
                continue;
            }
            open.push(trade.ts);
            if open.len() == count {
                closed_at = open.drain(..).max().unwrap();
            }
        }
        prop_assert_eq!(late, expected_late);
        prop_assert_eq!(bars.values().map(|bar| bar.ticks).sum::<u64>() + late, trades.len() as u64);
        prop_assert!(bars.values().rev().skip(1).all(|bar| bar.ticks == count as u64));
        let times: Vec<_> = bars.values().map(|bar| (bar.first_ts, bar.last_ts)).collect();
        prop_assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "bars do not overlap: {times:?}");
    }

    #[test]
    fn a_damaged_state_is_answered(cut in 0usize..2_000, byte in any::<u8>()) {
        let plan = plan(calendar("UTC", "24x7"), &["1", "3T"], 0, 60_000);
        let mut feed = Feed::new(plan.clone());
        let trade = |ts| Trade { ts, price: 1.0, size: 1.0 };
        run(&mut feed, &[trade(0), trade(1), trade(70_000), trade(200_000)]);
        let mut state = feed.save();
        let cut = cut % state.len();
        state[cut] = byte;
        let mut restored = Feed::new(plan);
        if restored.restore(&state).is_ok() {
            run(&mut restored, &[trade(210_000), trade(400_000)]);
        }
    }
}
