//! Changes the configuration every few seconds: good ones that take effect, bad ones that change nothing, plugin files
//! replaced under the running daemon.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::config::{GUEST, Setup};
use crate::daemon::Daemon;
use crate::shared::Shared;

const RELOADS: &str = "broadcastd_config_reloads_total";
const APPLIED: &str = "outcome=\"applied\"";
const REFUSED: &str = "outcome=\"refused\"";

/// Changes it until the run settles.
pub fn reload(shared: &Shared, daemon: &Daemon, mut random: fastrand::Rng) {
    let (mut setup, mut version) = (Setup::calm(), 0);
    while shared.is_running() {
        sleep(Duration::from_millis(random.u64(1000..5000))); // a pace; nothing depends on it
        let outcome = match random.u8(..6) {
            0 => refuse(shared, daemon, &setup.bad_text(daemon.folder.path(), &mut random)),
            1 => {
                version += 1;
                swap(shared, daemon, version)
            }
            _ => {
                let before = setup.clone();
                setup.change(&mut random);
                if setup == before { Ok(()) } else { change(shared, daemon, &mut setup, before) }
            }
        };
        if let Err(error) = outcome {
            shared.report(&format!("a reload: {error:#}; its setup is {setup:?}"));
        }
    }
}

/// Applies a good configuration, and waits until it is in force.
pub fn apply(daemon: &Daemon, setup: &Setup) -> Result<()> {
    let text = setup.text(daemon.folder.path());
    expect_one_more(daemon, APPLIED, || daemon.configure(&text))
}

fn change(shared: &Shared, daemon: &Daemon, setup: &mut Setup, before: Setup) -> Result<()> {
    // Nobody publishes to the relay that may go, so that the number of its next event is known.
    let guest = shared.relays.iter().find(|relay| relay.name == GUEST);
    let mut next = guest.map(|guest| guest.hold());
    let refused = daemon.metrics()?.sum_of(RELOADS, REFUSED);
    let text = setup.text(daemon.folder.path());
    expect_one_more(daemon, "", || daemon.configure(&text))?;
    if daemon.metrics()?.sum_of(RELOADS, REFUSED) > refused {
        ensure!(setup.may_be_refused(), "a good configuration was refused");
        setup.refused(before);
        return Ok(());
    }
    if let (Some(next), false) = (&mut next, setup.has_guest) {
        **next = 1;
    }
    shared.tally.applied.one();
    Ok(())
}

fn refuse(shared: &Shared, daemon: &Daemon, text: &str) -> Result<()> {
    let applied = daemon.metrics()?.sum_of(RELOADS, APPLIED);
    expect_one_more(daemon, REFUSED, || daemon.configure(text))?;
    let now = daemon.metrics()?;
    ensure!(now.sum_of(RELOADS, APPLIED) == applied, "a bad configuration took effect:\n{text}");
    ensure!(now.sum("broadcastd_config_last_reload_successful") == 0, "a refusal is not shown");
    shared.tally.bad.one();
    Ok(())
}

fn swap(shared: &Shared, daemon: &Daemon, version: usize) -> Result<()> {
    daemon.swap_plugin(version)?;
    // What is in the file may be what was refused last.
    expect_one_more(daemon, "", || daemon.signal(Signal::HUP))?;
    shared.tally.swapped.one();
    Ok(())
}

fn expect_one_more(daemon: &Daemon, outcome: &str, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = daemon.metrics()?.sum_of(RELOADS, outcome);
    change()?;
    daemon.until(&format!("there was a reload {outcome}"), |now| now.sum_of(RELOADS, outcome) > before)
}
