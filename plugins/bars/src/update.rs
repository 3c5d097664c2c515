//! What has happened to a bar, as it is to be published.

use crate::bar::Bar;

/// The newest state of one bar, to be published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    pub topic: u32,
    pub bar: Bar,
    /// 0 until a bar that clients know as closed changes.
    pub revision: u32,
    pub place: Place,
}

/// Where an updated bar stands in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The open bar.
    Current,
    /// The newest closed bar.
    Closed,
    /// A closed bar that newer ones follow.
    Older,
}

impl Place {
    /// The key of the topic's record that the update replaces; an older bar is in no record.
    pub fn key(self) -> &'static str {
        match self {
            Place::Current => "current",
            Place::Closed => "closed",
            Place::Older => "",
        }
    }

    /// A newer state of an open bar may replace one that still waits for delivery; a final bar is never replaced.
    pub fn is_final(self) -> bool {
        self != Place::Current
    }
}
