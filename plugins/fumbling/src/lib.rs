//! The shipped notifier by HTTP, stopped by panics in the middle of its work.
#![forbid(unsafe_code)]

use broadcastd_notifier::Notifier;
use broadcastd_plugin_api::export_plugin;

#[path = "../../webhook/src/address.rs"]
mod address;
#[path = "../../webhook/src/answer.rs"]
mod answer;
#[path = "../../webhook/src/exchange.rs"]
mod exchange;
#[path = "../../webhook/src/settings.rs"]
mod settings;
#[path = "../../webhook/src/signature.rs"]
mod signature;
#[path = "../../stumbling/src/stumble.rs"]
mod stumble;
#[path = "../../webhook/src/webhook.rs"]
#[rustfmt::skip] // formatted at home, where the file of its tests is found
mod webhook;

export_plugin!(stumble::Stumbling<Notifier<webhook::Webhook>>);
