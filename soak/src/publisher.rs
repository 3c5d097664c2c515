//! Publishes to one relay: every event under the number that it must get, none left out when the daemon says to wait.

use std::fmt::Write;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http;
use crate::shared::{Relay, Shared};

/// How long a publisher waits that was told to come back.
const PAUSE: Duration = Duration::from_millis(200);

/// Publishes until the run settles.
pub fn publish(shared: &Shared, relay: &Relay, mut random: fastrand::Rng) {
    let (pause, most) = relay.pace;
    while shared.is_running() {
        let count = random.u64(1..=most);
        if let Err(error) = publish_some(shared, relay, count) {
            shared.report(&format!("publishing to {}: {error:#}", relay.name));
            sleep(PAUSE);
        }
        sleep(Duration::from_millis(random.u64(..=2 * pause))); // the pace of the load; nothing depends on it
    }
}

fn publish_some(shared: &Shared, relay: &Relay, count: u64) -> Result<()> {
    let mut next = relay.hold();
    let mut body = String::new();
    for seq in *next..*next + count {
        writeln!(body, "{}", (relay.event)(relay.name, seq))?;
    }
    let answer = http::post_lines(shared.admin, &format!("/v1/streams/{}/publish", relay.name), &body)?;
    match answer.status {
        202 | 207 => {
            let said: Value = serde_json::from_str(&answer.body)?;
            let accepted = said["accepted"].as_u64().context("no count of what was accepted")?;
            let last = *next + accepted - 1;
            let text = &answer.body;
            ensure!(said["position"]["seq"] == last, "the newest event should be {last}: {text}");
            *next += accepted;
            shared.tally.published.add(accepted);
            if accepted < count {
                shared.tally.held_back.one();
            }
        }
        429 => {
            shared.tally.held_back.one();
            drop(next);
            sleep(PAUSE);
        }
        // The next one of this name begins anew.
        404 => *next = 1,
        status => bail!("{status}: {}", answer.body),
    }
    Ok(())
}
