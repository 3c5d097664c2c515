//! What all clients together have heard and done: counts that the end of a run shows, so that nothing was tested by not
//! happening.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! tally {
    ($($name:ident: $meaning:literal,)*) => {
        #[derive(Debug, Default)]
        pub struct Tally {
            $(pub $name: Count,)*
        }

        impl Tally {
            /// Each count with what it means.
            pub fn lines(&self) -> Vec<(&'static str, u64)> {
                vec![$(($meaning, self.$name.get()),)*]
            }
        }
    };
}

tally! {
    connected: "connections that were let in",
    refused: "connections that were not",
    reset: "connections that a client reset",
    dropped: "connections that a client left without a word",
    muted: "connections that a client kept and never read again",
    left: "connections that a client left after everything was settled",
    ended: "connections that the daemon ended",
    subscribed: "subscriptions",
    recovered: "resumed exactly",
    replaced_position: "resumed by a snapshot",
    delivered: "events heard, each the next one of its subscription",
    crowd_heard: "events that the crowd heard, each the next one of its topic",
    crowd_recovered: "subscriptions that one of the crowd resumed exactly",
    crowd_lagged: "times one of the crowd was told that events were dropped",
    shown: "snapshots held against what was published",
    lagged: "times told that events were dropped",
    latest: "times told that events were replaced",
    overtaken: "numbers that were told as lost after later ones had come",
    removed: "subscriptions that ended with their stream",
    published: "events published",
    held_back: "requests to publish that were told to come back",
    applied: "reloads that took effect",
    bad: "bad configurations that were refused",
    swapped: "plugin files replaced",
}

#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn one(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
