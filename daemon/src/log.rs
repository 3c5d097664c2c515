//! Where log lines go and which of them: journald, text or JSON, with levels that a reload can change.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Journald,
    Text,
    Json,
}

impl Format {
    /// Journald when the standard error stream is the journal's, text on a terminal, else JSON.
    pub fn detect(journal_stream: Option<&str>) -> Self {
        match journal_stream {
            Some(_) => Self::Journald,
            None if std::io::stderr().is_terminal() => Self::Text,
            None => Self::Json,
        }
    }
}

/// The levels in force, to be changed while the process runs.
pub struct Levels(reload::Handle<EnvFilter, Registry>);

/// Begins to log. `levels` is a level, and further ones by target: `info,bars=debug`.
pub fn start(format: Format, levels: &str) -> Levels {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(levels));
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        Format::Text => Box::new(fmt::layer().with_writer(std::io::stderr)),
        Format::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)),
        Format::Journald => match tracing_journald::layer() {
            Ok(journal) => Box::new(journal),
            Err(_) => Box::new(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)),
        },
    };
    // A second start in one process keeps the first.
    _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Levels(handle)
}

impl Levels {
    pub fn set(&self, levels: &str) {
        if let Err(error) = self.0.reload(EnvFilter::new(levels)) {
            tracing::warn!(%error, "the log levels could not be changed");
        }
    }
}
