//! Every metric once: its name, its help, and one function per happening. Handles are made when a thing starts, never on
//! the way of an event. No topic, user, connection or client is ever a label.

mod broadcaster;
mod deliveries;
pub mod labels;
mod reference;
pub mod totals;

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::broadcaster::{
    Broadcaster, gap_told, lines_left_out, plugin_generations, reply_refused, series_folded, states, thread_abandoned,
};
pub use self::deliveries::Deliveries;
pub use self::reference::reference;

use self::labels::{Declined, Dialect, Ended, Heard, Kind, Policy, Relief, Reload, Unusable, Unwelcome};

/// Bounds in seconds of every histogram of a duration. 5 ms is the promise from publish to write.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Every counter, gauge and histogram of the daemon with its help: the one list of them.
pub const COUNTERS: &[(&str, &str)] = &[
    ("broadcastd_events_published_total", "Events that the hub accepted, by stream."),
    ("broadcastd_events_repeated_total", "Events that had been accepted before and were not taken again."),
    ("broadcastd_events_refused_total", "Events that the hub refused, by stream."),
    ("broadcastd_events_unaddressed_total", "Events without audience in a private stream, delivered to nobody."),
    ("broadcastd_connections_refused_total", "Connections that were not let in, by reason."),
    (
        "broadcastd_clients_unknown_total",
        "Times that a trusted proxy did not say who its client is, by reason; the proxy itself counted.",
    ),
    (
        "broadcastd_accept_rests_total",
        "Times that a listener rested because no connection could be accepted, such as for want of descriptors.",
    ),
    ("broadcastd_closes_total", "Connections that ended, by the close code sent or seen."),
    ("broadcastd_deliveries_total", "Events handed to connections, by stream and dialect."),
    (
        "broadcastd_events_untold_total",
        "Events that subscriptions were not told of because their dialect has no word for them, by stream and dialect; no deliveries.",
    ),
    ("broadcastd_delivered_bytes_total", "Bytes written to connections."),
    (
        "broadcastd_no_source_untold_total",
        "Times that a connection was not told that a stream has no source, because its dialect has no words for it, by stream and dialect.",
    ),
    (
        "broadcastd_lagged_total",
        "Times that a connection fell behind, by stream and policy; what it misses until its fresh snapshot is not counted again.",
    ),
    (
        "broadcastd_memory_relieved_total",
        "Times that something had to go because hub.memory was short: an outbox, half of a history, or a publish that was refused.",
    ),
    (
        "broadcastd_resumes_total",
        "Subscriptions that gave a position, by stream and outcome: recovered, all that was missed came; snapshot, some of it was gone.",
    ),
    ("broadcastd_snapshots_sent_total", "Snapshots handed to connections, by stream."),
    (
        "broadcastd_snapshots_made_total",
        "Snapshots put into bytes, each for all who are shown the same at once, by stream.",
    ),
    ("broadcastd_commands_total", "Commands of clients, by kind and outcome."),
    ("broadcastd_replies_refused_total", "Answers of a broadcaster to commands that were not taken, by reason."),
    ("broadcastd_ingest_rejected_total", "Events from outside that were not accepted, by stream and reason."),
    (
        "broadcastd_ingest_odd_total",
        "Events from outside that do not fit the stream's schema and were accepted all the same.",
    ),
    ("broadcastd_log_lines_lost_total", "Lines of the daemon's log that journald took too late to wait for."),
    ("broadcastd_client_log_lines_total", "Log lines that clients sent, by what became of them."),
    ("broadcastd_broadcaster_errors_total", "Failures of a broadcaster, by reason."),
    ("broadcastd_broadcaster_restarts_total", "Times that a broadcaster was started again after a failure."),
    ("broadcastd_events_skipped_total", "Events that a broadcaster did not deliver because nobody listened."),
    (
        "broadcastd_plugin_log_lines_left_out_total",
        "Lines of a broadcaster beyond what it may log in a second, by level.",
    ),
    (
        "broadcastd_plugin_series_folded_total",
        "Series of a broadcaster beyond the 200 that are shown: counters and histograms became one of each name, gauges are not shown.",
    ),
    (
        "broadcastd_plugin_slow_calls_total",
        "Calls into a plugin that took long enough to be noticed, by broadcaster and call.",
    ),
    (
        "broadcastd_plugin_threads_abandoned_total",
        "Threads in a call into a plugin that did not return in time; they were left behind.",
    ),
    (
        "broadcastd_gaps_told_total",
        "Times that a broadcaster was told of inputs that it cannot have any more, by stream.",
    ),
    ("broadcastd_shard_turns_total", "Turns of a shard; one that makes none serves nobody."),
    ("broadcastd_config_reloads_total", "Reloads, by outcome."),
];
pub const GAUGES: &[(&str, &str)] = &[
    ("broadcastd_build_info", "What this daemon is; always 1."),
    ("broadcastd_subscriptions", "Subscriptions now, by stream."),
    ("broadcastd_connections", "Connections now, by endpoint and dialect."),
    ("broadcastd_outbox_bytes", "Bytes that wait in outboxes, by shard."),
    ("broadcastd_memory_bytes", "Bytes of events, records and outboxes, shared ones once; what hub.memory bounds."),
    ("broadcastd_memory_bound_bytes", "What hub.memory says."),
    ("broadcastd_stream_history_events", "Events in the history, by stream."),
    ("broadcastd_stream_records", "Records, by stream."),
    ("broadcastd_broadcaster_info", "What runs as a broadcaster; always 1."),
    ("broadcastd_broadcaster_up", "1 while the broadcaster runs, else 0."),
    (
        "broadcastd_broadcaster_state",
        "1 for the state that each configured broadcaster is in; disabled ones are stopped.",
    ),
    ("broadcastd_broadcaster_degraded", "1 while the plugin says that something is wrong although it works, else 0."),
    ("broadcastd_plugin_generations_resident", "Plugin libraries loaded since the start; none is ever unloaded."),
    ("broadcastd_config_last_reload_successful", "1 if the last reload took effect, 0 if it was refused."),
    ("broadcastd_config_last_reload_success_timestamp_seconds", "When a configuration last took effect."),
    (
        "broadcastd_config_last_good_in_use",
        "1 while the last good configuration runs because the file was refused at the start, else 0.",
    ),
];
pub const HISTOGRAMS: &[(&str, &str)] = &[
    ("broadcastd_publish_to_write_seconds", "From an event's publish to its first write in a shard."),
    ("broadcastd_plugin_call_duration_seconds", "Time in a call into a plugin, by broadcaster and call."),
];

/// What the kernel says about the process, under the names that Prometheus' own libraries use.
pub const PROCESS: &[(&str, &str)] = &[
    ("process_cpu_seconds_total", "Time of all threads on a processor."),
    ("process_resident_memory_bytes", "Memory in use."),
    ("process_threads", "Threads."),
    ("process_open_fds", "Open file descriptors."),
    ("process_max_fds", "File descriptors that may be open at once."),
    ("process_start_time_seconds", "When the process started, since 1970."),
];

/// Installs the recorder of the process; what it holds is read through the handle.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    describe();
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    gauge!("broadcastd_build_info", &labels).set(1.0);
    Ok(handle)
}

fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, *help);
    }
}

/// What happens in one stream.
pub struct Stream {
    published: Counter,
    repeated: Counter,
    refused: Counter,
    unaddressed: Counter,
    subscriptions: Gauge,
    history_events: Gauge,
    records: Gauge,
}

impl Stream {
    pub fn new(stream: &str) -> Self {
        let labels = [Label::new("stream", stream.to_owned())];
        Self {
            published: counter!("broadcastd_events_published_total", labels.iter()),
            repeated: counter!("broadcastd_events_repeated_total", labels.iter()),
            refused: counter!("broadcastd_events_refused_total", labels.iter()),
            unaddressed: counter!("broadcastd_events_unaddressed_total", labels.iter()),
            subscriptions: gauge!("broadcastd_subscriptions", labels.iter()),
            history_events: gauge!("broadcastd_stream_history_events", labels.iter()),
            records: gauge!("broadcastd_stream_records", labels.iter()),
        }
    }

    pub fn published(&self) {
        self.published.increment(1);
    }

    pub fn repeated(&self) {
        self.repeated.increment(1);
    }

    pub fn refused(&self) {
        self.refused.increment(1);
    }

    pub fn unaddressed(&self) {
        self.unaddressed.increment(1);
    }

    pub fn subscriptions(&self, now: u64) {
        self.subscriptions.set(now as f64);
    }

    /// What is kept, read when somebody scrapes.
    pub fn kept(&self, history_events: usize, records: usize) {
        self.history_events.set(history_events as f64);
        self.records.set(records as f64);
    }
}

/// How a command ended: done, or refused with this code.
pub type Outcome = Result<(), &'static str>;

/// What happens in one shard.
pub struct Shard {
    written: Counter,
    outbox_bytes: Gauge,
    publish_to_write: Histogram,
    /// By kind and outcome, those that there have been.
    commands: Vec<((Kind, Outcome), Counter)>,
}

impl Shard {
    pub fn new(shard: usize) -> Self {
        Self {
            written: counter!("broadcastd_delivered_bytes_total"),
            outbox_bytes: gauge!("broadcastd_outbox_bytes", "shard" => shard.to_string()),
            publish_to_write: histogram!("broadcastd_publish_to_write_seconds"),
            commands: Vec::new(),
        }
    }

    pub fn written(&self, bytes: u64) {
        self.written.increment(bytes);
    }

    pub fn outbox_bytes(&self, bytes: usize) {
        self.outbox_bytes.set(bytes as f64);
    }

    pub fn wrote_after(&self, elapsed: Duration) {
        self.publish_to_write.record(elapsed);
    }

    /// A client's command was done, or refused with this code. To publish is one.
    pub fn command(&mut self, kind: Kind, outcome: Outcome) {
        let known = self.commands.iter().position(|(known, _)| *known == (kind, outcome));
        let (_, counter) = match known {
            Some(index) => &self.commands[index],
            None => self.commands.push_mut(((kind, outcome), commands(kind, outcome))),
        };
        counter.increment(1);
    }
}

/// A connection was shown the records of a stream. Rare beside events, so the handle is looked up.
pub fn snapshot_sent(stream: &str) {
    counter!("broadcastd_snapshots_sent_total", "stream" => stream.to_owned()).increment(1);
}

/// Records were put into the bytes of one dialect, for all who are shown the same.
pub fn snapshot_made(stream: &str) {
    counter!("broadcastd_snapshots_made_total", "stream" => stream.to_owned()).increment(1);
}

/// A connection could not take everything. Rare, so the handle is looked up.
pub fn lagged(stream: &str, policy: Policy) {
    counter!("broadcastd_lagged_total", "stream" => stream.to_owned(), "policy" => policy.text()).increment(1);
}

/// A stream has no source, and a connection's dialect has no words to tell it.
pub fn no_source_untold(stream: &str, dialect: Dialect) {
    counter!("broadcastd_no_source_untold_total", "stream" => stream.to_owned(), "dialect" => dialect.text())
        .increment(1);
}

/// Something had to go because memory was short.
pub fn memory_relieved(what: Relief) {
    counter!("broadcastd_memory_relieved_total", "what" => what.text()).increment(1);
}

pub fn memory_bytes(bytes: usize) {
    gauge!("broadcastd_memory_bytes").set(bytes as f64);
}

/// Read when somebody scrapes.
pub fn memory_bound(bytes: usize) {
    gauge!("broadcastd_memory_bound_bytes").set(bytes as f64);
}

/// How many turns a shard has made since the start, read when somebody scrapes: a shard that is stuck counts nothing.
pub fn shard_turns(shard: usize, turns: u64) {
    counter!("broadcastd_shard_turns_total", "shard" => shard.to_string()).absolute(turns);
}

pub fn connection_ended(code: u16) {
    // Clients may send any of the last: as many series, if somebody means to.
    let code = if code < 3000 { code.to_string() } else { "3000-4999".to_owned() };
    counter!("broadcastd_closes_total", "code" => code).increment(1);
}

pub fn connection_refused(reason: Unwelcome) {
    counter!("broadcastd_connections_refused_total", "reason" => reason.text()).increment(1);
}

/// A trusted proxy does not say who its client is. Rare, so the handle is looked up.
pub fn client_unknown(reason: Unusable) {
    counter!("broadcastd_clients_unknown_total", "reason" => reason.text()).increment(1);
}

pub fn accept_rested() {
    counter!("broadcastd_accept_rests_total").increment(1);
}

/// A command that a broadcaster was asked for was done, or refused with this code.
pub fn asked(outcome: Outcome) {
    commands(Kind::Command, outcome).increment(1);
}

fn commands(kind: Kind, outcome: Outcome) -> Counter {
    let outcome = outcome.map_or_else(|code| code, |()| Ended::Ok.text());
    counter!("broadcastd_commands_total", "kind" => kind.text(), "outcome" => outcome)
}

pub fn ingest_rejected(stream: &str, reason: Declined, events: u64) {
    if events > 0 {
        counter!("broadcastd_ingest_rejected_total", "stream" => stream.to_owned(), "reason" => reason.text())
            .increment(events);
    }
}

/// An event from outside does not fit its stream's schema, and is accepted.
pub fn ingest_odd(stream: &str) {
    counter!("broadcastd_ingest_odd_total", "stream" => stream.to_owned()).increment(1);
}

/// A line of the log is not in the journal. Rare, so the handle is looked up.
pub fn log_line_lost() {
    counter!("broadcastd_log_lines_lost_total").increment(1);
}

/// What became of log lines that clients sent.
pub fn client_log(outcome: Heard, lines: usize) {
    if lines > 0 {
        counter!("broadcastd_client_log_lines_total", "outcome" => outcome.text()).increment(lines as u64);
    }
}

/// Connections of one endpoint; each connection counts for as long as it lives.
pub fn connections(endpoint: &str, dialect: Dialect) -> Gauge {
    gauge!("broadcastd_connections", "endpoint" => endpoint.to_owned(), "dialect" => dialect.text())
}

/// A configuration took effect, at start or by a reload; `unix_seconds` is when.
pub fn reload_succeeded(unix_seconds: f64) {
    gauge!("broadcastd_config_last_reload_successful").set(1.0);
    gauge!("broadcastd_config_last_reload_success_timestamp_seconds").set(unix_seconds);
    gauge!("broadcastd_config_last_good_in_use").set(0.0);
    counter!("broadcastd_config_reloads_total", "outcome" => Reload::Applied.text()).increment(1);
}

/// The last good configuration runs in the place of the file, until a reload succeeds.
pub fn last_good_runs() {
    gauge!("broadcastd_config_last_good_in_use").set(1.0);
}

pub fn reload_refused() {
    gauge!("broadcastd_config_last_reload_successful").set(0.0);
    counter!("broadcastd_config_reloads_total", "outcome" => Reload::Refused.text()).increment(1);
}
