//! What a broadcaster under test starts from, and the inputs it is told.
use serde::Serialize;
use serde_json::Value;

use super::host::TABLE;

/// What a broadcaster starts from. `Setup { unix_ns: …, ..Setup::new(settings) }`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The table `settings`, as JSON.
    pub settings: Value,
    /// The wall clock at the start, nanoseconds since 1970; 2026-01-01T00:00:00Z unless set.
    pub unix_ns: i64,
    /// Saved state to restore before the start: its version and bytes.
    pub state: Option<(u32, Vec<u8>)>,
    /// Bytes of the host's table that the plugin may see: an older host. It holds for the whole test program, because
    /// a process has one host; so such a test is alone in its file.
    pub host_size: u32,
}

impl Setup {
    /// Settings and nothing else.
    pub fn new(settings: Value) -> Self {
        let host_size = TABLE.size;
        Setup { settings, unix_ns: 1_767_225_600_000_000_000, state: None, host_size }
    }
}

/// An event of a stream that the broadcaster listens to. `Input { key: "k", ..Input::new("ticks:A", "tick", &tick) }`.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The full topic; the part before the first `:` is the stream.
    pub topic: &'a str,
    /// What happened.
    pub kind: &'a str,
    /// Identity inside the topic; empty = none.
    pub key: &'a str,
    /// Private streams: the user it is for.
    pub audience: &'a str,
    /// The clients' own trading session; empty = none.
    pub session_id: &'a str,
    /// As published; need not be JSON.
    pub payload: Vec<u8>,
    /// Its number; the stream's last + 1 unless set.
    pub seq: Option<u64>,
    /// Nanoseconds since 1970; the clock's unless set.
    pub unix_ns: Option<i64>,
}

impl<'a> Input<'a> {
    /// # Panics
    /// When the payload cannot be JSON.
    pub fn new(topic: &'a str, kind: &'a str, payload: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(payload).expect("a test's payload is JSON");
        Input { topic, kind, key: "", audience: "", session_id: "", payload, seq: None, unix_ns: None }
    }
}
