//! What there is to tell a broadcaster at a moment, whoever runs it.

use std::time::Duration;

use super::demand::Demand;
use super::port::Port;
use super::timing::nanos;
use super::told::Told;
use crate::hub::signal::Wakes;

/// Events in one call: enough to make the border cheap, few enough that a call stays short.
pub const MAX_BATCH: usize = 256;

/// All but commands and inputs, which come behind, so that a broadcaster makes room before it is fed. `linger` is how
/// long the end of a demand is not told.
pub fn gather(port: &Port, demand: &mut Demand, wakes: Wakes, linger: Duration) -> Vec<Told> {
    let now = port.desk().clock.mono_ns();
    let mut told = Vec::new();
    if wakes.has(Wakes::WRITABLE) {
        port.unblock();
        told.push(Told::Writable);
    }
    if wakes.has(Wakes::WAKE) {
        told.push(Told::Wake);
    }
    while told.len() < MAX_BATCH
        && let Some(timer) = port.take_due_timer(now)
    {
        told.push(Told::Timer(timer));
    }
    if wakes.has(Wakes::DEMAND)
        && let Some(stream) = port.desk().stream.get()
    {
        let until = now.saturating_add(nanos(linger));
        let changed = stream.take_demand().into_iter();
        told.extend(changed.filter_map(|(pattern, count)| demand.changed(pattern, count, until)));
    }
    told.extend(demand.take_ended(now));
    told
}
