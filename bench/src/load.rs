//! What the load generator does.

pub mod bars;
pub mod crowd;
pub mod fanout;
pub mod publisher;
