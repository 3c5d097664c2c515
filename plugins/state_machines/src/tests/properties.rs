//! Whatever is declared and whatever is reported: nothing panics, what is told makes up what is there, and a broadcaster
//! that fails anywhere and is fed the same again tells the same.

use std::time::Duration;

use broadcastd_plugin_api::testing::Input;
use proptest::prelude::*;

use super::*;

const STATES: [&str; 5] = ["A", "B", "C", "D", "X"];

#[derive(Clone, Debug)]
enum Happening {
    Says {
        kind: &'static str,
        data: Value,
    },
    TimePasses(u64),
    /// It fails after what was saved at some time.
    Save,
    Fails,
    Restarts,
}

fn declaration() -> impl Strategy<Value = Value> {
    let state = prop::sample::select(&STATES[..4]);
    let timeout = prop::option::weighted(0.3, (1_u64..40, state.clone()));
    let timeouts = prop::collection::vec(timeout, 4);
    let guard = prop::option::weighted(
        0.3,
        prop::sample::select(vec![
            "data.x > 0",
            "not data.x",
            "ctx.version in [1, 2, 3]",
            "ctx.state == 'A' or data.y",
        ]),
    );
    let event = prop::option::weighted(0.8, prop::sample::select(vec!["go", "stop", "e"]));
    let from = prop_oneof![4 => state.clone(), 1 => Just("*")];
    let transitions = prop::collection::vec((from, state, event, guard, any::<bool>()), 0..12);
    let rest = (prop::sample::select(vec!["reject", "accept_and_report", "report_only"]), any::<bool>(), 0_u64..60);
    (timeouts, transitions, rest).prop_map(|(timeouts, transitions, (on_illegal, has_final, stale_after))| {
        let state = |(index, timeout): (usize, Option<(u64, &str)>)| match timeout {
            Some((seconds, to)) if !(has_final && index == 3) => {
                json!({"id": STATES[index], "max_time": seconds, "on_timeout": to})
            }
            _ => json!({"id": STATES[index]}),
        };
        let states: Vec<Value> = timeouts.into_iter().enumerate().map(state).collect();
        let transition = |(from, to, event, guard, reenter): (&str, &str, Option<&str>, Option<&str>, bool)| {
            json!({"from": from, "to": to, "reenter": reenter, "event": event, "guard": guard})
        };
        let mut transitions: Vec<Value> = transitions.into_iter().map(transition).collect();
        // What is hidden or leaves a final state is refused: take what may be declared.
        let mut taken: Vec<Value> = Vec::new();
        transitions.retain(|one| {
            let mut tried = taken.clone();
            tried.push(one.clone());
            let machine = json!({"id": "m", "initial": "A", "final": if has_final { vec!["D"] } else { vec![] },
                "states": [{"id": "A"}, {"id": "B"}, {"id": "C"}, {"id": "D"}], "transitions": tried});
            let settings = serde_json::from_value(json!({"machines": [machine]})).unwrap();
            let is_fine = crate::check::check(&settings).wrong.is_empty();
            if is_fine {
                taken = tried;
            }
            is_fine
        });
        json!({"id": "m", "initial": "A", "final": if has_final { vec!["D"] } else { vec![] }, "states": states,
            "transitions": transitions, "on_illegal": on_illegal, "stale_after": stale_after})
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    let one = (0..2_usize, 0..2_usize, 0..2_usize);
    let state = prop::option::weighted(0.5, prop::sample::select(&STATES[..]));
    let event = prop::option::weighted(0.7, prop::sample::select(vec!["go", "stop", "e", "unknown"]));
    let version = prop::option::weighted(0.3, 1_u64..9);
    let at = prop::option::weighted(0.3, 0_u32..60);
    let x = prop::option::of(-1_i64..2);
    let transition =
        (one, state, event, (version, at, x)).prop_map(|((session, strategy, symbol), to, event, (version, at, x))| {
            let at = at.map(|second| format!("2026-01-01T00:00:{second:02}Z"));
            let data = json!({"session_id": format!("s{session}"), "strategy_id": format!("a{strategy}"),
            "symbol": format!("b{symbol}"), "to": to, "event": event, "version": version, "at": at, "data": {"x": x}});
            Happening::Says { kind: "instance.transition", data }
        });
    let about = (
        0..2_usize,
        0..2_usize,
        0..2_usize,
        prop::sample::select(vec!["instance.started", "instance.stopped", "instance.heartbeat"]),
    );
    let about = about.prop_map(|(session, strategy, symbol, kind)| {
        let data = json!({"session_id": format!("s{session}"), "strategy_id": format!("a{strategy}"), "symbol": format!("b{symbol}")});
        Happening::Says { kind, data }
    });
    let session = (0..2_usize, any::<bool>()).prop_map(|(session, starts)| {
        let kind = if starts { "session.started" } else { "session.stopped" };
        let data = json!({"session_id": format!("s{session}"), "strategies": ["a0", "a1"], "symbols": ["b0", "b1"]});
        Happening::Says { kind, data }
    });
    prop_oneof![
        8 => transition,
        2 => about,
        1 => session,
        3 => (0_u64..30_000).prop_map(Happening::TimePasses),
        1 => Just(Happening::Save),
        1 => Just(Happening::Fails),
        1 => Just(Happening::Restarts),
    ]
}

/// What a client makes of what it is told: records by topic and key.
type Shown = BTreeMap<(String, String), Value>;

/// The daemon's part: what it has already by its cause is not published again.
#[derive(Default)]
struct Hub {
    shown: Shown,
    seen: std::collections::BTreeSet<(u64, u32)>,
}

impl Hub {
    /// While inputs come again, what happened by itself may be told twice, until the records say how it is.
    fn hear_again(&mut self, events: Vec<Published>, records: Shown) {
        let caused = events.into_iter().filter_map(|event| event.cause);
        self.seen.extend(caused.map(|cause| (cause.seq, cause.ordinal)));
        self.shown = records;
    }

    fn hear(&mut self, events: Vec<Published>) {
        for event in events {
            if let Some(cause) = &event.cause
                && !self.seen.insert((cause.seq, cause.ordinal))
            {
                continue;
            }
            let place = (event.topic.clone(), event.key.clone());
            match event.kind.as_str() {
                "illegal_transition" => assert_eq!(event.key, ""),
                "instance_removed" => assert!(self.shown.remove(&place).is_some(), "{event:?}"),
                _ => {
                    let record = event.record.unwrap();
                    if let Some(old) = self.shown.get(&place) {
                        let grows = |name: &str| old[name].as_u64() <= record[name].as_u64();
                        assert!(grows("version"), "{old} {record}");
                    }
                    assert_eq!(record["state"], event.payload["state"]);
                    assert_eq!(record["since"], event.payload["since"]);
                    self.shown.insert(place, record);
                }
            }
        }
    }
}

fn records(machines: &mut Machines) -> Shown {
    let records = machines.records().unwrap();
    records.into_iter().map(|record| ((record.topic, record.key), record.payload)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_makes_up_what_is_there(
        declaration in prop::option::weighted(0.8, declaration()),
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let settings = json!({"machines": declaration.into_iter().collect::<Vec<_>>(), "log_broadcasts": "off"});
        let mut machines = start(settings);
        let mut hub = Hub::default();
        let (mut saved, mut since_saved): (Vec<u8>, Vec<Input<'_>>) = (machines.save().unwrap(), Vec::new());
        let mut seq = 0;
        for happening in happenings {
            match happening {
                Happening::Says { kind, data } => {
                    seq += 1;
                    let unix_ns = Some(machines.now_unix_ns());
                    let input = Input { seq: Some(seq), unix_ns, ..Input::new("sessions", kind, &data) };
                    machines.input(&input).unwrap();
                    since_saved.push(input);
                }
                Happening::TimePasses(ms) => machines.advance(Duration::from_millis(ms)).unwrap(),
                Happening::Save => (saved, since_saved) = (machines.save().unwrap(), Vec::new()),
                Happening::Fails => {
                    hub.hear(machines.published());
                    machines.restart_from(Some(saved.clone())).unwrap();
                    for input in &since_saved {
                        machines.input(input).unwrap();
                    }
                    let again = machines.published();
                    hub.hear_again(again, records(&mut machines));
                }
                Happening::Restarts => {
                    machines.restart().unwrap();
                    hub.hear(machines.published());
                    prop_assert_eq!(&hub.shown, &records(&mut machines), "nobody is shown anything anew");
                    (saved, since_saved) = (machines.save().unwrap(), Vec::new());
                }
            }
            hub.hear(machines.published());
            prop_assert_eq!(&hub.shown, &records(&mut machines));
        }
        let counted = shown(&machines, "instances", &json!({}));
        prop_assert_eq!(counted, hub.shown.len() as f64, "every instance is counted in one state");
    }

    #[test]
    fn a_damaged_state_is_answered(at in 0_usize..4_000, byte in any::<u8>()) {
        let mut machines = monitoring(declared());
        moves(&mut machines, json!({"event": "signal"}));
        let mut state = machines.save().unwrap();
        let at = at % state.len();
        state[at] = byte;
        if machines.restart_from(Some(state)).is_ok() {
            moves(&mut machines, json!({"event": "error"}));
            machines.advance(Duration::from_secs(1_000)).unwrap();
        }
    }
}
