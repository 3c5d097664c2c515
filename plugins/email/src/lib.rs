//! The plugin `email`: a notifier that writes a letter for each message and hands it to a mail server.
#![forbid(unsafe_code)]

mod carrier;
mod letter;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use broadcastd_notifier::Notifier;
use broadcastd_plugin_api::export_plugin;

use self::carrier::Email;

export_plugin!(Notifier<Email>);
