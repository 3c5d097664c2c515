//! What the commands do that run nothing: check, show, describe and explain; and below, those that ask a daemon.

pub mod connections;
pub mod daemon;
pub mod doctor;
pub mod log_level;
pub mod publish;
pub mod state;
mod table;
pub mod tap;
pub mod token;
pub mod top;

pub mod plugin;

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::{Value, json};

use crate::admin;
use crate::app::{StartError, offline};
use crate::cli::{Cli, Exit, Form, Format, Options, Shown};
use crate::config::diagnostic::Diagnostics;
use crate::config::effective::{Effective, Origins};
use crate::config::{self, Config, Loaded, Paint, SCHEMA, SHIPPED, Source, explain};
use crate::describe::asyncapi::asyncapi;
use crate::describe::draft07::draft07;
use crate::describe::typescript::typescript;
use crate::folders::Env;

/// How much of a configuration is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Text,
    /// Also the files that it names: plugins, keys, certificates, schemas.
    Files,
}

/// Says whether the configuration and every plugin's settings are right.
pub fn check(options: &Options, depth: Depth, format: Format) -> Exit {
    let outcome = load(options).map_err(StartError::Config).and_then(|(source, loaded)| {
        let warnings = match depth {
            Depth::Text => offline::look(&loaded),
            Depth::Files => offline::check(&source, &loaded)?,
        };
        Ok(warnings)
    });
    match (outcome, format) {
        (Ok(warnings), Format::Text) => {
            let shown = warnings.render(Paint::Plain, "the daemon would start all the same");
            say(&format!("{shown}{}: no mistakes", warnings.file()));
        }
        (Ok(warnings), Format::Json) => say(&format!("{:#}", warnings.to_json())),
        (Err(StartError::Config(report)), Format::Json) => {
            say(&format!("{:#}", report.to_json()));
            return Exit::Config;
        }
        (Err(error), _) => return fail(exit_of(&error), &error.to_string()),
    }
    Exit::Done
}

/// Prints what the configured streams declare.
pub fn schema(options: &Options, form: Form) -> Exit {
    of_configuration(options, |source, loaded| {
        let declarations = offline::declarations(source, loaded)?;
        Ok(match form {
            Form::Ts => typescript(&declarations),
            Form::Asyncapi => format!("{:#}", asyncapi(&declarations)),
        })
    })
}

/// Prints a configuration, or what may be in one.
pub fn config(options: &Options, shown: Shown) -> Exit {
    match shown {
        Shown::Default => {
            say(SHIPPED.trim_end());
            Exit::Done
        }
        Shown::Schema => of_configuration(options, |source, loaded| {
            Ok(format!("{:#}", editors_schema(&offline::settings_schemas(source, loaded)?)))
        }),
        Shown::Show { origin, format } => of_configuration(options, |source, loaded| {
            let filled_in = offline::filled_in(source, loaded)?;
            let tree = serde_json::to_value(&filled_in).map_err(|error| StartError::System(error.to_string()))?;
            let declared = offline::settings_schemas(source, loaded)?;
            let effective = Effective::new(&loaded.document, tree, &declared);
            Ok(match format {
                Format::Text => effective.toml(if origin { Origins::Shown } else { Origins::Hidden }),
                Format::Json => format!("{:#}", effective.json()),
            })
        }),
    }
}

/// Prints the page of one code, or a line for each.
pub fn explain(code: Option<&str>, format: Format) -> Exit {
    let wanted = explain::sections(code);
    if wanted.is_empty() {
        let code = code.unwrap_or_default();
        let unknown = format!("no error has the code {code:?}; `broadcastd explain` lists those that there are");
        return fail(Exit::Usage, &unknown);
    }
    match (format, code) {
        (Format::Json, _) => say(&serde_json::json!(wanted).to_string()),
        (Format::Text, Some(_)) => say(wanted[0].text),
        (Format::Text, None) => say(&explain::list()),
    }
    Exit::Done
}

pub fn completions(shell: Shell) -> Exit {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Into memory first: it panics where whoever reads it has gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

pub fn manual(folder: Option<&Path>) -> Exit {
    let command = Cli::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut page) {
            Ok(()) => {
                say(String::from_utf8_lossy(&page).trim_end());
                Exit::Done
            }
            Err(error) => fail(Exit::Internal, &format!("the manual cannot be made: {error}")),
        };
    };
    match fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let place = folder.display();
            let message =
                format!("the manual cannot be written to {place}: {error}; name a folder that you may write to");
            fail(Exit::Permission, &message)
        }
    }
}

pub fn load(options: &Options) -> Result<(Source, Loaded), Diagnostics> {
    let file = options.config_file();
    let source = source(options, file.as_deref());
    let loaded = Config::from_layers(&source, config::read(file.as_deref())?)?;
    Ok((source, loaded))
}

pub fn source(options: &Options, file: Option<&Path>) -> Source {
    let path = file.unwrap_or(Path::new(config::SHIPPED_NAME)).to_owned();
    Source { path, env: environment(), sets: options.sets.clone() }
}

/// The variables that are text.
fn environment() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Prints what is found out about the configuration.
fn of_configuration(options: &Options, find: impl FnOnce(&Source, &Loaded) -> Result<String, StartError>) -> Exit {
    let (source, loaded) = match load(options) {
        Ok(found) => found,
        Err(report) => return refuse(&report),
    };
    match find(&source, &loaded) {
        Ok(text) => {
            say(text.trim_end());
            Exit::Done
        }
        Err(error) => fail(exit_of(&error), &error.to_string()),
    }
}

/// The schema of the file in the dialect that editors know, with what the configured plugins take.
fn editors_schema(settings: &BTreeMap<String, Value>) -> Value {
    let mut schema = draft07(&SCHEMA, "#");
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    let broadcasters = &mut schema["properties"]["broadcasters"];
    let any = broadcasters["additionalProperties"].clone();
    for (name, declared) in settings {
        let place = format!("#/properties/broadcasters/properties/{name}/properties/settings");
        let own = draft07(declared, &place);
        broadcasters["properties"][name] = json!({ "allOf": [any.clone()], "properties": { "settings": own } });
    }
    schema
}

/// What the process ends with when it cannot start.
pub fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Config(_) | StartError::Both(..) => Exit::Config,
        StartError::Listen(error) | StartError::Admin(admin::Error::Listen(error)) => match error.kind() {
            ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Unavailable,
        },
        StartError::Admin(admin::Error::NeedsToken(_)) => Exit::Config,
        StartError::Admin(admin::Error::Thread(_)) => Exit::Internal,
        StartError::Folder(_) => Exit::Permission,
        StartError::System(_) => Exit::Internal,
    }
}

pub fn refuse(report: &Diagnostics) -> Exit {
    fail(Exit::Config, &report.render(Paint::Plain, "nothing runs"))
}

pub fn fail(exit: Exit, message: &str) -> Exit {
    // Nobody reads what cannot be printed; the code says it, too.
    _ = writeln!(std::io::stderr(), "{}", message.trim_end());
    exit
}

pub fn say(text: &str) {
    _ = writeln!(std::io::stdout(), "{text}");
}
