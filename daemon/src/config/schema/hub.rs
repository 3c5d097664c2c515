//! `[hub]`: limits of connections, of what is kept and of what may wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Duration, Size};

/// Limits of connections, of what is kept and of what may wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// Connections at a time, 1 to 10 000 000; default 10 000. Capped with a warning at the limit of descriptors.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: u32,
    /// WebSocket connections from one address, and as many that speak HTTP, 1 to 10 000 000; default 100. Loopback is exempt.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_per_ip: u32,
    /// Subscriptions of one connection, 1 to 100 000; default 200.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_subscriptions: u32,
    /// Unsent bytes of one connection before the stream's lag policy applies, 4KiB to 1GiB; default 1MiB.
    #[schemars(range(min = 4096, max = 1_073_741_824))]
    pub outbox: Size,
    /// Bytes of everything unsent and kept, shared bytes once, 16MiB to 1TiB; default 1GiB. When it runs short, the
    /// connections with most waiting let go first, then histories; beyond it publishers are told 429.
    #[schemars(range(min = 16_777_216, max = 1_099_511_627_776u64))]
    pub memory: Size,
    /// How a dead connection is found.
    pub ping: Ping,
    /// How fast one client may give commands; those beyond are refused.
    pub rate: Rate,
    /// The largest message from a client, 128B to 16MiB; default 64KiB.
    #[schemars(range(min = 128, max = 16_777_216))]
    pub max_message: Size,
    /// How long a client may take for its request's header, 100ms to 5m; default 10s.
    #[schemars(range(min = 0.1, max = 300))]
    pub header_timeout: Duration,
    /// What each stream keeps for those who come back, unless it says otherwise.
    pub history: History,
    /// Input kept for listeners, 4KiB to 64GiB; default 64MiB. When it is full, publishers are told 429.
    #[schemars(range(min = 4096, max = 68_719_476_736u64))]
    pub listen_buffer: Size,
    /// How long deliveries may be gathered, 0ms to 1s, or "auto": the longer they take, the longer, up to 6ms. What comes
    /// after a pause goes at once. Default 0ms: every turn.
    pub flush: Flush,
    /// What is compressed for WebSocket clients that offer it.
    pub compression: Compression,
    /// Topics of one stream that have records or recent events, 1 to 10 000 000; default 10 000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_topics: u32,
    /// Records of one stream, 1 to 10 000 000; default 100 000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_records: u32,
}

/// How long a stream's events may be gathered before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Flush {
    /// The longer deliveries take, the longer.
    Auto(Auto),
    /// The least time between two deliveries.
    Every(#[schemars(range(max = 1))] Duration),
}

/// As the load demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    Auto,
}

/// How a dead connection is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ping {
    /// How often a quiet client is asked for a sign of life, 100ms to 1h; default 30s.
    #[schemars(range(min = 0.1, max = 3600))]
    pub every: Duration,
    /// After how long without one its connection is closed, longer than `every`, up to 1d; default 90s. Of a client of server-sent events, after how long it has taken nothing of what waits.
    #[schemars(range(min = 0.1, max = 86400))]
    pub drop_after: Duration,
}

/// How fast one client may give commands; those beyond are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Commands a second of one connection, 1 to 1 000 000; default 50.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub commands: u32,
    /// Commands at once after a pause, 1 to 1 000 000; default 100.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

/// What is compressed for clients that offer it: each event once for all of them, where that makes it smaller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// The smallest message that is compressed, 0B to 16MiB; default 512B.
    #[schemars(range(max = 16_777_216))]
    pub min_size: Size,
    /// How hard it is tried, from 1, the fastest, to 9; 0 agrees on no compression with anybody; default 1.
    #[schemars(range(min = 0, max = 9))]
    pub level: u8,
}

/// What a stream keeps for those who come back; whichever bound is met first counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Events, 0 to 10 000 000; default 1 000.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub events: u32,
    /// Bytes, up to 64GiB; default 16MiB.
    #[schemars(range(max = 68_719_476_736u64))]
    pub bytes: Size,
    /// Age, up to 365d; default 5m.
    #[schemars(range(max = 31_536_000))]
    pub age: Duration,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_per_ip: 100,
            max_subscriptions: 200,
            outbox: Size(1 << 20),
            memory: Size(1 << 30),
            ping: Ping::default(),
            rate: Rate::default(),
            max_message: Size(64 << 10),
            header_timeout: Duration::from_secs(10),
            history: History::default(),
            listen_buffer: Size(64 << 20),
            flush: Flush::Every(Duration::default()),
            compression: Compression::default(),
            max_topics: 10_000,
            max_records: 100_000,
        }
    }
}

impl Default for Ping {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), drop_after: Duration::from_secs(90) }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { commands: 50, burst: 100 }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self { min_size: Size(512), level: 1 }
    }
}

impl Default for History {
    fn default() -> Self {
        Self { events: 1_000, bytes: Size(16 << 20), age: Duration::from_secs(300) }
    }
}
