//! The state file of a broadcaster: written on a thread of its own, so that a slow disk does not hold up its events.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvError, TryRecvError};
use std::thread;

use super::Runner;
use crate::hub::signal::Wakes;
use crate::metrics::labels::Failure;
use crate::plugin::broadcaster::Tenure;
use crate::plugin::saved::Checkpoint;
use crate::plugin::timing::nanos;

/// A file that is being written; there is never a second one beside it.
pub type Writing = Receiver<io::Result<()>>;

impl Runner {
    /// Begins to write the newest checkpoint when that is due. A disk that is still busy with the one before is left in
    /// peace: when it is done there will be a newer one.
    pub(super) fn keep_file(&mut self) {
        match self.writing.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => {}
            Some(ended) => self.finished(ended.map_err(|_| RecvError)),
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
        let (outcome, writing) = mpsc::sync_channel(1);
        let write = move || {
            let is_wanted = || shared.lock().tenure == Tenure::Present;
            let names = (&*shared.desk.name, &*shared.library.note.id);
            let written = shared.saved.write_if(names, &checkpoint, is_wanted);
            let _nobody_waits_any_more = outcome.send(written);
            shared.signal.raise(Wakes::CONTROL); // the outcome is there before somebody looks for it
        };
        self.since.unsaved = false;
        match thread::Builder::new().name("state".to_owned()).spawn(write) {
            Ok(_) => self.writing = Some(writing),
            Err(error) => self.not_written(&error),
        }
    }

    /// Waits for a file that is being written, so that a successor never writes beside it.
    pub(super) fn finish_file(&mut self) {
        if let Some(ended) = self.writing.as_ref().map(Receiver::recv) {
            self.finished(ended);
        }
    }

    fn finished(&mut self, ended: Result<io::Result<()>, RecvError>) {
        self.writing = None;
        if let Err(error) = ended.unwrap_or_else(|_| Err(io::Error::other("its thread ended early"))) {
            self.not_written(&error);
        }
    }

    fn not_written(&mut self, error: &io::Error) {
        self.since.unsaved = true;
        let message = format!("state cannot be written: {error}; see the state directory");
        self.shared.tell_failure(Failure::StateNotWritten, &message);
    }
}
