//! Where log lines go and which of them: the journal, text or JSON, with levels that a reload can change; in `errors`, the
//! file that warnings and errors go to as well.

pub mod errors;
pub mod journal;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::errors::Errors;
use self::journal::Journal;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
        match () {
            () if journal::is_stderr(journal_stream) => Self::Journald,
            () if std::io::stderr().is_terminal() => Self::Text,
            () => Self::Json,
        }
    }
}

/// The level of what nothing is said about, as tracing has it.
const UNSAID: &str = "error";

/// The levels in force, to be read and changed while the process runs.
#[derive(Clone)]
pub struct Levels {
    filter: reload::Handle<EnvFilter, Registry>,
    said: Arc<Mutex<Said>>,
    /// Where lines go there.
    journal: Option<Journal>,
}

/// What was said about levels, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    /// `log.level` of the configuration.
    configured: String,
    /// What operators said since, by target; `""` is everything that has no level of its own.
    changed: BTreeMap<String, String>,
}

/// Begins to log. `levels` is a level, and further ones by target: `info,bars=debug`. `errors` gets what warns, whatever the
/// levels say.
pub fn start(format: Format, levels: &str, errors: Errors) -> Levels {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(levels));
    let journal = (format == Format::Journald).then(|| Journal::at(Path::new(journal::SOCKET)));
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        Format::Text => Box::new(fmt::layer().with_writer(std::io::stderr)),
        Format::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)),
        Format::Journald => Box::new(journal.clone()),
    };
    // A second start in one process keeps the first.
    _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(error_log(errors)).try_init();
    let said = Said { configured: levels.to_owned(), ..Said::default() };
    Levels { filter: handle, said: Arc::new(Mutex::new(said)), journal }
}

/// Has what is said meanwhile go to the journal, where lines go there, and to the error log. It is not on standard error: who
/// looks there is told otherwise.
pub fn aside(format: Format, errors: Errors, say: impl FnOnce()) {
    let journal = (format == Format::Journald).then(|| Journal::at(Path::new(journal::SOCKET)));
    let lines = tracing_subscriber::registry().with(journal.clone()).with(error_log(errors));
    tracing::subscriber::with_default(lines, say);
    journal.iter().for_each(Journal::finish);
}

fn error_log<S>(errors: Errors) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fmt::layer().json().flatten_event(true).with_writer(errors).with_filter(LevelFilter::WARN)
}

impl Levels {
    /// The process is about to end: what was logged and still waits for journald is waited for, within bounds.
    pub fn finish(&self) {
        self.journal.iter().for_each(Journal::finish);
    }

    /// Takes what the configuration says. Where it says something new, that holds instead of what operators said.
    pub fn configure(&self, levels: &str) {
        let mut said = self.lock();
        if said.configured != levels {
            *said = Said { configured: levels.to_owned(), ..Said::default() };
            self.apply(&said);
        }
    }

    /// Gives a target, or with `None` everything that has none of its own, this level, a word of `log.level`. Targets are
    /// known by how they begin; the others keep theirs all the same.
    pub fn change(&self, target: Option<&str>, level: &str, others: &[String]) {
        let mut said = self.lock();
        *said = said.with(target.unwrap_or_default(), level, others);
        self.apply(&said);
    }

    /// The level of a target, or with `None` of everything that has none of its own.
    pub fn of(&self, target: Option<&str>) -> String {
        self.lock().of(target.unwrap_or_default())
    }

    /// `log.level` of the configuration.
    pub fn configured(&self) -> String {
        self.lock().configured.clone()
    }

    fn apply(&self, said: &Said) {
        if let Err(error) = self.filter.reload(EnvFilter::new(said.text())) {
            tracing::warn!(%error, "the log levels could not be changed");
        }
    }

    /// A panic while the lock was held leaves words that are still sound: go on with them.
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Each target with its level.
    fn all(&self) -> BTreeMap<&str, &str> {
        let configured = self.configured.split(',').map(str::trim).filter(|part| !part.is_empty());
        let configured = configured.map(|part| part.split_once('=').unwrap_or(("", part)));
        configured.chain(self.changed.iter().map(|(target, level)| (target.as_str(), level.as_str()))).collect()
    }

    /// As tracing decides: by the longest target that the name begins with.
    fn of(&self, name: &str) -> String {
        let all = self.all();
        let near = all.iter().filter(|(target, _)| name.starts_with(**target)).max_by_key(|(target, _)| target.len());
        near.map_or(UNSAID, |(_, level)| level).to_owned()
    }

    fn with(&self, target: &str, level: &str, others: &[String]) -> Self {
        let mut next = self.clone();
        if !target.is_empty() {
            let alike = others.iter().filter(|other| *other != target && other.starts_with(target));
            next.changed.extend(alike.map(|other| (other.clone(), self.of(other))));
        }
        next.changed.insert(target.to_owned(), level.to_owned());
        next
    }

    fn text(&self) -> String {
        let directive = |(target, level): (&&str, &&str)| match *target {
            "" => (*level).to_owned(),
            target => format!("{target}={level}"),
        };
        self.all().iter().map(directive).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(configured: &str) -> Said {
        Said { configured: configured.to_owned(), ..Said::default() }
    }

    #[test]
    fn lines_go_to_the_journal_where_standard_error_is_its_stream() {
        let found = rustix::fs::fstat(rustix::stdio::stderr()).unwrap();
        let stream = format!("{}:{}", found.st_dev, found.st_ino);
        assert_eq!(Format::detect(Some(&stream)), Format::Journald);
        assert_ne!(Format::detect(None), Format::Journald);
    }

    #[test]
    fn the_level_of_a_name_is_that_of_the_longest_target_it_begins_with() {
        let said = said("info, bars=debug,bars2=off");
        let levels = ["", "ticks", "bars", "bars2", "bars3"].map(|name| said.of(name));
        assert_eq!(levels, ["info", "info", "debug", "off", "debug"]);
        assert_eq!(Said::default().of("bars"), UNSAID);
    }

    #[test]
    fn a_change_concerns_one_broadcaster_and_nobody_whose_name_begins_alike() {
        let others = ["bars", "bars2", "ticks"].map(str::to_owned);
        let changed = said("info").with("bars", "debug", &others);
        assert_eq!(["bars", "bars2", "ticks"].map(|name| changed.of(name)), ["debug", "info", "info"]);
        assert_eq!(changed.text(), "info,bars=debug,bars2=info");
        let again = changed.with("", "warn", &others).with("bars", "info", &others);
        assert_eq!(again.text(), "warn,bars=info,bars2=info");
    }

    #[test]
    fn what_the_configuration_says_anew_holds_instead_of_what_was_said_before() {
        let (_layer, filter) = reload::Layer::<EnvFilter, Registry>::new(EnvFilter::new("info"));
        let levels = Levels { filter, said: Arc::new(Mutex::new(said("info"))), journal: None };
        levels.change(Some("bars"), "debug", &[]);
        levels.configure("info");
        assert_eq!(levels.of(Some("bars")), "debug", "a reload that changes nothing here");
        levels.configure("warn");
        assert_eq!((levels.of(Some("bars")), levels.of(None)), ("warn".to_owned(), "warn".to_owned()));
    }
}
