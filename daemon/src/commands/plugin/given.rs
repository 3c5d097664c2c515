//! What a plugin is given that is tried without a daemon: its file, its settings, its inputs.

use std::fs;
use std::io::BufRead;
use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{Paint, check_alone, document::Document};
use crate::hub::names::Names;
use crate::ingest;
use crate::plugin::alone::Alone;

/// The longest line that is read: an event of the largest payload, and room for what stands beside it.
pub const MAX_LINE: u64 = (1 << 20) + (64 << 10);

/// Settings that the schema refuses.
pub struct Wrong {
    /// Where, in the settings, and what: of the first mistake.
    pub pointer: String,
    pub message: String,
    /// All of it.
    pub report: String,
}

/// The settings as they are given: JSON, the name of a file, or none.
pub fn settings(given: Option<&str>) -> Result<Document, String> {
    let Some(given) = given else { return Ok(Document::of_tree("no --settings", Value::Object(Map::new()))) };
    let is_json = |text: &str| text.trim_start().starts_with('{');
    let (name, text) = if is_json(given) {
        ("--settings", given.to_owned())
    } else {
        let read = fs::read_to_string(given);
        (given, read.map_err(|error| format!("--settings {given}: {error}; give a file, or JSON that begins with {{"))?)
    };
    if is_json(&text) {
        let tree = serde_json::from_str(&text).map_err(|error| format!("{name} is no JSON: {error}"))?;
        return Ok(Document::of_tree(name, tree));
    }
    Document::parse(name, &text).map_err(|report| report.render(Paint::Plain, "nothing runs"))
}

/// The settings with their defaults, if they fit the schema.
pub fn checked(document: &Document, schema: &Value) -> Result<Value, Wrong> {
    check_alone(document, schema).map_err(|report| {
        let first = report.items.first();
        let of_first = |part: fn(&crate::config::diagnostic::Diagnostic) -> String| first.map(part).unwrap_or_default();
        Wrong {
            pointer: of_first(|one| one.pointer.clone()),
            message: of_first(|one| one.message.clone()),
            report: report.render(Paint::Plain, "nothing runs"),
        }
    })
}

/// The lines of a text, one by one, none of them longer than is taken; `Err` says what is wrong with the text itself.
pub fn next_line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    use std::io::Read as _;
    let mut line = Vec::new();
    from.take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(|error| format!("cannot be read: {error}"))?;
    if line.len() as u64 > MAX_LINE {
        return Err(format!("is longer than {MAX_LINE} bytes"));
    }
    Ok((!line.is_empty()).then_some(line))
}

/// Gives it one line of NDJSON as an input: what a producer would send to the daemon. An empty line is none.
pub fn input(alone: &mut Alone, line: &[u8]) -> Result<(), String> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let rejected = |why: ingest::Rejection| place(&why.pointer, &why.message);
    let fields = ingest::fields(line).map_err(rejected)?;
    let stream = fields.stream().map_err(|mistake| place(&mistake.pointer, &mistake.error))?;
    if alone.owns(&stream) {
        return Err(place(
            "/stream",
            &format!("\"{stream}\" is the plugin's own stream; its inputs are those of others"),
        ));
    }
    let event = fields.event(&stream, Names::NONE).map_err(|mistake| place(&mistake.pointer, &mistake.error))?;
    alone.publish(&stream, &event.draft()).map_err(|refused| refused.to_string())
}

/// Every line of a file.
pub fn inputs(alone: &mut Alone, file: &Path) -> Result<(), String> {
    let named = |why: &dyn std::fmt::Display| format!("--inputs {}: {why}", file.display());
    let mut lines = std::io::BufReader::new(fs::File::open(file).map_err(|error| named(&error))?);
    let mut number = 0;
    while let Some(line) = next_line(&mut lines).map_err(|why| named(&why))? {
        number += 1;
        input(alone, &line).map_err(|why| named(&format!("line {number}: {why}")))?;
    }
    Ok(())
}

/// What is said, and where.
pub fn place(pointer: &str, message: &str) -> String {
    if pointer.is_empty() { message.to_owned() } else { format!("{message} (at {pointer})") }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn lines_are_read_up_to_their_bound() {
        let most = vec![b'x'; MAX_LINE as usize];
        let mut lines = Cursor::new([&most[..MAX_LINE as usize - 1], b"\n\nlast"].concat());
        assert_eq!(next_line(&mut lines).unwrap().unwrap().len() as u64, MAX_LINE);
        assert_eq!(next_line(&mut lines).unwrap().unwrap(), b"\n");
        assert_eq!(next_line(&mut lines).unwrap().unwrap(), b"last");
        assert_eq!(next_line(&mut lines), Ok(None));
        let mut longer = Cursor::new([&most[..], b"x"].concat());
        assert_eq!(next_line(&mut longer), Err(format!("is longer than {MAX_LINE} bytes")));
    }

    #[test]
    fn settings_are_json_or_a_file_of_either_form() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let tree = |given: &str| settings(Some(given)).map(|document| document.tree().clone());
        let wanted = Ok(serde_json::json!({ "a": [1] }));
        assert_eq!(tree(r#" {"a": [1]}"#), wanted);
        assert_eq!(tree(&file("settings.toml", "a = [1]\n")), wanted);
        assert_eq!(tree(&file("settings.json", "{\"a\": [1]}\n")), wanted);
        assert_eq!(settings(None).unwrap().tree(), &serde_json::json!({}));
        assert!(tree("nowhere.toml").unwrap_err().ends_with("give a file, or JSON that begins with {"));
        assert!(tree("{\"a\"").unwrap_err().starts_with("--settings is no JSON"));
        assert!(tree(&file("wrong.toml", "a = \n")).unwrap_err().contains("wrong.toml:1"));
    }
}
