//! Where a client of server-sent events is in each log that it hears: what it sends back when it returns.

use std::sync::Arc;

use crate::dialect::sse;
use crate::event::{LogId, Position};

#[derive(Debug, Default)]
pub struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    log: LogId,
    stream: Arc<str>,
    position: Position,
}

impl Places {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn hold(&mut self, log: LogId, stream: &Arc<str>, position: &Position) {
        match self.0.iter_mut().find(|place| place.log == log) {
            Some(place) => place.position = position.clone(),
            None => self.0.push(Place { log, stream: stream.clone(), position: position.clone() }),
        }
    }

    /// A number of a log where the client has a place.
    pub fn reach(&mut self, log: LogId, seq: u64) {
        if let Some(place) = self.0.iter_mut().find(|place| place.log == log) {
            place.position.seq = seq;
        }
    }

    pub fn give_up(&mut self, log: LogId) {
        self.0.retain(|place| place.log != log);
    }

    /// The line that tells the client all of it, and ends the block; only the end where there is nothing to tell.
    pub fn id(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return b"\n".to_vec();
        }
        sse::id(self.0.iter().map(|place| (&*place.stream, &place.position)))
    }
}
