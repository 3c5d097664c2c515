//! The C plugin that breaks every rule of the border, under AddressSanitizer in the real daemon: what it does wrong is
//! refused or endured, no memory is touched that should not be, and the broadcaster beside it goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::house::{hear_json, until};
use crate::needs;
use crate::process::{Daemon, PLUGINS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("libasan", every_fault_is_refused_or_endured_and_touches_no_memory),
        needs::program("libasan", every_lie_before_anything_runs_is_refused_and_touches_no_memory),
        needs::program("libasan", a_plugin_that_writes_beyond_its_memory_is_caught_by_the_sanitizer),
    ]
}

/// Faults of a running plugin, and what becomes of each.
const FAULTS: &[(&str, Outcome)] = &[
    ("NONE", Outcome::Taken),
    ("TABLE_SIZE_LARGER", Outcome::Taken),
    ("MESSAGE_SIZE_LARGER", Outcome::Taken),
    ("MESSAGE_SIZE_OLDER", Outcome::Taken),
    ("FOREIGN_THREADS", Outcome::Endured),
    ("AFTER_DESTROY", Outcome::Endured),
    ("MESSAGE_SIZE_ZERO", Outcome::Refused("its size field says 0 bytes")),
    ("MESSAGE_SIZE_TINY", Outcome::Refused("its size field says 3 bytes")),
    ("MESSAGE_SIZE_HUGE", Outcome::Refused("its size field says 65536 bytes, which its stride cannot hold")),
    ("STRIDE_ZERO", Outcome::Refused("of a batch, this is wrong: Stride")),
    ("STRIDE_TINY", Outcome::Refused("which its stride cannot hold")),
    ("STRIDE_HUGE", Outcome::Refused("of a batch, this is wrong: Stride")),
    ("COUNT_HUGE", Outcome::Refused("of a batch, this is wrong: Stride")),
    ("NULL_MESSAGES", Outcome::Refused("of a batch, this is wrong: Null")),
    ("NULL_TEXT", Outcome::Refused("topic is NULL but has a length")),
    ("HUGE_TEXT", Outcome::Refused("topic is longer than memory can be")),
    ("BAD_TEXT", Outcome::Refused("topic is not UTF-8")),
    ("NUL_TEXT", Outcome::Refused("give a word without spaces")),
    ("BAD_JSON", Outcome::Refused("payload is no JSON")),
    ("NULL_HANDLE", Outcome::Endured),
    ("WRONG_HANDLE", Outcome::Endured),
    ("NULL_ARGUMENTS", Outcome::Endured),
    ("HUGE_ARGUMENTS", Outcome::Endured),
    ("BAD_ARGUMENTS", Outcome::Endured),
    ("REPLY_TO_NOBODY", Outcome::Endured),
    ("ENDLESS_LOG", Outcome::Endured),
    ("WRONG_METRICS", Outcome::Endured),
    ("ODD_STATUS", Outcome::Fails("on_events answered -4711 and gave no reason")),
    ("NEGATIVE_TIMER", Outcome::Fails("start answered -2 and gave no reason")),
    ("SAVE_LARGER", Outcome::Fails("at most 64 MiB are kept")),
    ("SAVE_ENDLESS", Outcome::Fails("at most 64 MiB are kept")),
    ("SAVE_NULL", Outcome::Fails("it wrote from NULL")),
];

#[derive(Clone, Copy)]
enum Outcome {
    /// It is right, if unusual: everything is taken.
    Taken,
    /// Each timer publishes something that is refused for this reason, and it goes on.
    Refused(&'static str),
    /// It goes on.
    Endured,
    /// It is restarted, and quarantined in the end.
    Fails(&'static str),
}

/// A folder of plugins built with the sanitizer, each with one fault.
struct Faulty(TempDir);

impl Faulty {
    /// A plugin of this id with this fault, and its table for the configuration.
    fn build(&self, id: &str, definitions: &[&str]) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c99", "-g", "-O1", "-fsanitize=address", "-shared", "-fPIC", "-pthread", "-o"]);
        gcc.arg(self.0.path().join(format!("lib{id}.so"))).arg("-I").arg(root.join("plugin-api/include"));
        gcc.arg(format!("-DID=\"{id}\"")).args(definitions.iter().map(|definition| format!("-D{definition}")));
        assert!(gcc.arg(root.join("plugins/faulty-c/faulty.c")).status().unwrap().success(), "{id} does not build");
        table(id)
    }

    /// A daemon under the sanitizer, with one broadcaster that works.
    fn daemon(&self, tables: &str) -> Daemon {
        let options = "detect_leaks=0:halt_on_error=1:exitcode=99:free_fill_byte=255:max_free_fill_size=65536";
        let libasan = libasan();
        let env = [("LD_PRELOAD", libasan.to_str().unwrap()), ("ASAN_OPTIONS", options)];
        Daemon::start_with(&self.config(tables), &env)
    }

    fn config(&self, tables: &str) -> String {
        let dirs = [self.0.path(), &PLUGINS].map(|dir| format!("{:?}", dir.display().to_string())).join(", ");
        format!("[plugins]\ndirs = [{dirs}]\n{WELL}{tables}")
    }
}

const WELL: &str = "[broadcasters.well]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";

/// Libraries of several faults are loaded into one daemon, so that each has an id of its own.
fn id(fault: &str) -> String {
    format!("faulty_{}", fault.to_lowercase())
}

fn table(id: &str) -> String {
    format!("[broadcasters.{id}]\nplugin = \"{id}\"\nrestart = {{ max = 3, backoff = \"10ms..20ms\" }}\n")
}

fn libasan() -> PathBuf {
    let found = Command::new("gcc").arg("-print-file-name=libasan.so").output().unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()).canonicalize().unwrap()
}

fn assert_clean(daemon: Daemon) {
    let log = daemon.log_text();
    assert!(!log.contains("AddressSanitizer"), "{log}");
    let (ended, _folder) = daemon.stop();
    assert_eq!(ended.code(), Some(0), "99 is the sanitizer's");
}

fn every_fault_is_refused_or_endured_and_touches_no_memory() {
    let faulty = Faulty(tempfile::tempdir().unwrap());
    let tables: String =
        FAULTS.iter().map(|(fault, _)| faulty.build(&id(fault), &[&format!("FAULT={fault}")])).collect();
    let daemon = faulty.daemon(&tables);
    let mut well = daemon.subscriber("well");
    for (fault, outcome) in FAULTS {
        let name = id(fault);
        let status = || daemon.get(&format!("/v1/broadcasters/{name}")).json();
        let is_logged = |text: &str| {
            daemon.log_text().lines().any(|line| line.contains(&format!("\"{name}\"")) && line.contains(text))
        };
        match outcome {
            Outcome::Taken => until(&format!("{fault} is taken"), || {
                let status = status();
                assert_eq!((&status["refused"], &status["errors"]), (&0.into(), &0.into()), "{status}");
                status["broadcasts_sent"].as_u64() > Some(10)
            }),
            Outcome::Refused(why) => until(&format!("{fault} is refused"), || {
                let status = status();
                assert_eq!(status["errors"], 0, "{status}");
                status["is_running"] == true && status["refused"].as_u64() > Some(1) && is_logged(why)
            }),
            Outcome::Endured => until(&format!("{fault} is endured"), || {
                let status = status();
                assert_eq!(status["errors"], 0, "{status}");
                status["is_running"] == true && status["broadcasts_sent"].as_u64() > Some(20)
            }),
            Outcome::Fails(why) => until(&format!("{fault} is quarantined"), || {
                let status = status();
                status["state"] == "quarantined" && status["last_error"].as_str().unwrap().contains(why)
            }),
        }
    }
    let count = |event: Value| event["data"]["count"].as_u64().unwrap();
    let first = count(hear_json(&mut well));
    assert!((1..200).all(|n| count(hear_json(&mut well)) == first + n));
    // Half of them are destroyed while their threads go on, and others of the same libraries take their places.
    let others: String = FAULTS.iter().map(|(fault, _)| other(&id(fault))).collect();
    daemon.reload(|| daemon.configure(&faulty.config(&others)));
    let refused = |line: &&str| line.contains("calls were not refused");
    until("calls after destroy are tried", || {
        let log = daemon.log_text();
        log.lines().filter(refused).filter(|line| line.contains("other_faulty_after_destroy")).count() > 3
    });
    let log = daemon.log_text();
    let wrong: Vec<&str> = log.lines().filter(refused).filter(|line| !line.contains("\"0 calls were")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_clean(daemon);
}

/// Another broadcaster of the same plugin.
fn other(id: &str) -> String {
    table(id).replace(&format!("[broadcasters.{id}]"), &format!("[broadcasters.other_{id}]"))
}

fn every_lie_before_anything_runs_is_refused_and_touches_no_memory() {
    let faulty = Faulty(tempfile::tempdir().unwrap());
    let daemon = faulty.daemon("");
    let refuse = |table: &str, reason: &str| {
        let refusal = daemon.refuse(|| daemon.configure(&faulty.config(table)));
        assert!(refusal.contains(reason), "{table}: {refusal}");
    };
    for (fault, reason) in [
        ("NOTE_OTHER_MAJOR", "it was built for ABI 2"),
        ("NOTE_NOT_ENDED", "the version in its note is empty or no text"),
        ("NULL_TABLE", "it refused to be loaded: no table, on purpose"),
        ("NULL_REASON", "it refused to be loaded: (a reason that is no UTF-8)"),
        ("TABLE_SIZE_ZERO", "its table's size field is wrong"),
        ("TABLE_SIZE_TINY", "its table lacks create"),
        ("NULL_FUNCTIONS", "its table lacks create"),
        ("BAD_ID", "its table's id is not UTF-8"),
        ("NULL_ID", "its table's id is NULL but has a length"),
        ("BAD_SCHEMA", "its table's config_schema is no JSON"),
        ("BAD_STREAM", "its declaration of a stream is wrong"),
        ("NO_INSTANCE", "create answered -5 and gave no reason"),
    ] {
        refuse(&faulty.build(&id(fault), &[&format!("FAULT={fault}")]), reason);
    }
    for function in ["create", "on_events", "destroy", "save_state", "restore_state"] {
        let definitions = ["FAULT=NULL_FUNCTION", &format!("FUNCTION={function}")];
        let table = faulty.build(&format!("without_{function}"), &definitions);
        refuse(&table, &format!("its table lacks {function}"));
    }
    assert_clean(daemon);
}

fn a_plugin_that_writes_beyond_its_memory_is_caught_by_the_sanitizer() {
    let faulty = Faulty(tempfile::tempdir().unwrap());
    let daemon = faulty.daemon("");
    // Only now: it may be caught before a daemon that starts with it has greeted.
    daemon.configure(&faulty.config(&faulty.build("overflows", &["FAULT=OWN_OVERFLOW"])));
    daemon.wait_for_log("AddressSanitizer: heap-buffer-overflow");
    assert_eq!(daemon.wait().0.code(), Some(99), "or the other tests here prove nothing");
}
