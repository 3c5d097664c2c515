//! What a broadcaster listens to: where it stands in each stream, and the next events of them in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::told::Told;
use crate::event::Position;
use crate::hub::inputs::ListenerId;
use crate::hub::signal::Signal;
use crate::hub::stream::Stream;

/// The streams of one broadcaster. Dropping it ends the listening.
#[derive(Default)]
pub struct Inputs(Vec<Input>);

struct Input {
    stream: Arc<Stream>,
    listener: ListenerId,
    /// The number of the last input that the broadcaster handled.
    handled: u64,
}

impl Inputs {
    /// Begins to listen, behind the saved positions or with what comes from now on.
    pub fn listen(streams: &[Arc<Stream>], signal: &Arc<Signal>, saved: &BTreeMap<String, Position>) -> Self {
        let listen = |stream: &Arc<Stream>| {
            let listener = stream.listen(signal.clone(), saved.get(&**stream.name()));
            Input { stream: stream.clone(), listener, handled: stream.inputs_read_up_to(listener) }
        };
        Self(streams.iter().map(listen).collect())
    }

    /// Adds the next events, at most `max`, fairly among the streams. Whether there may be more at once.
    pub fn read(&mut self, max: usize, told: &mut Vec<Told>) -> bool {
        let share = max.div_ceil(self.0.len().max(1));
        let mut more = false;
        for input in &self.0 {
            let batch = input.stream.read_inputs(input.listener, share);
            let stream = input.stream.name();
            if let Some((from, to)) = batch.gap {
                told.push(Told::Gap { stream: stream.clone(), from, to });
            }
            more |= batch.events.len() == share;
            told.extend(batch.events.into_iter().map(|input| Told::Message { stream: stream.clone(), input }));
        }
        more
    }

    /// Everything in `told` was handled. How many inputs that were.
    pub fn handled(&mut self, told: &[Told]) -> usize {
        let mut count = 0;
        for one in told {
            let Told::Message { stream, input } = one else { continue };
            if let Some(from) = self.0.iter_mut().find(|from| from.stream.name() == stream) {
                from.handled = input.number;
                count += 1;
            }
        }
        count
    }

    pub fn positions(&self) -> BTreeMap<String, Position> {
        let position = |input: &Input| Position { epoch: input.stream.epoch().clone(), seq: input.handled };
        self.0.iter().map(|input| (input.stream.name().to_string(), position(input))).collect()
    }

    /// What was handled is saved: the streams may let go of it.
    pub fn saved(&self) {
        for input in &self.0 {
            input.stream.saved_inputs(input.listener, input.handled);
        }
    }

    /// Back to what was saved.
    pub fn rewind(&mut self) {
        for input in &mut self.0 {
            input.stream.rewind_inputs(input.listener);
            input.handled = input.stream.inputs_read_up_to(input.listener);
        }
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        for input in &self.0 {
            input.stream.unlisten(input.listener);
        }
    }
}
