//! What time it is: as late as the newest input says, so that who publishes can foretell what time does.

use std::sync::atomic::{AtomicI64, Ordering};

use broadcastd_plugin_api::Context;

use crate::time::Time;

/// It is the library's and not an instance's: it outlives each panic.
static NOW: AtomicI64 = AtomicI64::new(0);

pub fn now(_: &Context<'_>) -> Time {
    Time::of_nanos(NOW.load(Ordering::Relaxed))
}

pub fn set(unix_ns: i64) {
    NOW.store(unix_ns, Ordering::Relaxed);
}
