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

/// What stands in a message for a value that must not.
pub const HIDDEN_VALUE: &str = "this value";

/// A value as it may stand in a message: short, and never a secret.
pub fn shown(pointer: &str, value: &Value) -> String {
    if is_secret(pointer) {
        return HIDDEN_VALUE.to_owned();
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

/// What a setting is called here that goes by another name elsewhere, or did before; no slip leads from one to the other.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("admin.address", "admin.listen"),
    ("admin.bind", "admin.listen"),
    ("admin.port", "admin.listen"),
    ("broadcasters.*.config", "broadcasters.*.settings"),
    ("broadcasters.*.depends_on", "broadcasters.*.listen"),
    ("broadcasters.*.inputs", "broadcasters.*.listen"),
    ("broadcasters.*.library", "broadcasters.*.plugin"),
    ("broadcasters.*.options", "broadcasters.*.settings"),
    ("broadcasters.*.path", "broadcasters.*.plugin"),
    ("hub.buffer", "hub.outbox"),
    ("hub.keepalive", "hub.ping"),
    ("hub.max_clients", "hub.max_connections"),
    ("hub.queue", "hub.outbox"),
    ("log.filter", "log.level"),
    ("logging", "log"),
    ("metrics", "admin"),
    ("plugin", "plugins"),
    ("plugins.paths", "plugins.dirs"),
    ("server.address", "server.listen"),
    ("server.allowed_origins", "server.origins"),
    ("server.bind", "server.listen"),
    ("server.port", "server.listen"),
    ("server.routes", "server.endpoints"),
    ("server.shutdown_timeout", "server.drain"),
    ("server.threads", "server.shards"),
    ("server.workers", "server.shards"),
    ("streams.*.public", "streams.*.visible"),
];

/// The name of a setting that is unknown by this one; `*` stands for a name that the operator chose.
pub fn other_name(dotted: &str) -> Option<String> {
    let given: Vec<&str> = dotted.split('.').collect();
    let fits = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('.').collect();
        parts.len() == given.len() && parts.iter().zip(&given).all(|(part, given)| part == given || *part == "*")
    };
    let (_, here) = OTHER_NAMES.iter().find(|(elsewhere, _)| fits(elsewhere))?;
    Some(here.replace('*', given.get(1).unwrap_or(&"NAME")))
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

    #[test]
    fn a_setting_is_found_by_the_name_it_has_elsewhere() {
        assert_eq!(other_name("server.threads").as_deref(), Some("server.shards"));
        assert_eq!(other_name("broadcasters.bars.options").as_deref(), Some("broadcasters.bars.settings"));
        assert_eq!(
            other_name("broadcasters.bars.settings.options"),
            None,
            "what plugins call theirs is their own matter"
        );
    }

    #[test]
    fn every_name_from_elsewhere_is_unknown_here_and_leads_to_one_that_is_known() {
        let schema = crate::json_schema::Schema::new(&crate::config::SCHEMA);
        let known = |dotted: &str| {
            dotted.replace('*', "x").split('.').try_fold(schema, |here, part| here.below(part)).is_some()
        };
        for (elsewhere, here) in OTHER_NAMES {
            assert!(!known(elsewhere) && known(here), "{elsewhere} → {here}");
        }
    }
}
