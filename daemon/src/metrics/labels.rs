//! Labels with few values: each is an enum, so that nothing is counted under a value that the reference does not have.

/// A label, what has it, and all that it can be.
pub struct Label {
    pub name: &'static str,
    pub metrics: &'static [&'static str],
    /// Each with what it means.
    pub values: &'static [(&'static str, &'static str)],
    /// What else it can be, where another page has the list.
    pub others: &'static str,
}

/// Makes the enums and the list of them from the same lines, so that no value can be missing from either.
macro_rules! labels {
    ($($(#[$about:meta])* $name:ident = $label:literal of [$($metric:literal),+] $(or $others:literal)? {
        $($value:ident = $text:literal, $meaning:literal;)+
    })+) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub enum $name {
                $(#[doc = $meaning] $value,)+
            }

            impl $name {
                pub fn text(self) -> &'static str {
                    match self {
                        $(Self::$value => $text,)+
                    }
                }
            }
        )+

        pub const LABELS: &[Label] = &[
            $(Label {
                name: $label,
                metrics: &[$($metric),+],
                values: &[$(($text, $meaning)),+],
                others: concat!($($others)?),
            },)+
        ];
    };
}

/// Labels that are a name or a number of the house, which nobody can list beforehand.
pub const FREE: &[(&str, &str)] = &[
    ("broadcaster", "its name in the configuration"),
    ("code", "the number that a connection was closed with, as WebSockets have it; those that clients make up are one"),
    ("endpoint", "its path; of operators `admin/` and what follows"),
    ("le", "a bound of a histogram"),
    ("plugin", "its name"),
    ("sha256", "of the plugin's file"),
    ("shard", "its number"),
    ("stream", "its name; empty where none was named that there is"),
    ("version", "of the daemon, or of a plugin"),
];

labels! {
    /// Why a connection was not let in.
    Unwelcome = "reason" of ["broadcastd_connections_refused_total"] {
        Draining = "draining", "the daemon was stopping";
        Handshake = "handshake", "what was asked opens neither a WebSocket nor server-sent events";
        HeaderTimeout = "header_timeout", "the head of its first request, or its encryption, took too long";
        Host = "host", "it asked by a foreign name";
        HttpPerIp = "http_per_ip", "its address had too many connections that speak HTTP";
        Identity = "identity", "its token proved nothing, or it had none where one is needed";
        IdentityRate = "identity_rate", "too many tokens of its address proved nothing";
        MaxConnections = "max_connections", "there were as many as there may be";
        MaxOperators = "max_operators", "operators had as many as they may have";
        MaxPerIp = "max_per_ip", "its address had as many as it may have";
        Origin = "origin", "a web page that may not come";
        ProxyProtocol = "proxy_protocol", "its PROXY head was missing, wrong or late";
        Tls = "tls", "it could not agree on encryption";
    }

    /// Why what a trusted proxy says is of no use.
    Unusable = "reason" of ["broadcastd_clients_unknown_total"] {
        Missing = "missing", "it names nobody";
        Malformed = "malformed", "what it names is no address";
        TooLong = "too_long", "it names too many proxies on the way";
        // What is loopback for a proxy is not this machine, and the daemon asks less of programs on this machine.
        Local = "local", "no client on a network has such an address";
    }

    /// A wire format.
    Dialect = "dialect" of [
        "broadcastd_connections",
        "broadcastd_deliveries_total",
        "broadcastd_events_untold_total",
        "broadcastd_no_source_untold_total"
    ] {
        Native = "native", "the daemon's own, over WebSocket";
        Sse = "sse", "the daemon's own, as server-sent events";
        Streams = "streams", "for clients that were there before the daemon: any stream";
        Spc = "spc", "for clients that were there before the daemon: control charts";
        Fastws = "fastws", "for clients that were there before the daemon: bars";
        User = "user", "for clients that were there before the daemon: events of one user";
    }

    /// What becomes of a connection that fell behind.
    Policy = "policy" of ["broadcastd_lagged_total"] {
        Resync = "resync", "it gets a fresh snapshot when it has taken the rest";
        Disconnect = "disconnect", "it is closed";
        Latest = "latest", "newer events took the places of those that waited";
    }

    /// What had to go because memory was short.
    Relief = "what" of ["broadcastd_memory_relieved_total"] {
        Outbox = "outbox", "what waited for a connection";
        History = "history", "half of a history";
        Publish = "publish", "an event, which was refused";
    }

    /// What a subscription with a position got.
    Resume = "outcome" of ["broadcastd_resumes_total"] {
        Recovered = "recovered", "all that was missed";
        Snapshot = "snapshot", "a snapshot, since some of it was gone";
    }

    /// What a client asks.
    Kind = "kind" of ["broadcastd_commands_total"] {
        Auth = "auth", "shows a token";
        Subscribe = "subscribe", "wants events";
        Unsubscribe = "unsubscribe", "wants them no longer";
        Snapshot = "snapshot", "wants a fresh snapshot";
        Publish = "publish", "publishes an event";
        Command = "command", "asks a broadcaster to do something, also over HTTP";
        Streams = "streams", "wants to know which streams there are";
        Ping = "ping", "wants an answer";
        Denied = "denied", "gives a command that its dialect does not let it give";
        Unreadable = "unreadable", "is no command";
    }

    /// How a command ended well.
    Ended = "outcome" of ["broadcastd_commands_total"]
        or "or the `code` of the [error](protocol.md#errors) that was answered; of `command` also one of those [over HTTP](protocol.md#commands-over-http)"
    {
        Ok = "ok", "it was done";
    }

    /// Why an answer to a command was not taken.
    Untaken = "reason" of ["broadcastd_replies_refused_total"] {
        Foreign = "foreign", "the instance was not asked";
        Double = "double", "it was answered before";
        Late = "late", "the deadline had passed";
        Closed = "closed", "the instance was no longer in office";
        Invalid = "invalid", "the result was no JSON";
        TooLarge = "too_large", "it was larger than an answer may be";
    }

    /// Why an event from outside was not accepted.
    Declined = "reason" of ["broadcastd_ingest_rejected_total"] {
        InvalidJson = "invalid_json", "a whole body was no JSON, counted once";
        Invalid = "invalid", "it was not as an event must be";
        UnknownStream = "unknown_stream", "there is no stream of that name";
        Forbidden = "forbidden", "its publisher may not, or the stream takes none from outside";
        Full = "full", "there was no room";
        RateLimited = "rate_limited", "its publisher was too fast";
    }

    /// What became of log lines that clients sent.
    Heard = "outcome" of ["broadcastd_client_log_lines_total"] {
        Kept = "kept", "they are in the log";
        BelowWarn = "below_warn", "they were no warnings";
        TooMany = "too_many", "their address had sent too many";
        Unreadable = "unreadable", "a request could not be read, counted once";
    }

    /// How a broadcaster failed.
    Failure = "reason" of ["broadcastd_broadcaster_errors_total"] {
        Panic = "panic", "a call into the plugin panicked";
        Failed = "failed", "a call into the plugin said that it failed";
        Stuck = "stuck", "a call into the plugin did not return";
        StateNotWritten = "state_not_written", "the state file could not be written";
        StateSetAside = "state_set_aside", "the saved state was of no use and put aside";
        RolledBack = "rolled_back", "a new file failed on probation, and the one before came back";
    }

    /// How grave a line of the log is.
    Level = "level" of ["broadcastd_plugin_log_lines_left_out_total"] {
        Error = "ERROR", "something failed";
        Warn = "WARN", "something is odd";
        Info = "INFO", "something happened";
        Debug = "DEBUG", "for whoever looks closer";
        Trace = "TRACE", "for whoever looks very close";
    }

    /// A call into a plugin.
    Call = "call" of ["broadcastd_plugin_call_duration_seconds", "broadcastd_plugin_slow_calls_total"] {
        Create = "create", "makes an instance";
        RestoreState = "restore_state", "gives it the state that was saved";
        Start = "start", "has it begin";
        OnEvents = "on_events", "tells it what happened: timers, demand, inputs, commands";
        Reconfigure = "reconfigure", "gives it other settings";
        SaveState = "save_state", "asks for its state";
        Destroy = "destroy", "ends it";
    }

    /// How a broadcaster is.
    State = "state" of ["broadcastd_broadcaster_state"] {
        Starting = "starting", "it begins";
        Running = "running", "it runs";
        Quiet = "quiet", "it handed over its state, and waits whether it goes on";
        BackingOff = "backing_off", "it failed, and starts again after a pause";
        Quarantined = "quarantined", "it failed too often, and stays away until it is corrected";
        Stuck = "stuck", "a call into the plugin does not return";
        Stopped = "stopped", "it does not run, and shall not";
    }

    /// What came of a reload.
    Reload = "outcome" of ["broadcastd_config_reloads_total"] {
        Applied = "applied", "it took effect";
        Refused = "refused", "the configuration has mistakes, and nothing was changed";
    }
}

impl From<tracing::Level> for Level {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{COUNTERS, GAUGES, HISTOGRAMS};
    use super::*;

    #[test]
    fn each_label_is_of_metrics_that_there_are_and_has_each_value_once() {
        let all = [COUNTERS, GAUGES, HISTOGRAMS].concat();
        for Label { name, metrics, values, .. } in LABELS {
            assert!(metrics.iter().all(|metric| all.iter().any(|(known, _)| known == metric)), "{metrics:?}");
            let texts: BTreeSet<&str> = values.iter().map(|(text, _)| *text).collect();
            assert_eq!(texts.len(), values.len(), "{name} of {metrics:?}");
            assert!(FREE.iter().all(|(free, _)| free != name), "{name} is free or not");
        }
    }
}
