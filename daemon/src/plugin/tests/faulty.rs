//! The C plugin that breaks the rules on purpose: each of its faults is refused or endured, and says what is wrong.

use super::*;

/// A house with the faulty plugin, compiled with one fault.
pub(super) fn house(fault: &str) -> House {
    house_with(&[&format!("FAULT={fault}")])
}

fn house_with(definitions: &[&str]) -> House {
    let house = House::new();
    let arguments: Vec<String> = definitions.iter().map(|definition| format!("-D{definition}")).collect();
    compile("plugins/faulty-c/faulty.c", &arguments, &house.dir.path().join("libfaulty_c.so"));
    house
}

/// It is not loaded for this reason, and leaves nothing behind.
fn assert_refused(house: &House, fault: &str, reason: &str) {
    let problems = house.reload(&[wanted("a", "faulty_c", "")]).unwrap_err();
    assert!(problems[0].message.contains(reason), "{fault}: {problems:?}");
    assert!(house.hub.stream("a").is_none(), "{fault} left nothing behind");
}

#[test]
fn lies_in_note_and_table_are_refused() {
    let faults = [
        ("NOTE_OTHER_MAJOR", "it was built for ABI 2"),
        ("NOTE_ABORTS", "panic = \"abort\""),
        ("NOTE_OTHER_OWNER", "it carries no broadcastd note"),
        ("NOTE_NOT_ENDED", "the version in its note is empty or no text"),
        ("NULL_TABLE", "it refused to be loaded: no table, on purpose"),
        ("NULL_REASON", "it refused to be loaded: (a reason that is no UTF-8)"),
        ("TABLE_SIZE_ZERO", "its table's size field is wrong"),
        ("TABLE_SIZE_TINY", "its table lacks create"),
        ("NULL_FUNCTIONS", "its table lacks create, on_events, destroy, save_state, restore_state"),
        ("BAD_ID", "its table's id is not UTF-8"),
        ("NULL_ID", "its table's id is NULL but has a length"),
        ("BAD_SCHEMA", "its table's config_schema is no JSON"),
        ("BAD_STREAM", "its declaration of a stream is wrong"),
        ("NO_INSTANCE", "create answered -5 and gave no reason"),
    ];
    for (fault, reason) in faults {
        assert_refused(&house(fault), fault, reason);
    }
    let other_id = house_with(&["NOTE_ID=\"xaulty_c\""]);
    assert_refused(&other_id, "another id", "its note says it is plugin \"xaulty_c\"");
    for function in ["create", "on_events", "destroy", "save_state", "restore_state"] {
        let house = house_with(&["FAULT=NULL_FUNCTION", &format!("FUNCTION={function}")]);
        assert_refused(&house, function, &format!("its table lacks {function}; fill it in and rebuild it"));
    }
}

#[test]
fn one_that_does_not_come_back_while_it_is_loaded_holds_up_nobody() {
    let mut house = house("HANG_IN_ENTRY");
    house.supervisor.config.timing.create = Duration::from_millis(50);
    assert_refused(&house, "its entry", "did not return from its entry within 50ms");
    assert_refused(&house, "its entry, again", "it hangs in its entry since it was first loaded");
    house.build("well", &[]);
    house.supervisor.config.timing.create = Duration::from_secs(20);
    house.reload(&[wanted("a", "well", "")]).unwrap();
    house.supervisor.stop();
}

/// Lets the timer of the plugin fire until it is so.
fn until_after_timers(house: &House, fault: &str, mut is_so: impl FnMut(&Status) -> bool) {
    until(&format!("what {fault} leads to"), || {
        house.clock.advance(Duration::from_millis(10));
        is_so(&house.supervisor.status_of("a").unwrap())
    });
}

#[test]
fn wrong_messages_are_refused_and_the_good_ones_before_them_taken() {
    for fault in [
        "MESSAGE_SIZE_ZERO",
        "MESSAGE_SIZE_TINY",
        "MESSAGE_SIZE_HUGE",
        "NULL_TEXT",
        "HUGE_TEXT",
        "BAD_TEXT",
        "NUL_TEXT",
        "BAD_JSON",
    ] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        until_after_timers(&house, fault, |status| status.is_running && status.refused > 1);
        house.supervisor.stop();
        let status = house.supervisor.status_of("a").unwrap();
        assert_eq!(
            (status.broadcasts_sent, status.errors),
            (status.refused, 0),
            "{fault}: one good and one wrong each"
        );
    }
    for fault in ["MESSAGE_SIZE_LARGER", "MESSAGE_SIZE_OLDER", "TABLE_SIZE_LARGER", "NULL_OPTIONAL"] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        if fault == "NULL_OPTIONAL" {
            assert_eq!(house.phase("a"), Phase::Running, "it has no start, and so no timer");
            continue;
        }
        until_after_timers(&house, fault, |status| status.broadcasts_sent > 4);
        assert_eq!(house.supervisor.status_of("a").unwrap().refused, 0, "{fault}");
        house.supervisor.stop();
    }
}

#[test]
fn wrong_calls_are_endured() {
    for fault in [
        "STRIDE_ZERO",
        "STRIDE_TINY",
        "STRIDE_HUGE",
        "COUNT_HUGE",
        "NULL_MESSAGES",
        "NULL_HANDLE",
        "WRONG_HANDLE",
        "NULL_ARGUMENTS",
        "HUGE_ARGUMENTS",
        "BAD_ARGUMENTS",
        "REPLY_TO_NOBODY",
        "ENDLESS_LOG",
        "WRONG_METRICS",
        "FOREIGN_THREADS",
        "AFTER_DESTROY",
    ] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        until_after_timers(&house, fault, |status| status.broadcasts_sent + status.refused >= 6);
        let degraded = house.supervisor.status_of("a").unwrap().degraded;
        let told = fault.ends_with("_ARGUMENTS").then_some("(a reason that is no UTF-8)");
        assert!(degraded.is_none() || degraded.as_deref() == told, "{fault}: {degraded:?}");
        house.supervisor.stop();
        let status = house.supervisor.status_of("a").unwrap();
        // What threads of its own say while it is destroyed is told as the reason for that.
        let is_said = fault.contains("THREADS") || fault == "AFTER_DESTROY";
        let errors = u64::from(is_said && status.last_error.as_deref() == Some("work (at work)"));
        assert_eq!((status.errors, status.state), (errors, Phase::Stopped), "{fault}: {status:?}");
    }
}

#[test]
fn a_state_beyond_the_bound_is_not_kept_whatever_the_plugin_says() {
    for (fault, told) in [
        ("SAVE_LARGEST", None),
        ("SAVE_LARGER", Some("its state is not whole: at most 64 MiB are kept; save less")),
        ("SAVE_ENDLESS", Some("its state is not whole: at most 64 MiB are kept; save less")),
        ("SAVE_NULL", Some("its state is not whole: it wrote from NULL")),
    ] {
        let house = house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        until_after_timers(&house, fault, |status| status.broadcasts_sent > 2);
        house.supervisor.stop(); // which saves
        let status = house.supervisor.status_of("a").unwrap();
        assert_eq!((status.last_error.as_deref(), status.errors), (told, u64::from(told.is_some())), "{fault}");
        let file = fs::metadata(house.dir.path().join("state/a.state"));
        assert_eq!(file.is_ok_and(|file| file.len() > 64 << 20), told.is_none(), "{fault}");
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
