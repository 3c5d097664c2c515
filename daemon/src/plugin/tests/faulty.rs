//! The C plugin that breaks the rules on purpose: each of its faults is refused or endured, and says what is wrong.

use super::*;

/// A house with the faulty plugin, compiled with one fault.
fn house(fault: &str) -> House {
    let house = House::new();
    let library = house.dir.path().join("libfaulty_c.so");
    compile("plugins/faulty-c/faulty.c", &[format!("-DFAULT={fault}")], &library);
    house
}

#[test]
fn lies_in_note_and_table_are_refused() {
    let faults = [
        ("NOTE_OTHER_MAJOR", "it was built for ABI 2"),
        ("NOTE_ABORTS", "panic = \"abort\""),
        ("NOTE_OTHER_ID", "its note says it is plugin \"xaulty_c\""),
        ("NOTE_OTHER_OWNER", "it carries no broadcastd note"),
        ("NOTE_NOT_ENDED", "the version in its note is empty or no text"),
        ("NULL_TABLE", "it refused to be loaded: no table, on purpose"),
        ("TABLE_SIZE_ZERO", "its table's size field is wrong"),
        ("TABLE_SIZE_TINY", "its table lacks create"),
        ("NULL_FUNCTIONS", "its table lacks create"),
        ("BAD_ID", "its table's id is not UTF-8"),
        ("NULL_ID", "its table's id is NULL but has a length"),
        ("BAD_SCHEMA", "its table's config_schema is no JSON"),
        ("BAD_STREAM", "its declaration of a stream is wrong"),
        ("NO_INSTANCE", "create answered -5 and gave no reason"),
    ];
    for (fault, reason) in faults {
        let house = house(fault);
        let problems = house.reload(&[wanted("a", "faulty_c", "")]).unwrap_err();
        assert!(problems[0].message.contains(reason), "{fault}: {problems:?}");
        assert!(house.hub.stream("a").is_none(), "{fault} left nothing behind");
    }
}

/// Lets the timer of the plugin fire a few times, and returns how the broadcaster is then.
fn after_timers(fault: &str) -> (House, Status) {
    let house = house(fault);
    house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
    until("it published a few times", || {
        house.clock.advance(Duration::from_millis(10));
        let status = house.supervisor.status_of("a").unwrap();
        status.broadcasts_sent + status.refused >= 6
    });
    house.supervisor.stop();
    let status = house.supervisor.status_of("a").unwrap();
    (house, status)
}

#[test]
fn wrong_messages_are_refused_and_the_good_ones_before_them_taken() {
    for fault in ["MESSAGE_SIZE_ZERO", "MESSAGE_SIZE_HUGE", "NULL_TEXT", "BAD_TEXT", "BAD_JSON"] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        until("the wrong one was refused", || {
            house.clock.advance(Duration::from_millis(10));
            let status = house.supervisor.status_of("a").unwrap();
            status.is_running && status.refused > 0 && (status.broadcasts_sent > 0 || fault == "BAD_JSON")
        });
    }
    for fault in ["MESSAGE_SIZE_LARGER", "MESSAGE_SIZE_OLDER", "TABLE_SIZE_LARGER", "FOREIGN_THREAD"] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        until("they are taken", || {
            house.clock.advance(Duration::from_millis(10));
            house.supervisor.status_of("a").unwrap().broadcasts_sent > 4
        });
        assert_eq!(house.supervisor.status_of("a").unwrap().refused, 0, "{fault}");
        house.supervisor.stop();
    }
}

#[test]
fn wrong_calls_are_endured() {
    let faults = [
        "STRIDE_ZERO",
        "COUNT_HUGE",
        "NULL_MESSAGES",
        "NULL_HANDLE",
        "WRONG_HANDLE",
        "REPLY_TO_NOBODY",
        "ENDLESS_LOG",
        "WRONG_METRICS",
        "SAVE_ENDLESS",
        "AFTER_DESTROY",
    ];
    for fault in faults {
        let (_house, status) = after_timers(fault);
        assert_eq!((status.errors, status.state), (0, Phase::Stopped), "{fault}: {status:?}");
    }
}

#[test]
fn wrong_answers_fail_the_broadcaster() {
    let odd = house("ODD_STATUS");
    odd.reload(&[wanted("a", "faulty_c", "")]).unwrap();
    until("it failed", || odd.supervisor.status_of("a").unwrap().errors > 0);
    let why = odd.supervisor.status_of("a").unwrap().last_error;
    assert_eq!(why.as_deref(), Some("on_events answered -4711 and gave no reason"));
    let negative = house("NEGATIVE_TIMER");
    negative.reload(&[wanted("a", "faulty_c", "")]).unwrap();
    until("it failed", || negative.supervisor.status_of("a").unwrap().errors > 0);
    assert_eq!(negative.phase("a"), Phase::BackingOff);
}
