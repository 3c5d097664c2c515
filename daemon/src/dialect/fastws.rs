//! The dialect of clients that speak in routes: `bars.subscribe`, `bars.update`. It has no word for a mistake: whatever
//! cannot be carried out closes the connection with a code.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{parse, spelled_topic};
pub use write::{event, reply};

/// Two generations of clients, which spell subscriptions and updates differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revision {
    /// `{symbol, params}`; an update is the bare bar.
    A,
    /// `{symbol, resolution}`; an update names its topic, as the client spelled it.
    C,
}
