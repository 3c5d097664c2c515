//! The plugin `mqtt`: a notifier that publishes each message at a broker and waits until that has taken it.
//!
//! The client is its own, for publishing alone: an attempt here waits, ends at its deadline and leaves nothing behind,
//! while the clients there are keep a queue and an event loop of their own behind which a message goes on living.
#![forbid(unsafe_code)]

mod carrier;
mod packet;
mod seat;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod topic;

use broadcastd_notifier::Notifier;
use broadcastd_plugin_api::export_plugin;

use self::carrier::Mqtt;

export_plugin!(Notifier<Mqtt>);
