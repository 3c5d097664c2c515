//! Whole configurations: the text of every mistake against golden files, and what right ones come to.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use super::{schema::*, value::*, *};

/// Stands at the end of every golden text.
const ACTIVE: &str = "Nothing was changed; the running configuration stays active.";

fn bars_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "source": { "enum": ["mock", "ticks", "replay"], "default": "mock" },
            "interval": { "type": ["string", "number"], "format": "duration", "minimum": 0.05, "default": "2s" },
            "symbols": { "type": "array", "items": { "$ref": "#/$defs/symbol" }, "default": ["AAPL", "GOOGL", "MSFT"] },
            "resolutions": { "type": "array", "items": { "type": "string" }, "minItems": 1, "default": ["1"] },
            "fill": { "oneOf": [{ "const": "none" }, { "const": "previous_close" }] },
            "clock": { "type": "string", "enum": ["wall", "event"] },
            "session": { "type": "string", "pattern": "^(24x7|[0-9]{4}-[0-9]{4})$" },
            "limits": { "$ref": "#/$defs/limits", "default": {} }
        },
        "$defs": {
            "symbol": { "type": "string", "minLength": 1, "maxLength": 32 },
            "limits": { "type": "object", "properties": { "max_fill": { "type": "integer", "default": 100 } } }
        }
    })
}

fn source(env: &[(&str, &str)], sets: &[&str]) -> Source {
    Source {
        path: PathBuf::from("config.toml"),
        env: env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        sets: sets.iter().map(|set| set.to_string()).collect(),
    }
}

fn load(text: &str) -> Loaded {
    load_with(text, &[], &[])
}

fn load_with(text: &str, env: &[(&str, &str)], sets: &[&str]) -> Loaded {
    let outcome = Config::from_text(&source(env, sets), text);
    outcome.unwrap_or_else(|found| panic!("{}", found.render(Paint::Plain, ACTIVE)))
}

/// The report on one input; its first lines say what comes from outside the file.
fn report(input: &str) -> String {
    let said = |word: &str| -> Vec<&str> {
        input.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(": ")).collect()
    };
    let env: Vec<(&str, &str)> = said("env").iter().map(|line| line.split_once('=').unwrap()).collect();
    let loaded = match Config::from_text(&source(&env, &said("set")), input) {
        Ok(loaded) => loaded,
        Err(found) => return found.render(Paint::Plain, ACTIVE),
    };
    let refused: Vec<Diagnostic> = said("refuse")
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(pointer, message)| {
            Diagnostic::of_plugin(&loaded.document, "bars", pointer.trim_end_matches('/'), message)
        })
        .collect();
    if !refused.is_empty() {
        return Diagnostics::about(&loaded.document, refused).render(Paint::Plain, ACTIVE);
    }
    let settings = said("plugin").first().map(|name| check_settings(&loaded.document, name, &bars_schema()));
    match settings {
        Some(Err(found)) => found.render(Paint::Plain, ACTIVE),
        Some(Ok(settings)) => format!("{settings:#}\n"),
        None => "no mistake\n".to_owned(),
    }
}

#[test]
fn every_mistake_reads_as_its_golden_text() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    inputs.sort();
    let mut wrong = Vec::new();
    for input in &inputs {
        let text = report(&std::fs::read_to_string(input).unwrap());
        let expected = input.with_extension("txt");
        if rewrite {
            std::fs::write(&expected, &text).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("── {} ──\n{text}", expected.display()));
        }
    }
    assert!(inputs.len() >= 20, "only {} mistakes", inputs.len());
    assert!(wrong.is_empty(), "these read otherwise now; UPDATE_GOLDEN=1 rewrites them\n{}", wrong.join("\n"));
}
