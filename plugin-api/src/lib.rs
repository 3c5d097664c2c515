//! The border between broadcastd and its plugins.
