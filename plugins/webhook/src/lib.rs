//! Tells what happens to an HTTP receiver: a signed POST for each message, repeated until it is taken.
#![forbid(unsafe_code)]

use broadcastd_notifier::Notifier;
use broadcastd_plugin_api::export_plugin;

mod address;
mod answer;
mod exchange;
mod settings;
mod signature;
mod webhook;

use webhook::Webhook;

export_plugin!(Notifier<Webhook>);
