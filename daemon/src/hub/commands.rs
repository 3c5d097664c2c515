//! What clients and operators ask of broadcasters: commands by name, checked, handed over, and answered exactly once.

mod queue;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::queue::{Asked, Commands, Refused, Seat};
pub use self::shape::Shape;
use super::Hub;
use super::names::Names;
use super::signal::Signal;
use crate::metrics;
use crate::metrics::labels::Ended;

/// Commands of one broadcaster that have no answer: more than people and their programs ask at once, few enough that the
/// last one still has a chance before its deadline.
pub const MAX_OPEN: usize = 256;
/// Of these, commands of one principal: a quarter, so that nobody can take all places; more than the people behind one
/// program have open at once.
pub const MAX_OPEN_OF_ONE: usize = 64;
/// How long a broadcaster may take: who clicked still waits, and what programs wait for HTTP is longer.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// When whoever was sent away for want of room may try again: by then half of those that wait have ended, answered or not.
pub const AGAIN: Duration = Duration::from_secs(5);
/// The bytes of a command's payload: a command names things, it does not carry them.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;
/// The bytes of a command's result: as many as an event's payload may have.
pub const MAX_RESULT_BYTES: usize = 1 << 20;
/// What a log line shows of the names in a command, which are the caller's: every real name fits.
const MAX_LOGGED_NAME: usize = 64;

/// The commands of one broadcaster by name, as its plugin declares them.
pub type Declared = BTreeMap<String, Spec>;

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub shape: Shape,
    /// What whoever asks must be permitted, `alerts.acknowledge`.
    pub permission: String,
}

/// What somebody asks of a broadcaster.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// As whoever asks calls it.
    pub broadcaster: &'a str,
    /// What that may be beside a broadcaster's own name.
    pub names: &'a Names,
    pub command: &'a str,
    /// JSON; empty stands for `null`.
    pub payload: Bytes,
    /// The user of the verified identity that asks.
    pub principal: &'a str,
}

/// What becomes of a command: JSON, or why not.
pub type Outcome = Result<Bytes, Failure>;

/// Takes the outcome, once: on the broadcaster's thread, on that of the deadlines, or on one that ends the broadcaster. So
/// it only hands over.
pub type Answered = Box<dyn FnOnce(Outcome) + Send>;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// JSON pointer into the payload, or empty.
    pub pointer: String,
    /// For people; lower case, no full stop.
    pub message: String,
}

/// The sort of a failure, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    UnknownBroadcaster,
    UnknownCommand,
    /// The permission is missing, or the broadcaster says that this may not be done.
    Forbidden,
    /// The payload is wrong.
    Invalid,
    TooLarge,
    /// Too many commands wait, or a bound of the broadcaster's own was reached; try again.
    Full,
    /// The broadcaster does not run, or ended before it answered.
    Unavailable,
    /// It did not answer in time; what it does about the command all the same is not known.
    Deadline,
    /// What the command names does not exist.
    NotFound,
    /// What the command wants is at odds with how things are, such as to acknowledge twice.
    Conflict,
    /// The broadcaster could not do it.
    Failed,
}

impl Hub {
    /// Asks, if the caller may: `may` tells whether it has a permission. Either the command is refused here and now, or
    /// `answered` takes the outcome, within the deadline. Never waits. However it ends, the log tells who asked for what.
    pub fn command(&self, ask: Ask<'_>, may: impl Fn(&str) -> bool, answered: Answered) -> Result<(), Failure> {
        let (called, command, principal) = (ask.broadcaster, ask.command, ask.principal);
        let broadcaster = ask.names.name_of(called);
        let commands = self.stream(broadcaster).map(|stream| stream.commands().clone());
        let asked = match commands.filter(|commands| commands.are_declared()) {
            Some(commands) => commands.submit(ask, &may, answered, Instant::now()),
            None => Err(self.unknown_broadcaster(called, &may)),
        };
        asked.inspect_err(|failure| tell(principal, broadcaster, command, Err(failure.reason)))
    }

    /// Answers what should have been answered by now. When to call again: until then, or until the signal is raised.
    pub fn expire_commands(&self, now: Instant) -> Option<Instant> {
        self.streams().iter().filter_map(|stream| stream.commands().expire(now)).min()
    }

    /// Is raised when there is a deadline to wait for and was none.
    pub fn command_deadlines(&self) -> &Arc<Signal> {
        &self.common.deadlines
    }

    fn unknown_broadcaster(&self, name: &str, may: &dyn Fn(&str) -> bool) -> Failure {
        let streams = self.streams();
        let takes_some = streams.iter().filter(|stream| !stream.commands().names(may).is_empty());
        let known: Vec<&str> = takes_some.map(|stream| &**stream.name()).collect();
        let message = format!("no broadcaster \"{}\" takes commands; you may ask {}", shown(name), listed(&known));
        Failure::new(Reason::UnknownBroadcaster, message)
    }
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, pointer: String::new(), message: message.into() }
    }

    /// When it may be tried again, where only room was missing.
    pub fn again(&self) -> Option<Duration> {
        (self.reason == Reason::Full).then_some(AGAIN)
    }
}

impl Reason {
    /// As programs, logs and metrics know it.
    pub fn text(self) -> &'static str {
        match self {
            Self::UnknownBroadcaster => "unknown_broadcaster",
            Self::UnknownCommand => "unknown_command",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid_params",
            Self::TooLarge => "message_too_large",
            Self::Full => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Failed => "command_failed",
        }
    }
}

/// Tells how a command ended, in the log and in the metrics. What it carried, and what was answered, is nobody's business.
fn tell(principal: &str, broadcaster: &str, command: &str, outcome: Result<(), Reason>) {
    let outcome = outcome.map_err(Reason::text);
    metrics::asked(outcome);
    let outcome = outcome.err().unwrap_or(Ended::Ok.text());
    let (broadcaster, command) = (shown(broadcaster), shown(command));
    tracing::info!(target: "audit", principal, broadcaster, command, outcome, "command");
}

/// A name that came from outside, as a sentence or a line can hold it.
fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_LOGGED_NAME)].escape_debug().to_string()
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
