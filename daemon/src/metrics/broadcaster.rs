//! What happens to broadcasters and their plugins, as it is counted.

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::labels::{Call, Failure, Level, State, Untaken};

/// What happens to one broadcaster.
pub struct Broadcaster {
    name: String,
    /// Once it has begun: a series that is in one scrape is in all that follow.
    held: OnceLock<Held>,
}

struct Held {
    up: Gauge,
    restarts: Counter,
    skipped: Counter,
}

impl Broadcaster {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), held: OnceLock::new() }
    }

    /// It is shown from here on.
    pub fn begin(&self) {
        self.held();
    }

    pub fn started(&self, plugin: &str, version: &str, sha256: &str) {
        self.info(plugin, version, sha256).set(1.0);
        self.held().up.set(1.0);
    }

    /// This library no longer runs as the broadcaster; another may.
    pub fn replaced(&self, plugin: &str, version: &str, sha256: &str) {
        self.info(plugin, version, sha256).set(0.0);
    }

    fn info(&self, plugin: &str, version: &str, sha256: &str) -> Gauge {
        let label = |key: &'static str, value: &str| Label::new(key, value.to_owned());
        let labels = [
            label("broadcaster", &self.name),
            label("plugin", plugin),
            label("version", version),
            label("sha256", sha256),
        ];
        gauge!("broadcastd_broadcaster_info", labels.iter())
    }

    pub fn stopped(&self) {
        self.held().up.set(0.0);
    }

    pub fn failed(&self, reason: Failure) {
        counter!("broadcastd_broadcaster_errors_total", "broadcaster" => self.name.clone(), "reason" => reason.text())
            .increment(1);
    }

    pub fn restarted(&self) {
        self.held().restarts.increment(1);
    }

    /// Events not delivered because nobody listened, since the broadcaster was first started.
    pub fn skipped(&self, total: u64) {
        self.held().skipped.absolute(total);
    }

    pub fn slow_call(&self, call: Call) {
        counter!("broadcastd_plugin_slow_calls_total", "broadcaster" => self.name.clone(), "call" => call.text())
            .increment(1);
    }

    /// A histogram for one kind of call into the plugin, to be kept by the caller.
    pub fn calls(&self, call: Call) -> Histogram {
        histogram!("broadcastd_plugin_call_duration_seconds", "broadcaster" => self.name.clone(), "call" => call.text())
    }

    fn held(&self) -> &Held {
        self.held.get_or_init(|| {
            let labels = [Label::new("broadcaster", self.name.clone())];
            Held {
                up: gauge!("broadcastd_broadcaster_up", labels.iter()),
                restarts: counter!("broadcastd_broadcaster_restarts_total", labels.iter()),
                skipped: counter!("broadcastd_events_skipped_total", labels.iter()),
            }
        })
    }
}

/// The states of all configured broadcasters in the text of a scrape, each with its name and whether it is degraded. They
/// are written out when somebody asks, so that a broadcaster that the configuration no longer names has none.
pub fn states<'a>(all: impl Iterator<Item = (&'a str, State, bool)>) -> String {
    let [mut state, mut degraded] = ["broadcastd_broadcaster_state", "broadcastd_broadcaster_degraded"].map(head);
    for (name, now, is_degraded) in all {
        let now = now.text();
        state.push_str(&format!("broadcastd_broadcaster_state{{broadcaster=\"{name}\",state=\"{now}\"}} 1\n"));
        let is_degraded = u8::from(is_degraded);
        degraded.push_str(&format!("broadcastd_broadcaster_degraded{{broadcaster=\"{name}\"}} {is_degraded}\n"));
    }
    state + &degraded
}

/// The lines of a scrape that go before the series of a gauge.
fn head(gauge: &str) -> String {
    let help = super::GAUGES.iter().find(|(name, _)| *name == gauge).map_or("", |(_, help)| help);
    format!("# HELP {gauge} {help}\n# TYPE {gauge} gauge\n")
}

/// A broadcaster that listens to the stream was told that it cannot have some inputs. Rare, so the handle is looked up.
pub fn gap_told(stream: &str) {
    counter!("broadcastd_gaps_told_total", "stream" => stream.to_owned()).increment(1);
}

/// A call into a plugin did not return; `broadcaster` is the plugin's id while it is loaded.
pub fn thread_abandoned(broadcaster: &str) {
    counter!("broadcastd_plugin_threads_abandoned_total", "broadcaster" => broadcaster.to_owned()).increment(1);
}

pub fn plugin_generations(resident: usize) {
    gauge!("broadcastd_plugin_generations_resident").set(resident as f64);
}

/// An answer to a command was not taken. Rare, so the handle is looked up.
pub fn reply_refused(broadcaster: &str, reason: Untaken) {
    counter!("broadcastd_replies_refused_total", "broadcaster" => broadcaster.to_owned(), "reason" => reason.text())
        .increment(1);
}

/// Lines that a broadcaster may not log in this second, for one level; a counter to be kept by the caller.
pub fn lines_left_out(broadcaster: &str, level: Level) -> Counter {
    counter!("broadcastd_plugin_log_lines_left_out_total", "broadcaster" => broadcaster.to_owned(), "level" => level.text())
}

/// A series beyond those that are shown of a broadcaster. Rare, so the handle is looked up.
pub fn series_folded(broadcaster: &str) {
    counter!("broadcastd_plugin_series_folded_total", "broadcaster" => broadcaster.to_owned()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broadcaster_is_in_one_state() {
        let all = [("bars", State::Running, false), ("alerts", State::Quarantined, true)];
        let text = states(all.into_iter());
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            series,
            [
                r#"broadcastd_broadcaster_state{broadcaster="bars",state="running"} 1"#,
                r#"broadcastd_broadcaster_state{broadcaster="alerts",state="quarantined"} 1"#,
                r#"broadcastd_broadcaster_degraded{broadcaster="bars"} 0"#,
                r#"broadcastd_broadcaster_degraded{broadcaster="alerts"} 1"#,
            ]
        );
        assert!(text.lines().filter(|line| line.starts_with("# HELP")).all(|line| line.len() > 60), "{text}");
    }
}
