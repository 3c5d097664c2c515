//! Why a call failed: a status, where in the settings, and one sentence for the operator.
use std::fmt;

use crate::abi;

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Bad argument, settings or saved state.
    Invalid,
    /// It could not be done.
    Failed,
    /// Nobody here knows how.
    Unsupported,
    /// A bound was reached; the message says which.
    Limit,
    /// The instance is destroyed or being replaced.
    Closed,
    /// An answer to a command: what it names does not exist.
    NotFound,
    /// An answer to a command: what it wants is at odds with how things are, such as to acknowledge twice.
    Conflict,
    /// An answer to a command: the principal may not do this.
    Forbidden,
}

/// Why a call failed. The message is written for the operator: lower case, no full stop; it says the rule that was
/// broken and what to do next.
///
/// ```
/// use broadcastd_plugin_api::Failure;
/// let failure = Failure::at("/symbols/3", "unknown exchange `XX`; known ones are `US` and `DE`");
/// assert_eq!(failure.pointer(), "/symbols/3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    pointer: String,
    message: String,
    others: Vec<(String, String)>,
}

impl Failure {
    /// Something could not be done.
    pub fn new(message: impl Into<String>) -> Self {
        Failure::of(FailureKind::Failed, message)
    }

    /// A setting is wrong. `pointer` is a JSON pointer (RFC 6901) into the settings, `/symbols/3`; the operator reads
    /// it as file:line:column of config.toml.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { pointer: pointer.into(), ..Failure::of(FailureKind::Invalid, message) }
    }

    /// A failure of any kind, without a place.
    pub fn of(kind: FailureKind, message: impl Into<String>) -> Self {
        Failure { kind, pointer: String::new(), message: message.into(), others: Vec::new() }
    }

    /// Everything that is wrong with settings, so that the operator reads it at once; `Ok` when nothing is. Pairs of a
    /// pointer, as in [`Failure::at`], and a message. From [`crate::Broadcaster::validate`] each is shown at its place,
    /// up to the daemon's bound of 100; of other calls the first counts.
    ///
    /// ```
    /// use broadcastd_plugin_api::Failure;
    /// let wrong = [("/from", "no such state"), ("/to", "no such state")];
    /// let failure = Failure::all(wrong.map(|(pointer, why)| (pointer.to_owned(), why.to_owned()))).unwrap_err();
    /// assert_eq!(failure.to_string(), "/from: no such state; /to: no such state");
    /// assert!(Failure::all([]).is_ok());
    /// ```
    pub fn all(wrong: impl IntoIterator<Item = (String, String)>) -> Result<(), Self> {
        let mut wrong = wrong.into_iter();
        let Some((pointer, message)) = wrong.next() else { return Ok(()) };
        Err(Failure { others: wrong.collect(), ..Failure::at(pointer, message) })
    }

    /// What sort it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// JSON pointer into the settings; empty when the failure has no place there.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What the operator reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Every place with what is wrong there, the first one first.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.others.iter().map(|(pointer, message)| (&**pointer, &**message));
        std::iter::once((self.pointer(), self.message())).chain(others)
    }

    /// The number that crosses the border (`abi::E_…`).
    pub fn status(&self) -> abi::Status {
        match self.kind {
            FailureKind::Invalid => abi::E_INVALID,
            FailureKind::Failed => abi::E_FAILED,
            FailureKind::Unsupported => abi::E_UNSUPPORTED,
            FailureKind::Limit => abi::E_LIMIT,
            FailureKind::Closed => abi::E_CLOSED,
            FailureKind::NotFound => abi::E_NOT_FOUND,
            FailureKind::Conflict => abi::E_CONFLICT,
            FailureKind::Forbidden => abi::E_FORBIDDEN,
        }
    }

    /// Turns the host's answer to `reply` into a result.
    pub(crate) fn check_reply(status: abi::Status) -> Result<(), Failure> {
        let (kind, why) = match status {
            abi::E_CLOSED => (FailureKind::Closed, "it comes too late, or the broadcaster is being replaced"),
            abi::E_INVALID => (FailureKind::Invalid, "this broadcaster was not asked, or has answered already"),
            abi::E_LIMIT => (FailureKind::Limit, "it has over 1 MiB"),
            _ => return Failure::check(status, "answering a command"),
        };
        Err(Failure::of(kind, format!("an answer to a command was not taken: {why}")))
    }

    /// Turns a status of the host into a result; `what` is what was asked of it.
    pub(crate) fn check(status: abi::Status, what: &str) -> Result<(), Failure> {
        let (kind, why) = match status {
            abi::OK.. => return Ok(()),
            abi::E_INVALID => (FailureKind::Invalid, "the host calls it invalid"),
            abi::E_CLOSED => (FailureKind::Closed, "the broadcaster is being replaced or stopped"),
            abi::E_UNSUPPORTED => (FailureKind::Unsupported, "this host does not know how"),
            abi::E_LIMIT => (FailureKind::Limit, "a bound of the host was reached, its log says which"),
            abi::E_AGAIN => (FailureKind::Limit, "the host is full now"),
            _ => (FailureKind::Failed, "the host could not do it"),
        };
        Err(Failure::of(kind, format!("{what}: {why}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pointer, message)) in self.places().enumerate() {
            let (before, colon) = (if index > 0 { "; " } else { "" }, if pointer.is_empty() { "" } else { ": " });
            write!(f, "{before}{pointer}{colon}{message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// For `serde_json::to_vec(&state)?` in `save` and `from_slice(bytes)?` in `restore`.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::of(FailureKind::Invalid, error.to_string())
    }
}
