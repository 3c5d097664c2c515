//! What one check says to whoever runs it: what is called next and how long that may take, and in the end how it went.
//! Each is a line of JSON, written before the plugin can end the process.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plugin::timing::Timing;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass(String),
    Fail(String),
    #[serde(rename = "n/a")]
    NotApplicable(String),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Doing { what: String, within: Duration },
    Done(Outcome),
}

/// The way back to who runs the check.
#[derive(Clone)]
pub struct Report(Arc<Mutex<Inner>>);

struct Inner {
    out: std::fs::File,
    /// Under which circumstances calls are made, if that is not seen by their names.
    circumstances: String,
}

impl Report {
    /// Takes the standard output for itself: what the plugin prints goes where errors go.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Inner { out: own_output()?, circumstances: String::new() }))))
    }

    /// Says under which circumstances the next calls are made.
    pub fn under(&self, circumstances: &str) {
        self.with(|inner| circumstances.clone_into(&mut inner.circumstances));
    }

    pub fn doing(&self, call: &str) {
        self.with(|inner| {
            let what = match &*inner.circumstances {
                "" => call.to_owned(),
                circumstances => format!("{call}, {circumstances}"),
            };
            inner.say(&Line::Doing { what, within: within(call) });
        });
    }

    pub fn done(&self, outcome: Outcome) {
        self.with(|inner| inner.say(&Line::Done(outcome)));
    }

    fn with(&self, with: impl FnOnce(&mut Inner)) {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Inner {
    fn say(&mut self, line: &Line) {
        let mut text = serde_json::to_string(line).expect("a line is plain data");
        text.push('\n');
        _ = self.out.write_all(text.as_bytes()); // nobody may listen any more
    }
}

/// The standard output, which from here on is nobody else's: whoever prints there prints to the error output.
pub fn own_output() -> io::Result<std::fs::File> {
    let own = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?; // behind the three that everybody has
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(own.into())
}

/// How long the daemon waits for a call.
fn within(call: &str) -> Duration {
    let timing = Timing::default();
    match call {
        "its entry" | "create" | "validate" | "stream_with" => timing.create,
        "save_state" | "restore_state" => timing.hand_over,
        _ => timing.stuck_call,
    }
}
