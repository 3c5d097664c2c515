//! Text to requests: `{route}.subscribe` and `{route}.unsubscribe`, with a payload that names a symbol.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Revision;
use crate::dialect::{Code, Command, Refusal, Request, Target};

const SUBSCRIBE: &str = "subscribe";
const UNSUBSCRIBE: &str = "unsubscribe";
const SYMBOL: &str = "symbol";

/// The one request in a text message. Which routes there are, the shard knows.
pub fn parse(text: &str, revision: Revision) -> Vec<Result<Request, Refusal>> {
    vec![read(text, revision).map_err(|(code, message)| Refusal::new(code, message))]
}

/// The client's own name of what it subscribes to, which it computes itself and expects back letter for letter: the
/// payload as compact JSON with sorted keys, and an empty text where it has null.
pub fn spelled_topic(target: &Target, revision: Revision) -> Option<String> {
    match (target, revision) {
        (Target::Params { stream, spelled: Some(payload), .. }, Revision::C) => {
            let sorted = texts(payload)?;
            let sorted: BTreeMap<&String, &str> =
                sorted.iter().map(|(name, text)| (name, text.as_deref().unwrap_or_default())).collect();
            Some(format!("{stream}:{}", serde_json::to_string(&sorted).ok()?))
        }
        _ => None,
    }
}

type Mistake = (Code, &'static str);

const INVALID: Mistake = (Code::InvalidParams, "the payload is not what the operation takes");

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The payload of revision A. What else it holds is not looked at.
#[derive(Deserialize)]
struct Nested {
    symbol: String,
    params: Option<BTreeMap<String, Value>>,
}

fn read(text: &str, revision: Revision) -> Result<Request, Mistake> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|_| (Code::InvalidJson, "the message is not JSON"))?;
    if !whole.get().starts_with('{') {
        return Err(INVALID); // an array would do for the fields in their order
    }
    let wire: Wire<'_> = serde_json::from_str(whole.get()).map_err(|_| INVALID)?;
    let Value::String(kind) = &wire.kind else { return Err(INVALID) };
    let unknown = (Code::UnknownType, "no operation has this type");
    let (stream, operation) = kind.rsplit_once('.').ok_or(unknown)?;
    if operation != SUBSCRIBE && operation != UNSUBSCRIBE {
        return Err(unknown);
    }
    let payload = wire.payload.ok_or(INVALID)?;
    let params = match revision {
        Revision::A => nested(payload),
        Revision::C => flat(payload),
    };
    let target =
        Target::Params { stream: stream.to_owned(), params: params.ok_or(INVALID)?, spelled: Some(payload.to_owned()) };
    let command = match operation {
        SUBSCRIBE => Command::Subscribe { target, since: None, batch: None },
        _ => Command::Unsubscribe(target),
    };
    Ok(Request { id: None, command })
}

type Params = BTreeMap<String, Vec<String>>;

fn nested(payload: &RawValue) -> Option<Params> {
    let Nested { symbol, params } = serde_json::from_str(payload.get()).ok()?;
    payload.get().starts_with('{').then_some(())?;
    let said = params.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null());
    let mut params: Params = said.map(|(name, value)| (name, named(value))).collect();
    params.insert(SYMBOL.to_owned(), vec![symbol]);
    Some(params)
}

/// Only a text names something. Whether it matters that something else does not, the stream's template decides.
fn named(value: Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text],
        _ => Vec::new(),
    }
}

fn flat(payload: &RawValue) -> Option<Params> {
    let params = given(texts(payload)?);
    params.contains_key(SYMBOL).then_some(params)
}

fn texts(payload: &RawValue) -> Option<BTreeMap<String, Option<String>>> {
    serde_json::from_str(payload.get()).ok()
}

fn given(texts: BTreeMap<String, Option<String>>) -> Params {
    texts.into_iter().filter_map(|(name, text)| Some((name, vec![text?]))).collect()
}
