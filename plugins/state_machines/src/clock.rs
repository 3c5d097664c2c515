//! What time it is.

use broadcastd_plugin_api::Context;

use crate::time::Time;

pub fn now(cx: &Context<'_>) -> Time {
    Time::of_nanos(cx.now_unix_ns())
}
