//! Text of the `streams` dialect to requests, one in each message.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::json::{self, Fields, Unreadable};
use crate::dialect::{Code, Command, Refusal, Request, RequestId, Target};

/// The longest name of a stream that the dialect knows, in characters.
const MAX_STREAM: usize = 100;
/// The longest `id` of a request that the dialect knows, in characters.
const MAX_ID: usize = 50;

pub fn parse(text: &str) -> Result<Request, Refusal> {
    let fields = json::fields(text).map_err(|unreadable| match unreadable {
        Unreadable::NotJson(error) => Refusal::new(Code::InvalidJson, format!("Invalid JSON: {error}")),
        Unreadable::NoObject => invalid("Message must be a JSON object"),
    })?;
    let id = read_id(&fields)?;
    match read_command(&fields) {
        Ok(command) => Ok(Request { id, command }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    }
}

fn read_command(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let kind = text(fields, "type", usize::MAX)?.filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| invalid("Message must have 'type' field"))?;
    match kind.as_str() {
        "subscribe" => Ok(Command::Subscribe { target: read_target(fields)?, since: None, batch: None }),
        // The client names the stream alone, and means all that it has of it.
        "unsubscribe" => Ok(Command::Unsubscribe(Target::Held(read_stream(fields)?))),
        "heartbeat" => Ok(Command::Ping),
        "auth" => match text(fields, "token", usize::MAX)? {
            Some(token) if !token.trim().is_empty() => Ok(Command::Auth { token }),
            Some(_) => Err(invalid("Authentication token cannot be empty")),
            None => Err(invalid("Missing required field: token")),
        },
        _ => Err(Refusal::new(Code::UnknownType, format!("Unknown message type: {kind}"))),
    }
}

fn read_target(fields: &Fields<'_>) -> Result<Target, Refusal> {
    let stream = read_stream(fields)?;
    let spelled = present(fields, "params");
    let values: BTreeMap<String, Value> = match spelled {
        None => BTreeMap::new(),
        Some(raw) => read(raw).ok_or_else(|| invalid("Field 'params' must be an object"))?,
    };
    let is_said = |value: &Value| !value.is_null() && value.as_str() != Some("");
    let said = values.into_iter().filter(|(_, value)| is_said(value));
    let params = said.map(|(name, value)| (name, values_of(value))).collect();
    Ok(Target::Params { stream, params, spelled: spelled.map(ToOwned::to_owned) })
}

fn read_stream(fields: &Fields<'_>) -> Result<String, Refusal> {
    let missing = || Refusal::new(Code::MissingStream, "Missing required field: stream");
    text(fields, "stream", MAX_STREAM)?.ok_or_else(missing)
}

/// Values that name something. Nothing does in what is neither text nor number: the stream's template decides whether that
/// matters.
fn values_of(value: Value) -> Vec<String> {
    let scalars = match value {
        Value::Array(values) => values,
        scalar => vec![scalar],
    };
    let texts = scalars.into_iter().map(|scalar| match scalar {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    });
    texts.collect::<Option<_>>().unwrap_or_default()
}

fn read_id(fields: &Fields<'_>) -> Result<RequestId, Refusal> {
    let is_there = text(fields, "id", MAX_ID)?.is_some();
    Ok(present(fields, "id").filter(|_| is_there).map(ToOwned::to_owned))
}

/// A text of at most so many characters.
fn text(fields: &Fields<'_>, name: &str, longest: usize) -> Result<Option<String>, Refusal> {
    let Some(raw) = present(fields, name) else { return Ok(None) };
    let text: String = read(raw).ok_or_else(|| invalid(&format!("Field '{name}' must be a string")))?;
    if text.chars().count() > longest {
        return Err(invalid(&format!("Field '{name}' exceeds maximum length of {longest}")));
    }
    Ok(Some(text))
}

fn present<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    fields.get(name).copied().filter(|raw| raw.get() != "null")
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidMessage, message)
}
