//! Which library a broadcaster gets: that of its plugin's file as it is now, or the one that runs already.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Supervisor;
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

/// A file that a broadcaster was rolled back from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub sha256: String,
    pub why: String,
}

impl Supervisor {
    /// The library for a broadcaster. A file that it was rolled back from is not tried again by itself.
    pub fn library_for(
        &self,
        broadcaster: &str,
        plugin: &str,
        pin: Option<&str>,
        files: Files<'_>,
    ) -> Result<Arc<Library>, Unusable> {
        let runs = self.running_library(broadcaster, plugin);
        let is_looked_at = files == Files::All || files == Files::Of(broadcaster);
        if let Some(library) = runs.as_ref().filter(|one| !is_looked_at && pin.is_none_or(|pin| pin == one.sha256)) {
            return Ok(library.clone());
        }
        let library = self.library(plugin, pin)?;
        let rejected = self.rejected().get(broadcaster).cloned();
        match (rejected.filter(|one| one.sha256 == library.sha256), runs) {
            (Some(Rejected { why, .. }), _) if pin.is_some() => Err(Unusable::new(format!(
                "the broadcaster was rolled back from the pinned file: {why}; pin another one, or try it again: broadcastd broadcaster swap {broadcaster}"
            ))),
            (Some(_), Some(runs)) => {
                tracing::warn!(
                    broadcaster,
                    "its plugin's file was rolled back from and is not taken; replace it, or try it again: broadcastd broadcaster swap {broadcaster}"
                );
                Ok(runs)
            }
            _ => Ok(library),
        }
    }

    /// The file may be tried again.
    pub fn forgive(&self, broadcaster: &str) {
        self.rejected().remove(broadcaster);
    }

    pub(super) fn rejected(&self) -> MutexGuard<'_, std::collections::BTreeMap<String, Rejected>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running_library(&self, broadcaster: &str, plugin: &str) -> Option<Arc<Library>> {
        let shown = self.shown().get(broadcaster).filter(|one| one.wanted.plugin == plugin).cloned()?;
        shown.shared.map(|shared| shared.library.clone())
    }
}
