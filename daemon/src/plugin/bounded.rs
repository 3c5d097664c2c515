//! Calls into plugins outside of any broadcaster: the one who asks waits for a while, and not for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use broadcastd_plugin_api::abi;

use super::broadcaster::{fault, no_answer, thread_name};
use super::port::Fault;
use crate::metrics;

/// Calls on a thread of its own, which is left behind when the call does not return in time: it cannot be killed.
/// `name` is whose thread it is, `what` the call.
pub fn call<T: Send + 'static>(
    (name, what): (&str, &str),
    deadline: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (returned, result) = mpsc::sync_channel(1);
    let run = move || _ = returned.send(call()); // nobody may wait any more
    let started = thread::Builder::new().name(thread_name(name)).spawn(run);
    started.map_err(|error| no_thread(&error))?;
    result.recv_timeout(deadline).map_err(|_| {
        metrics::thread_abandoned(name);
        let late = no_answer(what, deadline);
        tracing::error!(name, "left behind: {}", late.message);
        late
    })
}

pub fn no_thread(error: &std::io::Error) -> Fault {
    fault(abi::E_LIMIT, format!("no thread can be started for it: {error}; see the limit on tasks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_left_behind() {
        assert_eq!(call(("a", "validate"), Duration::from_secs(30), || 7), Ok(7));
        let (release, hangs) = mpsc::channel::<()>();
        let late = call(("a", "validate"), Duration::from_millis(10), move || _ = hangs.recv()).unwrap_err();
        drop(release);
        assert_eq!(late.status, abi::E_CLOSED);
        assert_eq!(late.message, "the plugin did not return from validate within 10ms; it must not wait in a call");
    }
}
