//! What the load generator does: one thread, one epoll, raw sockets.

pub mod bars;
pub mod crowd;
pub mod fanout;
pub mod herd;
pub mod payload;
pub mod publisher;
pub mod story;

use std::time::Duration;

/// How long a whole crowd may go without a single delivery.
pub const SILENCE: Duration = Duration::from_secs(20);
/// How long a turn waits at most.
pub const NAP: Duration = Duration::from_millis(50);
