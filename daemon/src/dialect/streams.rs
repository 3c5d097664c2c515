//! The dialect of pages with one connection: subscriptions by stream and `session_id`, flat status messages, heartbeats
//! of the application.
//!
//! Its client throws away every message whose `stream` is a name that it is not subscribed to, also a pong, and comes
//! anew when pongs stay out. So what is about no subscription says `"stream":""`: defined, and no name.

mod read;
#[cfg(test)]
pub(in crate::dialect) mod tests;
mod write;

pub use read::parse;
pub use write::{State, event, reply, state, untold};
