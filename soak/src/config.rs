//! The configurations of a run: what every one has, what changes from reload to reload, and such that must be refused.

use std::path::Path;

use crate::daemon::plugins;
use crate::ledger::Want;
use crate::truth::Pattern;

/// How long clients may take to leave when the daemon stops.
pub const DRAIN_SECONDS: u64 = 5;
/// After how many seconds of silence a client is let go: longer than any pause of those who come back to reading.
pub const DROP_AFTER_SECONDS: u64 = 8;
/// The smallest that may be configured, so that something has to go.
pub const MEMORY: &str = "16MiB";

/// Failures of the broadcaster that is there to fail, until it is left alone.
pub const FAILURES: u64 = 3;

/// The relays that are always there, the first one with a listener of its own.
pub const RELAYS: [&str; 2] = ["ticks", "quotes"];
/// A relay that comes and goes.
pub const GUEST: &str = "news";
/// A relay for a listener that takes its time.
pub const FED: &str = "fed";
/// What the crowd hears.
pub const CROWD: &str = "crowd";
/// All of a run, and some who are about to leave.
pub const MAX_CONNECTIONS: u64 = 12_000;
const WELL: &str = r#"mode = "well""#;
/// What the broadcaster that changes its mode does; `flood` has one of its own.
const MODES: [&str; 11] = [
    WELL,
    WELL,
    r#"mode = "panic""#,
    r#"mode = "error""#,
    r#"mode = "slow""#,
    r#"mode = "garbage""#,
    r#"mode = "degraded""#,
    r#"mode = "panic", at = "save""#,
    r#"mode = "panic", at = "drop""#,
    PANIC_IN_RESTORE,
    PANIC_IN_NEW,
];
/// With these a broadcaster cannot be replaced by one of its own kind, so that a reload that would is refused.
const PANIC_IN_RESTORE: &str = r#"mode = "panic", at = "restore""#;
const PANIC_IN_NEW: &str = r#"mode = "panic", at = "new""#;

/// What changes from reload to reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    mode: &'static str,
    bars_ms: u64,
    outbox: &'static str,
    max_subscriptions: u64,
    history: History,
    pub has_guest: bool,
    has_extra: bool,
    faulty_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    Long,
    Short,
    None,
}

impl Setup {
    /// What a run begins and ends with.
    pub fn calm() -> Self {
        Self {
            mode: WELL,
            bars_ms: 200,
            outbox: "256KiB",
            max_subscriptions: 200,
            history: History::Long,
            has_guest: true,
            has_extra: false,
            faulty_ms: 100,
        }
    }

    /// The same without anything kept but records.
    pub fn without_history() -> Self {
        Self { history: History::None, ..Self::calm() }
    }

    /// Another one: one of its settings is drawn anew.
    pub fn change(&mut self, random: &mut fastrand::Rng) {
        let pick = |random: &mut fastrand::Rng, from: &[u64]| from[random.usize(..from.len())];
        match random.u8(..8) {
            0..3 => self.mode = MODES[random.usize(..MODES.len())],
            3 => self.bars_ms = pick(random, &[100, 200, 500]),
            4 => {
                self.outbox = ["64KiB", "256KiB", "1MiB"][random.usize(..3)];
                self.max_subscriptions = pick(random, &[8, 50, 200]);
                self.history = if random.bool() { History::Long } else { History::Short };
            }
            5 => self.has_guest = !self.has_guest,
            6 => self.has_extra = !self.has_extra,
            _ => self.faulty_ms = pick(random, &[50, 100, 150]),
        }
    }

    pub fn text(&self, folder: &Path) -> String {
        let Self { outbox, max_subscriptions, .. } = self;
        let (plugins, [ticks, quotes]) = (plugins(folder).display().to_string(), RELAYS);
        let history = match self.history {
            History::Long => "{ events = 20_000, bytes = \"16MiB\", age = \"2m\" }",
            History::Short => "{ events = 500, bytes = \"1MiB\", age = \"20s\" }",
            History::None => "{ events = 0, bytes = 0, age = \"1s\" }",
        };
        let daemon = format!(
            "[server]
listen = [\"127.0.0.1:0\"]
drain = \"{DRAIN_SECONDS}s\"
shards = 2
[admin]
listen = \"127.0.0.1:0\"
[log]
format = \"json\"
[plugins]
dirs = [\"{plugins}\"]
[hub]
memory = \"{MEMORY}\"
outbox = \"{outbox}\"
max_connections = {MAX_CONNECTIONS}
max_subscriptions = {max_subscriptions}
header_timeout = \"2s\"
ping = {{ every = \"2s\", drop_after = \"{DROP_AFTER_SECONDS}s\" }}
history = {history}
[streams.{ticks}]
visible = true
lag = \"resync\"
[streams.{quotes}]
visible = true
lag = \"disconnect\"
[streams.{FED}]
[streams.{CROWD}]
visible = true
lag = \"resync\"
"
        );
        daemon + &self.broadcasters()
    }

    /// Everything that runs, and what comes and goes.
    fn broadcasters(&self) -> String {
        let Self { mode, bars_ms, faulty_ms, .. } = self;
        let [ticks, _] = RELAYS;
        let guest = if self.has_guest { format!("[streams.{GUEST}]\nvisible = true\n") } else { String::new() };
        let extra = if self.has_extra { "[broadcasters.extra]\nplugin = \"faulty\"\n" } else { "" };
        format!(
            "{guest}[broadcasters.bars]
plugin = \"bars\"
settings = {{ source = \"mock\", interval = \"{bars_ms}ms\", symbols = [\"A\", \"B\", \"C\", \"D\"], resolutions = [\"1S\", \"1\"] }}
[broadcasters.made]
plugin = \"bars\"
listen = [\"{ticks}\"]
settings = {{ source = \"ticks\", symbols = [\"*\"], resolutions = [\"1S\", \"1\"] }}
[broadcasters.well]
plugin = \"faulty\"
settings = {{ interval_ms = {faulty_ms} }}
[broadcasters.crashes]
plugin = \"faulty\"
settings = {{ {mode}, interval_ms = 500 }}
restart = {{ max = 1000, backoff = \"100ms..1s\" }}
[broadcasters.fails]
plugin = \"faulty\"
settings = {{ mode = \"error\", at = \"start\" }}
restart = {{ max = {FAILURES}, within = \"10s\", backoff = \"100ms..1s\" }}
[broadcasters.slow]
plugin = \"faulty\"
listen = [\"{FED}\"]
settings = {{ mode = \"slow\", interval_ms = 1000 }}
[broadcasters.flood]
plugin = \"faulty\"
settings = {{ mode = \"flood\", interval_ms = 10_000 }}
{extra}"
        )
    }

    pub fn may_be_refused(&self) -> bool {
        [PANIC_IN_RESTORE, PANIC_IN_NEW].contains(&self.mode)
    }

    /// What is in force after a refusal, with a mode that is not refused next.
    pub fn refused(&mut self, in_force: Self) {
        *self = Self { mode: WELL, ..in_force };
    }

    /// A text that must be refused, made of a good one. Never the same twice: the daemon takes a text that it has seen for
    /// no news.
    pub fn bad_text(&self, folder: &Path, random: &mut fastrand::Rng) -> String {
        let good = format!("{}# {}\n", self.text(folder), random.u64(..));
        match random.u8(..6) {
            0 => good.replace("[hub]", "[hub"),
            1 => good.replace("outbox =", "outbocks ="),
            2 => good.replace(&format!("drop_after = \"{DROP_AFTER_SECONDS}s\""), "drop_after = \"1s\""),
            3 => format!("{good}[broadcasters.nobody]\nplugin = \"nobody\"\n"),
            4 => format!(
                "{good}[broadcasters.refused]\nplugin = \"faulty\"\nsettings = {{ mode = \"invalid_settings\" }}\n"
            ),
            _ => format!(
                "{good}[broadcasters.refused]\nplugin = \"faulty\"\nsettings = {{ mode = \"panic\", at = \"validate\" }}\n"
            ),
        }
    }
}

/// A stream that a client may ask for, and what it can know of it.
pub fn random_wish(random: &mut fastrand::Rng) -> (&'static str, Want) {
    match random.u8(..40) {
        0..12 => (RELAYS[0], Want::Relay(Pattern::random(random))),
        12..20 => (RELAYS[1], Want::Relay(Pattern::random(random))),
        20..24 => (GUEST, Want::Relay(Pattern::random(random))),
        24..29 => ("bars", Want::Replaceable),
        29..32 => ("made", Want::Replaceable),
        32..34 => ("well", Want::Plain),
        34..36 => ("crashes", Want::Plain),
        36 => ("slow", Want::Plain),
        37 => ("flood", Want::Plain),
        38 => ("extra", Want::Plain),
        _ => ("fails", Want::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_text_differs_from_the_good_one() {
        let (setup, folder) = (Setup::calm(), Path::new("folder"));
        for seed in 0..100 {
            let bad = setup.bad_text(folder, &mut fastrand::Rng::with_seed(seed));
            assert_ne!(bad, setup.text(folder), "seed {seed}");
        }
    }
}
