//! The configuration: files, environment and `--set` composed, checked as a whole, and turned into types.

pub mod check;
pub mod code;
pub mod diagnostic;
pub mod document;
pub mod effective;
pub mod explain;
mod exposed;
pub mod files;
pub mod layers;
pub mod overlay;
pub mod reference;
mod render;
mod rooted;
mod rules;
pub mod schema;
pub mod source;
pub mod value;
pub mod watch;
pub mod words;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_json::{Map, Value};

pub use diagnostic::{Diagnostic, Diagnostics, Paint};
pub use document::{Document, Origin};
pub use layers::Layers;
pub use rules::{LEVELS, OWN_STREAM};
pub use schema::Config;

use crate::json_schema::Schema;

/// The configuration that holds, whole, only when there is no file.
pub const SHIPPED: &str = include_str!("../../config.toml");

/// What messages call it.
pub const SHIPPED_NAME: &str = "the shipped config.toml";

/// The JSON Schema of config.toml, made once: it never changes while the process runs.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Config).to_value());

/// Where a configuration comes from. The environment is handed in, never read here.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub path: PathBuf,
    pub env: BTreeMap<String, String>,
    /// `key=value` of every `--set`, in order.
    pub sets: Vec<String>,
}

/// A configuration that passed every check but those of the plugins.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub document: Document,
    /// The folder of the file: where files that it names without a folder lie.
    pub folder: PathBuf,
    /// What does no harm but probably is not what was meant.
    pub warnings: Diagnostics,
}

/// A configuration held against the schema.
struct Judged {
    document: Document,
    /// Without what is wrong.
    typed: serde_json::Result<Config>,
    found: Vec<Diagnostic>,
}

impl Judged {
    fn of(source: &Source, layers: Layers) -> Result<Self, Diagnostics> {
        let mut document = Document::of_layers(layers)?;
        let mut found = overlay::apply(&mut document, &source.env, &source.sets);
        found.extend(overlay::apply_prefixed_env(&mut document, &source.env, &source.sets));
        let schema = Schema::new(&SCHEMA);
        document.read_overrides("", schema);
        found.extend(check::check(&document, "", schema));
        let typed = serde_json::from_value(without_faults(&document, &found));
        Ok(Self { document, typed, found })
    }
}

impl Config {
    /// Reads and checks the file of `source` and its folder, with everything laid over them.
    pub fn load(source: &Source) -> Result<Loaded, Diagnostics> {
        Self::from_layers(source, files::read(&source.path)?)
    }

    /// The same for the text of a file without a folder beside it.
    pub fn from_text(source: &Source, text: &str) -> Result<Loaded, Diagnostics> {
        Self::from_layers(source, Layers::of(&source.path.display().to_string(), text))
    }

    /// The same for files that have been read already, as the watch hands them over.
    pub fn from_layers(source: &Source, layers: Layers) -> Result<Loaded, Diagnostics> {
        let Judged { document, typed, mut found } = Judged::of(source, layers)?;
        match &typed {
            Ok(config) => {
                let faults: Vec<String> = found.iter().map(|one| one.pointer.clone()).collect();
                found.extend(rules::check(&document, config, &faults));
            }
            // The schema is made from the same types, so that this should only happen beside an error already found.
            Err(error) if found.is_empty() => found.push(Diagnostic::new(code::WRONG_FORMAT, error.to_string())),
            Err(_) => {}
        }
        let folder = source.path.parent().unwrap_or(Path::new("")).to_owned();
        match typed {
            Ok(config) if found.is_empty() => {
                let ignored = overlay::ignored(&source.env, &sections());
                let odd = ignored.into_iter().chain(exposed::look(&document, &config)).collect();
                let warnings = Diagnostics::about(&document, odd);
                Ok(Loaded { config: config.rooted(&folder), document, folder, warnings })
            }
            _ => Err(Diagnostics::about(&document, found)),
        }
    }

    /// What is said about the log, by a configuration that is refused as well: without what is wrong in it, and nothing where
    /// the files cannot be read as TOML.
    pub fn log_of(source: &Source, layers: Layers) -> schema::Log {
        let typed = Judged::of(source, layers).ok().and_then(|judged| judged.typed.ok());
        typed.map(|config| config.log).unwrap_or_default()
    }

    /// The shipped configuration with the environment and `--set` laid over it, for when there is no file.
    pub fn shipped(source: &Source) -> Result<Loaded, Diagnostics> {
        let named = Source { path: PathBuf::from(SHIPPED_NAME), ..source.clone() };
        Self::from_text(&named, SHIPPED)
    }
}

/// The files of a configuration as they are now; the shipped one where there is no file.
pub fn read(file: Option<&Path>) -> Result<Layers, Diagnostics> {
    file.map_or_else(|| Ok(Layers::of(SHIPPED_NAME, SHIPPED)), files::read)
}

/// Checks a broadcaster's settings against its plugin's schema, and gives them to the plugin with defaults filled in.
pub fn check_settings(document: &Document, broadcaster: &str, schema: &Value) -> Result<Value, Diagnostics> {
    let pointer = format!("/broadcasters/{broadcaster}/settings");
    let schema = Schema::new(schema);
    let mut document = document.clone();
    if let Some(Value::Object(table)) = document.tree.pointer_mut(&format!("/broadcasters/{broadcaster}")) {
        table.entry("settings").or_insert_with(|| Value::Object(Map::new()));
    }
    document.read_overrides(&pointer, schema);
    let found = check::check(&document, &pointer, schema);
    if found.is_empty() {
        let settings = document.value(&pointer).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        Ok(with_defaults(settings, schema))
    } else {
        Err(Diagnostics::about(&document, found))
    }
}

/// The same for settings that are a document by themselves.
pub fn check_alone(document: &Document, schema: &Value) -> Result<Value, Diagnostics> {
    let schema = Schema::new(schema);
    let found = check::check(document, "", schema);
    if found.is_empty() {
        Ok(with_defaults(document.tree.clone(), schema))
    } else {
        Err(Diagnostics::about(document, found))
    }
}

/// The tables at the top of the configuration.
fn sections() -> Vec<&'static str> {
    Schema::new(&SCHEMA).properties().into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

/// The tree without what is wrong in it, so that the rest can be checked against each other in the same run.
fn without_faults(document: &Document, found: &[Diagnostic]) -> Value {
    let mut tree = document.tree().clone();
    // What is missing cannot be taken away, and the types do without it.
    for fault in found.iter().filter(|one| one.code != code::MISSING_KEY) {
        let mut here = fault.pointer.as_str();
        // An entry of a list cannot go alone: the places of the others would shift. So the list goes.
        while let Some((parent, key)) = here.rsplit_once('/') {
            if let Some(Value::Object(table)) = tree.pointer_mut(parent) {
                table.remove(&key.replace("~1", "/").replace("~0", "~"));
                break;
            }
            here = parent;
        }
    }
    tree
}

/// The value with every `default` of the schema where it says nothing.
fn with_defaults(mut value: Value, schema: Schema<'_>) -> Value {
    match &mut value {
        Value::Object(table) => {
            let certain = schema.certain();
            for name in certain.iter().filter_map(Schema::properties).flat_map(Map::keys) {
                let Some(below) = certain.iter().find_map(|one| one.property(name)) else { continue };
                let default = || below.certain().iter().find_map(|one| one.keyword("default")).cloned();
                if let Some(given) = table.remove(name).or_else(default) {
                    table.insert(name.clone(), with_defaults(given, below));
                }
            }
        }
        Value::Array(items) => {
            if let Some(each) = schema.certain().iter().find_map(Schema::items) {
                items.iter_mut().for_each(|item| *item = with_defaults(item.take(), each));
            }
        }
        _ => {}
    }
    value
}

#[cfg(test)]
mod tests;
