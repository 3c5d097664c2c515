//! The systemd unit: systemd understands every line of it, and it stays as closed as it was.

use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::Trial;

use crate::needs;

/// The exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE: &str = "11";

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(restarts_end_where_they_cannot_mend_and_a_reload_waits),
        needs::program("systemd-analyze", systemd_understands_the_unit),
        needs::program("systemd-analyze", a_word_that_systemd_ignores_is_caught),
        needs::program("systemd-analyze", the_exposure_stays_low),
        needs::program("systemd-analyze", an_open_unit_is_caught),
        needs::program("systemd-analyze", systemd_understands_the_socket_unit),
        needs::nothing(the_socket_unit_listens_where_the_shipped_configuration_does),
        needs::program("systemd-sysusers", the_user_and_the_group_are_made),
    ]
}

fn restarts_end_where_they_cannot_mend_and_a_reload_waits() {
    assert!(unit().lines().any(|line| line == "RestartPreventExitStatus=64 77 78"));
    assert!(unit().lines().any(|line| line == "ExecReload=/usr/bin/broadcastd reload"), "it waits");
}

fn systemd_understands_the_unit() {
    assert_eq!(verify(&unit()), Ok(()));
}

fn a_word_that_systemd_ignores_is_caught() {
    let misspelt = unit().replace("Type=notify\n", "Type=notifiy\n");
    let said = verify(&misspelt).unwrap_err();
    assert!(said.contains("notifiy"), "{said}");
}

fn the_exposure_stays_low() {
    assert_eq!(security(&unit()), Ok(()));
}

fn an_open_unit_is_caught() {
    let open = unit().replace("CapabilityBoundingSet=\n", "");
    let said = security(&open).unwrap_err();
    assert!(said.contains("Overall exposure level"), "{said}");
}

fn systemd_understands_the_socket_unit() {
    assert_eq!(verify_socket(&socket()), Ok(()));
    let said = verify_socket(&socket().replace("Backlog=", "Backlogs=")).unwrap_err();
    assert!(said.contains("Backlogs"), "{said}");
}

fn the_socket_unit_listens_where_the_shipped_configuration_does() {
    let shipped: toml::Value = toml::from_str(broadcastd::config::SHIPPED).unwrap();
    let served: Vec<&str> =
        shipped["server"]["listen"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let socket = socket();
    let given: Vec<&str> = socket.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(given, served);
}

fn the_user_and_the_group_are_made() {
    let file = folder().join("broadcastd.sysusers");
    let said = output(Command::new("systemd-sysusers").arg("--dry-run").arg(file));
    assert!(said.status.success(), "{}", words(&said));
}

/// `verify` warns about a word it does not know and still succeeds, so here a warning about the unit is a failure. It
/// also wants the program to exist, and the daemon is not installed where tests run.
fn verify(unit: &str) -> Result<(), String> {
    analyze(&installed(unit), "broadcastd.service", &["verify", "--man=no"], |said| {
        !words(said).contains("broadcastd.service")
    })
}

/// The same for the socket unit, beside the service that it starts.
fn verify_socket(socket: &str) -> Result<(), String> {
    analyze(socket, "broadcastd-clients.socket", &["verify", "--man=no"], |said| {
        !words(said).contains("broadcastd-clients.socket")
    })
}

fn installed(unit: &str) -> String {
    unit.replace("=/usr/bin/broadcastd ", "=/bin/true ")
}

fn security(unit: &str) -> Result<(), String> {
    let threshold = format!("--threshold={EXPOSURE}");
    analyze(unit, "broadcastd.service", &["security", "--offline=true", &threshold], |_| true)
}

fn analyze(text: &str, name: &str, arguments: &[&str], accept: fn(&Output) -> bool) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broadcastd.service"), installed(&unit())).unwrap();
    let copy = folder.path().join(name);
    std::fs::write(&copy, text).unwrap();
    let said = output(Command::new("systemd-analyze").args(arguments).arg(copy));
    if said.status.success() && accept(&said) { Ok(()) } else { Err(words(&said)) }
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program was found in PATH")
}

fn words(said: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
}

fn unit() -> String {
    std::fs::read_to_string(folder().join("broadcastd.service")).unwrap()
}

fn socket() -> String {
    std::fs::read_to_string(folder().join("broadcastd-clients.socket")).unwrap()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd"))
}
