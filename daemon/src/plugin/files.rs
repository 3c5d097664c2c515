//! Which library a broadcaster gets: that of its plugin's file as it is now, or the one that runs already.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Supervisor;
use super::broadcaster::Shared;
use super::library::Library;
use super::note::Unusable;

/// Whose plugin files are looked at anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files<'a> {
    All,
    /// The others go on with what they have.
    Of(&'a str),
    /// Those of broadcasters that do not run.
    Missing,
}

/// The library that a broadcaster gets.
pub struct Choice {
    pub library: Arc<Library>,
    pub file: Found,
}

/// What the plugin's file is to the broadcaster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody has looked at it.
    Unseen,
    /// It is the library that the broadcaster gets.
    Taken,
    /// It is not, and why, to stand behind the broadcaster's name.
    HeldBack(String),
}

/// So much of a file's hash tells it from another one.
pub const SHORT_HASH: usize = 12;

/// A file that a broadcaster was rolled back from.
#[derive(Clone)]
pub struct Rejected {
    pub sha256: String,
    pub version: String,
    pub why: String,
    /// What runs in its place.
    pub instead: Arc<Library>,
}

impl Rejected {
    /// What is said of the broadcaster, everywhere, behind "was".
    pub fn told(&self) -> String {
        let Self { sha256, version, why, instead } = self;
        let hash = sha256.get(..SHORT_HASH).unwrap_or_default();
        format!(
            "rolled back from its plugin's file {hash}… (version {version}) to version {}: {why}",
            instead.note.version
        )
    }
}

impl Supervisor {
    /// The library for a broadcaster. A file that it was rolled back from is not tried again by itself.
    pub fn library_for(
        &self,
        broadcaster: &str,
        plugin: &str,
        pin: Option<&str>,
        files: Files<'_>,
    ) -> Result<Choice, Unusable> {
        let runs = self.running_library(broadcaster, plugin);
        let is_looked_at = files == Files::All || files == Files::Of(broadcaster);
        if let Some(library) = runs.as_ref().filter(|one| !is_looked_at && pin.is_none_or(|pin| pin == one.sha256)) {
            return Ok(Choice { library: library.clone(), file: Found::Unseen });
        }
        let library = self.library_to_try(plugin, pin)?;
        let rejected = self.rejected().get(broadcaster).cloned();
        match rejected.filter(|one| one.sha256 == library.sha256) {
            Some(rejected) if pin.is_some() => Err(Unusable::new(format!(
                "the file is pinned, and the broadcaster was {}; pin another one, or try it again: broadcastd broadcaster swap {broadcaster}",
                rejected.told()
            ))),
            Some(rejected) => {
                let held_back = format!(
                    "was {}; the file is not taken before the daemon starts anew: replace it, or try it again: broadcastd broadcaster swap {broadcaster}",
                    rejected.told()
                );
                Ok(Choice { library: rejected.instead, file: Found::HeldBack(held_back) })
            }
            None => Ok(Choice { library, file: Found::Taken }),
        }
    }

    /// The file may be tried again.
    pub fn forgive(&self, broadcaster: &str) -> Option<Rejected> {
        self.rejected().remove(broadcaster)
    }

    /// It may not, after all.
    pub fn reject(&self, broadcaster: &str, rejected: Rejected) {
        self.rejected().insert(broadcaster.to_owned(), rejected);
    }

    /// The folders of the configuration in which plugins are looked for: those of the start.
    pub fn plugin_dirs(&self) -> &[PathBuf] {
        &self.config.places.dirs
    }

    /// Its plugin's file is what it runs: nothing is said of a rollback any more.
    pub fn end_rollback(&self, broadcaster: &str) {
        let shared = self.shown().get(broadcaster).and_then(|one| one.shared.clone());
        shared.iter().for_each(|shared| shared.end_rollback());
    }

    /// What is told of a broadcaster that runs this library, if it is what runs in the place of a rejected one.
    pub(super) fn rolled_back(&self, broadcaster: &str, library: &Library) -> Option<String> {
        self.rejected().get(broadcaster).filter(|one| one.instead.sha256 == library.sha256).map(Rejected::told)
    }

    /// A library begins for a broadcaster: what was rejected before another file does not matter any more.
    pub(super) fn forgive_for(&self, broadcaster: &str, library: &Library) {
        let is_other = |one: &Rejected| ![&one.sha256, &one.instead.sha256].contains(&&library.sha256);
        let mut rejected = self.rejected();
        if rejected.get(broadcaster).is_some_and(is_other) {
            rejected.remove(broadcaster);
        }
    }

    /// The plugin's file is what runs already: from which one it was rolled back does not matter any more.
    pub(super) fn forgive_as_mended(&self, broadcaster: &str, shared: &Shared) {
        let is_back = |one: &Rejected| one.instead.sha256 == shared.library.sha256;
        let mut rejected = self.rejected();
        if rejected.get(broadcaster).is_some_and(is_back) {
            rejected.remove(broadcaster);
            drop(rejected);
            shared.end_rollback();
        }
    }

    pub(super) fn rejected(&self) -> MutexGuard<'_, std::collections::BTreeMap<String, Rejected>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running_library(&self, broadcaster: &str, plugin: &str) -> Option<Arc<Library>> {
        let shown = self.shown().get(broadcaster).filter(|one| one.wanted.plugin == plugin).cloned()?;
        shown.shared.map(|shared| shared.library.clone())
    }
}
