//! What clients ask for, each in the words of its dialect: names and topics that could be taken for others.

use fastrand::Rng;

use super::people::NAMES;
use super::truth::STREAMS;
use crate::dialect::Dialect;

pub const TARGETS: [&str; 9] = ["", ":A:1", ":*:1", ":A:*", ":%2A", ":*", ":user-1", ":user-10", ":own:*"];
/// Values of parameters, as JSON.
const VALUES: [&str; 6] = [r#""A""#, r#""*""#, r#""user-1""#, r#""%2A""#, r#"["A","B"]"#, "null"];
/// Characteristics, as JSON.
const IDS: [&str; 6] = [r#""user-1""#, r#""user-10""#, r#""*""#, r#""%2A""#, r#"["user-1","own"]"#, r#"["*",1]"#];

pub fn wish(dialect: Dialect, rng: &mut Rng) -> String {
    match dialect {
        Dialect::Native => native(rng),
        Dialect::Streams => streams(rng),
        Dialect::Spc => spc(rng),
        Dialect::Sse | Dialect::Fastws(_) | Dialect::User => route(rng),
    }
}

fn native(rng: &mut Rng) -> String {
    let (stream, target) = (*rng.choice(&STREAMS).unwrap(), rng.choice(&TARGETS).unwrap());
    let name = name(rng);
    let since = format!(r#""since":{{"epoch":"epoch","seq":{}}}"#, rng.u32(..60));
    let whose = format!(r#""user":"{name}","user_id":"{name}","audience":"{name}""#);
    match rng.u32(..16) {
        0..4 => format!(r#"{{"type":"subscribe","topic":"{stream}{target}",{whose}}}"#),
        4..8 => format!(r#"{{"type":"subscribe","topic":"{stream}{target}",{since}}}"#),
        8 => format!(r#"{{"type":"subscribe","stream":"{stream}","params":{{"user":"{name}"}}}}"#),
        9 => format!(r#"{{"type":"subscribe","stream":"{stream}","params":{{"symbol":["A","B"]}},{since}}}"#),
        10 => format!(r#"{{"type":"subscribe","topic":"letters","since":{{"epoch":"epoch","seq":{}}}}}"#, 1_u64 << 40),
        11 | 12 => format!(r#"{{"type":"unsubscribe","topic":"{stream}{target}"}}"#),
        13 => format!(r#"{{"type":"snapshot","topic":"{stream}{target}",{whose}}}"#),
        14 => r#"{"type":"streams"}"#.to_owned(),
        _ => r#"{"type":"ping"}"#.to_owned(),
    }
}

fn streams(rng: &mut Rng) -> String {
    let (stream, value, name) = (*rng.choice(&STREAMS).unwrap(), rng.choice(&VALUES).unwrap(), name(rng));
    let whose = format!(r#""user_id":"{name}","session_id":"{name}""#);
    match rng.u32(..8) {
        0 | 1 => format!(r#"{{"type":"subscribe","stream":"{stream}"}}"#),
        2..5 => format!(r#"{{"type":"subscribe","stream":"{stream}","params":{{"symbol":{value},{whose}}}}}"#),
        5 => format!(r#"{{"type":"subscribe","stream":"letters","params":{{"symbol":{value}}},{whose}}}"#),
        6 => format!(r#"{{"type":"unsubscribe","stream":"{stream}"}}"#),
        _ => r#"{"type":"heartbeat"}"#.to_owned(),
    }
}

/// The stream is the endpoint's own: naming another is to no avail.
fn spc(rng: &mut Rng) -> String {
    let (stream, ids, name) = (*rng.choice(&STREAMS).unwrap(), rng.choice(&IDS).unwrap(), name(rng));
    let verb = *rng.choice(&["subscribe", "subscribe", "subscribe", "unsubscribe", "ping"]).unwrap();
    let field = *rng.choice(&["type", "action"]).unwrap();
    format!(r#"{{"{field}":"{verb}","characteristic_ids":{ids},"stream":"{stream}","user":"{name}"}}"#)
}

fn route(rng: &mut Rng) -> String {
    let (stream, symbol) = (*rng.choice(&STREAMS).unwrap(), rng.choice(&["A", "*", "user-1"]).unwrap());
    let verb = if rng.u32(..4) == 0 { "unsubscribe" } else { "subscribe" };
    format!(r#"{{"type":"{stream}.{verb}","payload":{{"symbol":"{symbol}","params":{{}}}}}}"#)
}

/// Somebody's, as JSON spells it.
fn name(rng: &mut Rng) -> String {
    NAMES[rng.usize(..NAMES.len())].escape_debug().to_string().replace("\\0", "\\u0000")
}
