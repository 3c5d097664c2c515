//! What a plugin wants to publish, checked before the hub sees it.

use std::fmt;

use broadcastd_plugin_api::abi::{BadText, Msg};
use serde_json::value::RawValue;

use crate::event::{Cause, Draft, Flags};

/// The largest payload or record of one event: a client's frame buffer must hold it.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// The longest kind: kinds are counted and shown, and stand in every delivery.
pub const MAX_KIND: usize = 64;
/// The longest key, audience or session: each is kept with every event and record.
pub const MAX_NAME: usize = 256;

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage(pub String);

impl fmt::Display for BadMessage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Checks a message by the header's rules. The topic is left to the hub, which owns its spelling.
pub fn check<'a>(message: &Msg<'a>) -> Result<Draft<'a>, BadMessage> {
    let kind = text("type", message.r#type.get(), MAX_KIND)?;
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadMessage(format!("type is \"{}\"; give a word without spaces, like bar", kind.escape_debug())));
    }
    let cause_stream = text("cause_stream", message.cause_stream.get(), MAX_NAME)?;
    let cause_epoch = text("cause_epoch", message.cause_epoch.get(), MAX_NAME)?;
    let cause =
        Cause { stream: cause_stream, epoch: cause_epoch, seq: message.cause_seq, ordinal: message.cause_ordinal };
    Ok(Draft {
        flags: Flags(message.flags & KNOWN_FLAGS),
        kind,
        topic: text("topic", message.topic.get(), MAX_NAME)?,
        key: text("key", message.key.get(), MAX_NAME)?,
        record: record(bytes("record", message.record.get())?)?,
        audience: text("audience", message.audience.get(), MAX_NAME)?,
        session_id: text("session_id", message.session_id.get(), MAX_NAME)?,
        payload: object(bytes("payload", message.payload.get())?)?,
        unix_ns: message.unix_ns,
        cause: (message.cause_seq > 0 && !cause_stream.is_empty()).then_some(cause),
        id: "",
    })
}

/// Flags of a later minor mean nothing here and are ignored.
const KNOWN_FLAGS: u32 = Flags::LATEST.0 | Flags::DELETE.0 | Flags::RECORD_ONLY.0 | Flags::BROADCAST.0;

fn text<'a>(field: &str, text: Result<&'a str, BadText>, max: usize) -> Result<&'a str, BadMessage> {
    let text = text.map_err(|error| BadMessage(format!("{field} {error}")))?;
    if text.len() > max {
        return Err(BadMessage(format!("{field} has {} bytes; at most {max} are taken", text.len())));
    }
    Ok(text)
}

fn bytes<'a>(field: &str, bytes: Result<&'a [u8], BadText>) -> Result<&'a [u8], BadMessage> {
    let bytes = bytes.map_err(|error| BadMessage(format!("{field} {error}")))?;
    if bytes.len() > MAX_PAYLOAD {
        return Err(BadMessage(format!("{field} has {} bytes; at most {MAX_PAYLOAD} are taken", bytes.len())));
    }
    Ok(bytes)
}

fn object(payload: &[u8]) -> Result<&[u8], BadMessage> {
    let json = json("payload", payload)?;
    if json.get().starts_with('{') {
        return Ok(payload);
    }
    Err(BadMessage("payload is no JSON object; wrap the value, like {\"value\": 1}".to_owned()))
}

fn record(record: &[u8]) -> Result<&[u8], BadMessage> {
    if !record.is_empty() {
        json("record", record)?;
    }
    Ok(record)
}

fn json<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a RawValue, BadMessage> {
    serde_json::from_slice(bytes).map_err(|error| BadMessage(format!("{field} is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use broadcastd_plugin_api::abi::{Bytes, Str};

    use super::*;

    fn good() -> Msg<'static> {
        Msg { topic: Str::new("AAPL:1"), payload: Bytes::new(b"{\"o\":1}"), ..Msg::new("bar") }
    }

    fn refusal(message: Msg<'_>) -> String {
        check(&message).unwrap_err().to_string()
    }

    #[test]
    fn a_good_message_becomes_a_draft() {
        let cause_epoch = Str::new("e1");
        let caused = Msg { cause_seq: 7, cause_ordinal: 2, cause_stream: Str::new("ticks"), cause_epoch, ..good() };
        let message = Msg { flags: u32::MAX, ..caused };
        let draft = check(&message).unwrap();
        assert_eq!((draft.kind, draft.topic, draft.payload), ("bar", "AAPL:1", b"{\"o\":1}".as_slice()));
        assert_eq!(draft.flags, Flags(15), "flags of later minors are ignored");
        assert_eq!(draft.cause, Some(Cause { stream: "ticks", epoch: "e1", seq: 7, ordinal: 2 }));
        assert_eq!(check(&good()).unwrap().cause, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_rule() {
        assert_eq!(refusal(Msg { r#type: Str::EMPTY, ..good() }), "type is \"\"; give a word without spaces, like bar");
        assert!(refusal(Msg { payload: Bytes::EMPTY, ..good() }).starts_with("payload is no JSON: EOF"));
        assert!(refusal(Msg { payload: Bytes::new(b"{\"a\":\"\xff\"}"), ..good() }).starts_with("payload is no JSON"));
        assert!(refusal(Msg { payload: Bytes::new(b"{} {}"), ..good() }).starts_with("payload is no JSON: trailing"));
        assert_eq!(
            refusal(Msg { payload: Bytes::new(b"[1]"), ..good() }),
            "payload is no JSON object; wrap the value, like {\"value\": 1}"
        );
        assert!(refusal(Msg { record: Bytes::new(b"{"), ..good() }).starts_with("record is no JSON: EOF"));
    }

    #[test]
    fn bounds_hold_at_their_edge() {
        let name = "k".repeat(MAX_NAME + 1);
        assert!(check(&Msg { key: Str::new(&name[1..]), ..good() }).is_ok());
        assert_eq!(refusal(Msg { key: Str::new(&name), ..good() }), "key has 257 bytes; at most 256 are taken");
        assert!(check(&Msg { r#type: Str::new(&name[..MAX_KIND]), ..good() }).is_ok());
        assert!(check(&Msg { r#type: Str::new(&name[..=MAX_KIND]), ..good() }).is_err());
        let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_PAYLOAD - 8));
        assert_eq!(payload.len(), MAX_PAYLOAD);
        assert!(check(&Msg { payload: Bytes::new(payload.as_bytes()), ..good() }).is_ok());
        let more = payload.replace("\"a\"", "\"ab\"");
        assert_eq!(
            refusal(Msg { payload: Bytes::new(more.as_bytes()), ..good() }),
            "payload has 1048577 bytes; at most 1048576 are taken"
        );
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(check(&Msg { payload: Bytes::new(deep.as_bytes()), ..good() }).is_ok());
    }
}
