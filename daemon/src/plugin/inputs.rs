//! What a broadcaster listens to: where it stands in each stream, and the next events of them in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::told::Told;
use crate::event::Position;
use crate::hub::inputs::ListenerId;
use crate::hub::signal::Signal;
use crate::hub::stream::Stream;
use crate::metrics;

/// The streams of one broadcaster. Dropping it ends the listening.
#[derive(Default)]
pub struct Inputs(Vec<Input>);

struct Input {
    stream: Arc<Stream>,
    listener: ListenerId,
    /// The last input that the broadcaster handled. It stays where it was saved, in another epoch, too, until the
    /// broadcaster was told what is gone behind it.
    handled: Position,
    /// An earlier instance handled inputs up to here.
    repeats_to: u64,
    /// What is published behind this is not read any more.
    last: u64,
}

impl Inputs {
    /// Begins to listen, behind the saved positions or with what comes from now on.
    pub fn listen(streams: &[Arc<Stream>], signal: &Arc<Signal>, saved: &BTreeMap<String, Position>) -> Self {
        let listen = |stream: &Arc<Stream>| {
            let saved = saved.get(&**stream.name());
            let listener = stream.listen(signal.clone(), saved);
            let now = || Position { epoch: stream.epoch().clone(), seq: stream.inputs_read_up_to(listener) };
            Input {
                stream: stream.clone(),
                listener,
                handled: saved.cloned().unwrap_or_else(now),
                repeats_to: 0,
                last: u64::MAX,
            }
        };
        Self(streams.iter().map(listen).collect())
    }

    /// Adds the next events, at most `max`, fairly among the streams. Whether there may be more at once.
    pub fn read(&mut self, max: usize, told: &mut Vec<Told>) -> bool {
        let share = max.div_ceil(self.0.len().max(1));
        let mut more = false;
        for input in &self.0 {
            let mut batch = input.stream.read_inputs(input.listener, share);
            let from = || input.stream.clone();
            told.extend(batch.gap.map(|(first, last)| {
                metrics::gap_told(input.stream.name());
                Told::Gap { from: from(), first, last }
            }));
            more |= batch.events.len() == share;
            batch.events.retain(|event| event.number <= input.last);
            told.extend(batch.events.into_iter().map(|input| Told::Message { from: from(), input }));
        }
        more
    }

    /// Whether what is kept for it may soon keep publishers out.
    pub fn are_too_many(&self) -> bool {
        self.0.iter().any(|input| {
            let kept = input.stream.figures().input_bytes;
            kept.saturating_mul(2) > input.stream.settings().listen_buffer
        })
    }

    /// From here on only what is published by now is read.
    pub fn end_here(&mut self) {
        self.0.iter_mut().for_each(|input| input.last = input.stream.newest_input());
    }

    /// Everything in `told` was handled. How many inputs that were.
    pub fn handled(&mut self, told: &[Told]) -> usize {
        let mut count = 0;
        for one in told {
            let (stream, seq) = match one {
                Told::Message { from, input } => (from, input.number),
                Told::Gap { from, last, .. } => (from, *last),
                _ => continue,
            };
            if let Some(input) = self.0.iter_mut().find(|input| Arc::ptr_eq(&input.stream, stream)) {
                input.handled = Position { epoch: stream.epoch().clone(), seq };
                count += 1;
            }
        }
        count
    }

    pub fn positions(&self) -> BTreeMap<String, Position> {
        self.0.iter().map(|input| (input.stream.name().to_string(), input.handled.clone())).collect()
    }

    /// What was handled is saved: the streams may let go of it.
    pub fn saved(&self) {
        for input in &self.0 {
            input.stream.saved_inputs(input.listener, input.seq());
        }
    }

    /// Back to what was saved, and where that is.
    pub fn rewind(&mut self, saved: &BTreeMap<String, Position>) {
        for input in &mut self.0 {
            input.repeats_to = input.repeats_to.max(input.stream.inputs_read_up_to(input.listener));
            input.stream.rewind_inputs(input.listener);
            if let Some(saved) = saved.get(&**input.stream.name()) {
                input.handled = saved.clone();
            }
        }
    }

    /// What the broadcaster's own stream has taken tells, too, how far an earlier instance came.
    pub fn repeat_what_led_to(&mut self, own: &Stream) {
        for input in &mut self.0 {
            let newest = own.newest_cause(input.stream.name(), input.stream.epoch());
            input.repeats_to = input.repeats_to.max(newest);
        }
    }

    /// Whether the next inputs are some that an earlier instance has handled.
    pub fn are_repeated(&self) -> bool {
        self.0.iter().any(|input| input.seq() < input.repeats_to)
    }
}

impl Input {
    /// The number that was handled in the present epoch.
    fn seq(&self) -> u64 {
        if self.handled.epoch == *self.stream.epoch() { self.handled.seq } else { 0 }
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        for input in &self.0 {
            input.stream.unlisten(input.listener);
        }
    }
}
