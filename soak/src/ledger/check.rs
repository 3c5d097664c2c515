//! Holds single messages of a relay against what was published under their numbers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::subscription::{Subscription, Want};
use crate::truth::Truth;

/// An event of a relay is the one that was published under its number.
pub fn event(truth: &Truth, stream: &str, message: &Value) -> Result<(), String> {
    let (data, topic) = (&message["data"], truth.topic(stream));
    let pad = data["pad"].as_str().map(str::len);
    if message["topic"] != topic || data["n"] != truth.seq || pad != Some(truth.pad) {
        return Err(format!("under this number {topic} was published with {} bytes of padding", truth.pad));
    }
    Ok(())
}

/// A snapshot of a relay shows the newest event of each key.
pub fn shown(of: &[&Subscription], seq: u64, data: &Value) -> Result<(), String> {
    let mut promised = BTreeSet::new();
    for subscription in of {
        match subscription.want {
            Want::Relay(pattern) => promised.append(&mut pattern.shown_at(seq)),
            Want::Plain | Want::Replaceable => return Ok(()),
        }
    }
    let records = data["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: BTreeSet<u64> = records.iter().filter_map(|record| record["n"].as_u64()).collect();
    if shown != promised || records.len() != promised.len() {
        return Err(format!("the snapshot shows {shown:?} in place of {promised:?}"));
    }
    Ok(())
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a number is missing".to_owned())
}

/// Enough of a message to know it by.
pub fn shortened(message: &Value) -> String {
    const ENOUGH: usize = 400;
    let mut text = message.to_string();
    if let Some((end, _)) = text.char_indices().nth(ENOUGH) {
        text.truncate(end);
    }
    text
}
