//! A message as programs read it, over HTTP and at a broker alike.
use serde::Serialize;
use serde_json::value::RawValue;

use crate::carrier::{Message, Refused};

/// The members of the object, in this order.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    kind: &'a str,
    stream: &'a str,
    topic: &'a str,
    unix_ns: i64,
    subject: &'a str,
    body: &'a str,
    suppressed: u64,
    payload: &'a RawValue,
}

impl Message {
    /// A JSON object of everything but `fields`, which is in `payload`.
    pub fn to_json(&self) -> Result<Vec<u8>, Refused> {
        let told = Told {
            id: &self.id,
            kind: &self.kind,
            stream: &self.stream,
            topic: &self.topic,
            unix_ns: self.unix_ns,
            subject: &self.subject,
            body: &self.body,
            suppressed: self.suppressed,
            payload: &self.payload,
        };
        serde_json::to_vec(&told).map_err(|error| Refused::never(error.to_string()))
    }
}
