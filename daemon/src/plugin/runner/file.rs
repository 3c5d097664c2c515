//! The state file of a broadcaster: written on a thread of its own, so that a slow disk does not hold up its events.

use std::io;
use std::thread::{self, JoinHandle};

use super::Runner;
use crate::hub::signal::Wakes;
use crate::plugin::broadcaster::Tenure;
use crate::plugin::saved::Checkpoint;
use crate::plugin::timing::nanos;

/// A file that is being written; there is never a second one beside it.
pub type Writing = JoinHandle<io::Result<()>>;

impl Runner {
    /// Begins to write the newest checkpoint when that is due. A disk that is still busy with the one before is left in
    /// peace: when it is done there will be a newer one.
    pub(super) fn keep_file(&mut self) {
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish_file();
        }
        let is_due = self.since.unsaved && self.now() - self.since.file_at >= nanos(self.shared.timing.save_every);
        if is_due && self.writing.is_none() {
            self.begin_file();
        }
    }

    /// Writes what is not written, and waits until it is.
    pub(super) fn write_file(&mut self) {
        self.finish_file();
        if self.since.unsaved {
            self.begin_file();
            self.finish_file();
        }
    }

    fn begin_file(&mut self) {
        self.since.file_at = self.now();
        let inner = self.shared.lock();
        if inner.tenure != Tenure::Present || inner.checkpoint == Checkpoint::default() {
            return;
        }
        let checkpoint = inner.checkpoint.clone();
        drop(inner);
        let shared = self.shared.clone();
        let write = move || {
            let written = shared.saved.write(&shared.desk.name, &shared.library.note.id, &checkpoint);
            shared.signal.raise(Wakes::CONTROL); // its outcome is looked at
            written
        };
        self.since.unsaved = false;
        match thread::Builder::new().name("state".to_owned()).spawn(write) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => self.not_written(&error),
        }
    }

    /// Waits for a file that is being written, so that a successor never writes beside it.
    pub(super) fn finish_file(&mut self) {
        if let Some(Ok(Err(error))) = self.writing.take().map(JoinHandle::join) {
            self.not_written(&error);
        }
    }

    fn not_written(&mut self, error: &io::Error) {
        self.since.unsaved = true;
        let message = format!("state cannot be written: {error}; see the state directory");
        self.shared.tell_failure("state_not_written", &message);
    }
}
