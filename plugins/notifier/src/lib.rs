//! What all notifiers share: which events become messages, in which words, and how none of them is lost on the way.
//!
//! A notifier listens to streams and brings what happens there to people and programs elsewhere. This crate has all of it
//! but the way out, which is a [`Carrier`]; a plugin is a carrier and one line:
//!
//! ```text
//! export_plugin!(Notifier<Webhook>);
//! ```
//!
//! What an operator reads about it is docs/notifiers.md.
#![forbid(unsafe_code)]

mod carrier;
mod cooldown;
mod dead;
mod fields;
mod figures;
mod group;
mod notifier;
mod pause;
mod queue;
mod rate;
mod retry;
mod rules;
mod secret;
mod settings;
mod template;
mod told;
mod trouble;
mod violations;

pub use self::carrier::{Carrier, Message, Refused};
pub use self::notifier::Notifier;
pub use self::secret::{Revealed, Secret, SecretEnv, SecretFile};
pub use self::settings::{Common, QueuePlace, Settings};

#[cfg(test)]
mod tests;
