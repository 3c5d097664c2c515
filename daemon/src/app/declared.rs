//! A declared stream from the configuration to its settings, with the schema file that it names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::parts::{bytes, flush, lag, limits};
use crate::config::code;
use crate::config::schema::{Auth, DeclaredStream, Hub, SchemaMode};
use crate::hub::payloads::{Mode, Payloads};
use crate::hub::settings::Settings;
use crate::hub::template::Template;

/// The largest schema file: a hundred times one with dozens of kinds, and quickly read at every reload.
const LARGEST_SCHEMA: u64 = 1 << 20;

/// Schemas that the daemon has with it, for files that do not lie beside the configuration: the shipped one names them and
/// may be no file at all.
const SHIPPED: [(&str, &str); 1] = [("user-events.schema.json", include_str!("../../../docs/user-events.schema.json"))];

/// What is wrong with a declared stream: the key in its table, the code of the sort, and the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub key: &'static str,
    pub code: &'static str,
    pub message: String,
}

/// The settings of a declared stream. A schema file lies in `folder` unless its path is whole.
pub fn settings(hub: &Hub, stream: &DeclaredStream, folder: &Path) -> Result<Settings, Wrong> {
    let template = Template::parse(&stream.template);
    let wrong = |key, code| move |message: String| Wrong { key, code, message };
    Ok(Settings {
        visible: stream.visible,
        needs_identity: stream.auth == Auth::Required,
        private: stream.private,
        template: template.map_err(|bad| wrong("template", code::WRONG_FORMAT)(bad.to_string()))?,
        lag: lag(stream.lag),
        flush: stream.flush.map(flush),
        limits: limits(hub, &stream.history, stream.max_topics, stream.max_records),
        listen_buffer: bytes(hub.listen_buffer.0),
        broadcast: stream.broadcast.iter().cloned().collect::<BTreeSet<String>>(),
        dedup: stream.dedup.0,
        payloads: Arc::new(payloads(stream, folder).map_err(wrong("schema", code::UNUSABLE_SCHEMA))?),
        ..Settings::default()
    })
}

fn payloads(stream: &DeclaredStream, folder: &Path) -> Result<Payloads, String> {
    let Some(named) = stream.schema.as_deref().filter(|named| !named.is_empty()) else {
        return Ok(Payloads::default());
    };
    let (path, fragment) = named.split_once('#').unwrap_or((named, ""));
    let shipped = SHIPPED.iter().find(|(name, _)| *name == path).map(|(_, text)| *text);
    let path = folder.join(path);
    let document = match shipped.filter(|_| !path.exists()) {
        Some(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
        None => read(&path),
    };
    let document = document.map_err(|error| format!("the schema {}: {error}", path.display()))?;
    let modes = stream.schema_modes.iter().map(|(kind, said)| (kind.clone(), mode(*said)));
    let payloads = Payloads::new(&document, fragment, modes.collect());
    payloads.map_err(|unusable| format!("the schema {} cannot be used: {unusable}", path.display()))
}

fn read(path: &Path) -> Result<Value, String> {
    if !std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.is_file() {
        return Err("it is not a regular file".to_owned()); // reading another might never end
    }
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(LARGEST_SCHEMA + 1).read_to_end(&mut bytes));
    file.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST_SCHEMA {
        return Err(format!("it is larger than {} KiB", LARGEST_SCHEMA / 1024));
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("it is not JSON: {error}"))
}

fn mode(mode: SchemaMode) -> Mode {
    match mode {
        SchemaMode::Enforce => Mode::Enforce,
        SchemaMode::Warn => Mode::Warn,
        SchemaMode::Off => Mode::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(schema: &str, folder: &Path) -> Option<Wrong> {
        let stream = DeclaredStream { schema: Some(schema.to_owned()), ..DeclaredStream::default() };
        settings(&Hub::default(), &stream, folder).err()
    }

    #[test]
    fn a_schema_file_is_there_is_json_and_is_not_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let said = |start: &str| {
            let Wrong { key, code, message } = told("a.json", folder.path()).unwrap();
            assert_eq!((key, code), ("schema", code::UNUSABLE_SCHEMA));
            let rest = message.strip_prefix(&format!("the schema {}", path.display())).unwrap().to_owned();
            assert!(rest.starts_with(start), "{rest}");
        };
        said(": cannot be read: No such file");
        std::fs::create_dir(&path).unwrap();
        said(": it is not a regular file");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "{").unwrap();
        said(": it is not JSON: EOF");
        std::fs::write(&path, "{\"items\":{\"format\":\"uuid\"}}").unwrap();
        said(" cannot be used: /items/format: of the formats");
        let largest = format!("{{}}{}", " ".repeat(usize::try_from(LARGEST_SCHEMA).unwrap() - 2));
        std::fs::write(&path, &largest).unwrap();
        assert_eq!(told("a.json", folder.path()), None);
        assert_eq!(told(path.to_str().unwrap(), Path::new("elsewhere")), None, "a whole path stands for itself");
        std::fs::write(&path, largest + " ").unwrap();
        said(": it is larger than 1024 KiB");
    }

    #[test]
    fn a_schema_that_is_shipped_holds_where_no_file_of_its_name_lies() {
        let folder = tempfile::tempdir().unwrap();
        let each = "user-events.schema.json#/$defs/{kind}";
        assert_eq!(told(each, folder.path()), None);
        assert_eq!(told("user-events.schema.json#/$defs/PNL_UPDATE", folder.path()), None);
        std::fs::write(folder.path().join("user-events.schema.json"), "{\"$defs\":{}}").unwrap();
        assert!(told(each, folder.path()).is_some_and(|wrong| wrong.message.contains("names nothing like this")));
        assert!(told("elsewhere/user-events.schema.json", folder.path()).is_some(), "by its bare name only");
    }

    #[test]
    fn an_empty_name_is_no_schema() {
        assert_eq!(told("", Path::new("nowhere")), None);
    }
}
