//! Text of the `spc` dialect to requests, one in each message.

use serde_json::Value;
use serde_json::value::RawValue;

use super::stream;
use crate::dialect::json::{self, Fields, Unreadable};
use crate::dialect::{Code, Command, Refusal, Request, Target};

pub fn parse(text: &str, served: &[String]) -> Result<Request, Refusal> {
    let fields = json::fields(text).map_err(|unreadable| match unreadable {
        Unreadable::NotJson(error) => Refusal::new(Code::InvalidJson, format!("Message must be valid JSON: {error}")),
        Unreadable::NoObject => invalid("Message must be a JSON object"),
    })?;
    let command = read_command(&fields, served)?;
    Ok(Request { id: None, command })
}

fn read_command(fields: &Fields<'_>, served: &[String]) -> Result<Command, Refusal> {
    // Newer clients call it `action`; either does.
    let mut kinds = ["type", "action"].into_iter().filter_map(|name| value(fields, name));
    let kind = match kinds.find(|kind| kind.as_str() != Some("")) {
        Some(Value::String(kind)) => kind,
        Some(other) => other.to_string(),
        None => return Err(invalid("Message must contain 'type' field")),
    };
    match kind.as_str() {
        "subscribe" => {
            Ok(Command::Subscribe { target: read_target("Subscribe", fields, served)?, since: None, batch: None })
        }
        "unsubscribe" => Ok(Command::Unsubscribe(read_target("Unsubscribe", fields, served)?)),
        "ping" => Ok(Command::Ping),
        "auth" => match value(fields, "token") {
            Some(Value::String(token)) => Ok(Command::Auth { token }),
            _ => Err(invalid("Auth message must contain 'token' field")),
        },
        _ => Err(Refusal::new(Code::UnknownType, format!("Unknown message type: {kind}"))),
    }
}

/// The characteristics, several or one, each a number or a text; the answer repeats them as a list.
fn read_target(kind: &str, fields: &Fields<'_>, served: &[String]) -> Result<Target, Refusal> {
    let named = ["characteristic_ids", "characteristic_id"].into_iter().find(|name| value(fields, name).is_some());
    let Some((name, raw)) = named.and_then(|name| Some((name, *fields.get(name)?))) else {
        let message = format!("{kind} message must contain 'characteristic_ids' or 'characteristic_id' field");
        return Err(invalid(&message));
    };
    let (ids, spelled) = match value(fields, name) {
        Some(Value::Array(ids)) => (ids, raw.to_owned()),
        only => (only.into_iter().collect(), listed(raw)?),
    };
    let parts: Option<Vec<String>> = ids.iter().map(part).collect();
    let parts = parts.filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| invalid(&format!("'{name}' must be numbers or strings, at least one")))?;
    Ok(Target::Parts { stream: stream(served), parts, spelled: Some(spelled) })
}

fn part(id: &Value) -> Option<String> {
    match id {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn listed(only: &RawValue) -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string(format!("[{}]", only.get())).map_err(|error| invalid(&error.to_string()))
}

/// What a field holds; null is nothing, and so is what cannot be held.
fn value(fields: &Fields<'_>, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(fields.get(name)?.get()).ok()?;
    Some(value).filter(|value| !value.is_null())
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidMessage, message)
}
