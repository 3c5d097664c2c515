//! The wording that errors share: types, lists of choices, amounts with units, and the nearest known word.

use serde_json::Value;

use super::value::{Duration, Size};

/// A JSON Schema type as an operator says it.
pub fn a_type(name: &str) -> &'static str {
    match name {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "array" => "a list",
        "object" => "a table",
        _ => "nothing",
    }
}

/// `"a"`, `"a" or "b"`, `one of "a", "b", "c"`.
pub fn one_of(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        [one, other] => format!("{one} or {other}"),
        many => format!("one of {}", many.join(", ")),
    }
}

/// A value as it may stand in a message: short, and never a secret.
pub fn shown(pointer: &str, value: &Value) -> String {
    if is_secret(pointer) {
        return "this value".to_owned();
    }
    /// A message stays on one line of a terminal.
    const LONGEST_SHOWN: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST_SHOWN {
        return text;
    }
    format!("{}…", text.chars().take(LONGEST_SHOWN).collect::<String>())
}

/// Whether a setting is one of those whose value never appears in a report or log.
pub fn is_secret(pointer: &str) -> bool {
    let secret = |part: &str| ["token", "bearer", "password", "secret", "key"].iter().any(|word| part.ends_with(word));
    pointer.split('/').any(secret)
}

/// A number with the unit of its format: `2s`, `64KiB`, `7`.
pub fn amount(format: &str, number: f64) -> String {
    let with_unit = match format {
        "duration" => Duration::from_number(number).ok().map(|length| length.to_string()),
        "size" => Size::from_number(number).ok().map(|size| size.to_string()),
        _ => None,
    };
    with_unit.unwrap_or_else(|| grouped(&number.to_string()))
}

/// A number as TOML lets one write it for reading: `10_000_000`.
fn grouped(number: &str) -> String {
    let digits = number.len() - usize::from(number.starts_with('-'));
    if digits <= 4 || number.contains(['.', 'e', 'n']) {
        return number.to_owned();
    }
    let mut out = String::new();
    for (index, digit) in number.chars().enumerate() {
        let left = number.len() - index;
        if left.is_multiple_of(3) && left < digits {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// The known word that was probably meant: one slip, and one more for every four letters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + word.chars().count() / 4;
    let distance = |other: &'a str| (strsim::damerau_levenshtein(word, other), other);
    let best = known.into_iter().map(distance).min()?;
    // A word with nothing of the other left is no slip of it.
    (best.0 <= allowed && best.0 < word.chars().count()).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_a_slip_away() {
        assert_eq!(nearest("listn", ["listen", "origins"]), Some("listen"));
        assert_eq!(nearest("max_conections", ["max_connections", "max_per_ip"]), Some("max_connections"));
        assert_eq!(nearest("threads", ["listen", "shards"]), None);
        assert_eq!(amount("uint32", 10_000_000.0), "10_000_000");
        assert_eq!(amount("", -123_456.0), "-123_456");
        assert_eq!(amount("duration", 90.0), "1m30s");
        assert_eq!(nearest("x", ["y", "zz"]), None);
    }

    #[test]
    fn secrets_and_long_values_are_not_shown() {
        assert_eq!(shown("/admin/token", &Value::from("hunter2")), "this value");
        assert_eq!(shown("/log/level", &Value::from("loud")), "\"loud\"");
        assert_eq!(shown("/a", &Value::from("x".repeat(500))).chars().count(), 61);
    }
}
