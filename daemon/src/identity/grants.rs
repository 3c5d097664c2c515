//! What an identity may do: exactly what was written down for it, in a token or in the configuration.

use std::fmt;

use crate::hub::pattern::Pattern;

/// Entries of one list: more than a program has streams, few enough to go through at every event published.
pub const MAX_ENTRIES: usize = 100;

/// The lists as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Patterns that may be subscribed to; `None`: every stream that clients may see.
    pub streams: Option<Vec<String>>,
    /// Patterns of topics that may be published to.
    pub publish: Vec<String>,
    /// Permissions of commands, such as `alerts.acknowledge`.
    pub commands: Vec<String>,
}

/// The lists once they are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    pub reads: Reads,
    pub publishes: Vec<Pattern>,
    pub commands: Vec<String>,
}

/// What somebody may subscribe to; the log of its own of a private stream besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Every stream that clients may see.
    Visible,
    /// What one of these covers.
    Only(Vec<Pattern>),
    /// Every stream, also what only operators may see.
    Everything,
}

/// Which entry of which list is wrong, and the rule; what stands there is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    pub list: &'static str,
    /// `None`: the list as a whole.
    pub index: Option<usize>,
    pub rule: String,
}

impl Grants {
    pub fn of(reads: Reads) -> Self {
        Self { reads, publishes: Vec::new(), commands: Vec::new() }
    }

    pub fn read(lists: Lists) -> Result<Self, BadEntry> {
        let reads = match lists.streams {
            Some(streams) => Reads::Only(patterns("streams", &streams)?),
            None => Reads::Visible,
        };
        let publishes = patterns("publish", &lists.publish)?;
        bounded("commands", &lists.commands)?;
        if let Some(index) = lists.commands.iter().position(String::is_empty) {
            return Err(BadEntry { list: "commands", index: Some(index), rule: "it is empty".to_owned() });
        }
        Ok(Self { reads, publishes, commands: lists.commands })
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(out, "entry {} of {}: {}", index + 1, self.list, self.rule),
            None => write!(out, "{}: {}", self.list, self.rule),
        }
    }
}

fn patterns(list: &'static str, texts: &[String]) -> Result<Vec<Pattern>, BadEntry> {
    bounded(list, texts)?;
    let rule = "it is no pattern, such as bars, bars:AAPL:1 or bars:*:1";
    let read = |(index, text): (usize, &String)| {
        Pattern::parse(text).map_err(|_| BadEntry { list, index: Some(index), rule: rule.to_owned() })
    };
    texts.iter().enumerate().map(read).collect()
}

fn bounded(list: &'static str, texts: &[String]) -> Result<(), BadEntry> {
    if texts.len() <= MAX_ENTRIES {
        return Ok(());
    }
    Err(BadEntry { list, index: None, rule: format!("it has more than {MAX_ENTRIES} entries") })
}
