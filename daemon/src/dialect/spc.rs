//! The dialect of statistical process control: characteristics by number, `{type, payload}`, and acknowledgements for
//! every connection.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::parse;
pub use write::{event, reply};

use super::{Command, Target};

/// What is said to the whole stream, acknowledgements above all, reaches a connection that has not subscribed to anything.
pub fn opening(served: &[String]) -> Vec<Command> {
    vec![Command::Subscribe { target: Target::Root(stream(served)), since: None, batch: None }]
}

/// The endpoint's one stream, which clients have no name for.
fn stream(served: &[String]) -> String {
    served.first().cloned().unwrap_or_default()
}
