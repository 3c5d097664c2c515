//! What an event says, by name: its own payload's fields and what stands around it.
use std::collections::BTreeMap;

use broadcastd_plugin_api::Message as Event;
use serde_json::Value;

/// Fields of one payload; a payload is published by programs, and a message shows a few.
const MAX_FIELDS: usize = 100;

/// How deep inside the payload a field may lie.
const MAX_DEPTH: usize = 4;

/// Characters of one field; the payload itself travels whole.
const MAX_VALUE: usize = 1_000;

/// Names for what stands around the payload. A payload's own field of such a name is `payload.NAME`.
const AROUND: &[&str] = &["id", "kind", "stream", "topic", "key", "time", "unix_ns", "suppressed", "more", "payload"];

/// The identity of the message about an event: the same whenever the event is handled.
pub fn id(event: &Event<'_>) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    format!("{}-{}-{}", event.stream, event.epoch, event.seq).chars().map(plain).collect()
}

/// The fields of a payload, `a.b` for the field `b` inside `a`; `null` is no field.
pub fn of_payload(payload: &Value) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    collect(payload, "", 1, &mut fields);
    fields
}

/// Adds what stands around the payload.
pub fn add_around(fields: &mut BTreeMap<String, String>, event: &Event<'_>) {
    let payload = String::from_utf8_lossy(event.payload);
    for (name, value) in [
        ("id", id(event)),
        ("kind", event.kind.to_owned()),
        ("stream", event.stream.to_owned()),
        ("topic", event.topic.to_owned()),
        ("key", event.key.to_owned()),
        ("time", time(event.unix_ns)),
        ("unix_ns", event.unix_ns.to_string()),
        ("payload", cut(&payload)),
    ] {
        fields.insert(name.to_owned(), value);
    }
}

/// Adds how many were held back, as a number and as words.
pub fn add_suppressed(fields: &mut BTreeMap<String, String>, suppressed: u64) {
    let more = if suppressed == 0 { String::new() } else { format!(" (and {suppressed} more)") };
    fields.insert("suppressed".to_owned(), suppressed.to_string());
    fields.insert("more".to_owned(), more);
}

fn collect(value: &Value, name: &str, depth: usize, fields: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(members) if depth <= MAX_DEPTH => {
            for (member, value) in members {
                let is_around = name.is_empty() && AROUND.contains(&member.as_str());
                let inside = if is_around { "payload" } else { name };
                let full = if inside.is_empty() { member.clone() } else { format!("{inside}.{member}") };
                collect(value, &full, depth + 1, fields);
            }
            return;
        }
        Value::Null => return,
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    };
    if fields.len() < MAX_FIELDS && !name.is_empty() {
        fields.insert(name.to_owned(), text);
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_VALUE).collect()
}

/// RFC 3339 in UTC with seconds. The days of the calendar after Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
pub fn time(unix_ns: i64) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_lies_inside_has_a_name_with_dots() {
        let payload = json!({ "a": 1, "b": { "c": "x", "d": [1, 2] }, "e": null, "f": true, "kind": "own" });
        let fields = of_payload(&payload);
        let shown: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["a=1", "b.c=x", "b.d=[1,2]", "f=true", "payload.kind=own"]);
    }

    #[test]
    fn fields_are_bounded() {
        let many: Value =
            (0..200).map(|n| (format!("n{n}"), json!("x".repeat(2_000)))).collect::<serde_json::Map<_, _>>().into();
        let fields = of_payload(&many);
        assert_eq!(fields.len(), MAX_FIELDS);
        assert!(fields.values().all(|value| value.len() == MAX_VALUE));
        let deep = json!({ "a": { "b": { "c": { "d": { "e": 1 } } } } });
        assert_eq!(of_payload(&deep)["a.b.c.d"], "{\"e\":1}");
    }

    #[test]
    fn times_are_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(unix * 1_000_000_000), text);
        }
    }
}
