//! What a plugin calls: the host's table behind functions that are safe to call.
#![expect(unsafe_code, reason = "this file calls the C functions of the host")]

use std::mem::size_of;
use std::sync::OnceLock;

use serde_json::json;

use crate::abi::{self, Bytes, HostApi, HostHandle, Msg, Status, Str};
use crate::failure::Failure;

/// The table of the host, as far as this plugin and that host both know it. There is one host in a process.
static API: OnceLock<HostApi> = OnceLock::new();

/// Keeps the host's table for good; the first one counts.
pub(super) fn keep_table(api: HostApi) {
    let _already_kept = API.set(api);
}

/// The handle of one broadcaster, or of the loader while a library is loaded. The host checks it at every call, so a
/// stale one is refused and never followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Host(*mut HostHandle);

// SAFETY: the handle is never followed on this side, and rule R4 allows host functions on any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// Calls a function of the table, or answers `$absent` where the host does not have it.
macro_rules! call {
    ($function:ident($($argument:expr),*), $absent:expr) => {
        match API.get().and_then(|api| api.$function) {
            // SAFETY: the table is the host's, read no further than its size; what is lent lives for the call.
            Some(function) => unsafe { function($($argument),*) },
            None => $absent,
        }
    };
}

impl Host {
    pub(crate) fn new(handle: *mut HostHandle) -> Self {
        Host(handle)
    }

    pub(crate) fn log(self, level: u32, target: &str, message: &str) {
        call!(log(self.0, level, Str::new(target), Str::new(message)), ());
    }

    /// The most verbose level that is wanted; a host that does not say wants `info`.
    pub(crate) fn log_level(self) -> u32 {
        call!(log_level(self.0), abi::LOG_INFO)
    }

    pub(crate) fn fail(self, status: Status, pointer: &str, message: &str) {
        call!(fail(self.0, status, Str::new(pointer), Str::new(message)), ());
    }

    /// How many of the messages were taken, or the failure of the first.
    pub(crate) fn publish(self, messages: &[Msg<'_>]) -> i64 {
        let closed = i64::from(abi::E_UNSUPPORTED);
        call!(publish(self.0, messages.as_ptr(), messages.len(), size_of::<Msg<'_>>()), closed)
    }

    pub(crate) fn demand(self, topic: &str) -> i64 {
        call!(demand(self.0, Str::new(topic)), 0)
    }

    pub(crate) fn reply(self, request: u64, status: Status, payload: &[u8]) -> Status {
        call!(reply(self.0, request, status, Bytes::new(payload)), abi::E_UNSUPPORTED)
    }

    /// Answers a command with a failure: its status, and `{"message", "pointer"}` as payload.
    pub(crate) fn refuse(self, request: u64, failure: &Failure) -> Status {
        let payload = json!({"message": failure.message(), "pointer": failure.pointer()});
        self.reply(request, failure.status(), payload.to_string().as_bytes())
    }

    pub(crate) fn timer_set(self, id: u64, delay_ns: i64, interval_ns: i64) -> Status {
        call!(timer_set(self.0, id, delay_ns, interval_ns), abi::E_UNSUPPORTED)
    }

    pub(crate) fn timer_clear(self, id: u64) -> Status {
        call!(timer_clear(self.0, id), abi::E_UNSUPPORTED)
    }

    pub(crate) fn wake(self) -> Status {
        call!(wake(self.0), abi::E_UNSUPPORTED)
    }

    /// An id above 0, or a failure.
    pub(crate) fn metric_open(self, kind: u32, name: &str, help: &str, labels: &str) -> i64 {
        let (name, help, labels) = (Str::new(name), Str::new(help), Str::new(labels));
        call!(metric_open(self.0, kind, name, help, labels), i64::from(abi::E_UNSUPPORTED))
    }

    /// Upper bounds of a histogram that is opened afterwards.
    pub(crate) fn metric_bounds(self, name: &str, bounds: &str) -> Status {
        call!(metric_bounds(self.0, Str::new(name), Str::new(bounds)), abi::E_UNSUPPORTED)
    }

    pub(crate) fn metric_record(self, metric: i64, value: f64) {
        call!(metric_record(self.0, metric, value), ());
    }

    pub(crate) fn health(self, health: u32, reason: &str) {
        call!(health(self.0, health, Str::new(reason)), ());
    }

    pub(crate) fn now_mono_ns(self) -> i64 {
        call!(now_mono_ns(self.0), 0)
    }

    pub(crate) fn now_unix_ns(self) -> i64 {
        call!(now_unix_ns(self.0), 0)
    }
}
