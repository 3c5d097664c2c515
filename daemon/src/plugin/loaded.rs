//! The libraries of this process: each content is loaded once and for good, and so many fit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded;
use super::file::Image;
use super::library::{Library, Opened};
use super::note::{Note, Unusable};
use crate::metrics;

/// Libraries that one process may load in its life: each Rust library takes one of 1,024 thread-local keys for good, and
/// without one the process aborts. Half is left for everybody else.
pub const MAX_GENERATIONS: usize = 512;

/// Loads a plugin whose note was read and found right, unless its content is loaded already. A plugin that does not
/// come back from its own start is waited for until the deadline; it holds up no other.
pub fn load(image: &Image, note: Note, cache: &Path, deadline: Duration) -> Result<Arc<Library>, Unusable> {
    let sha256 = image.sha256.clone();
    if let Some(library) = LOADED.begin(&sha256, deadline)? {
        return Ok(library);
    }
    let mut place = Place { loaded: &LOADED, sha256: sha256.clone(), now: None };
    let path = image.private_copy(cache, &note.id)?;
    let id = note.id.clone();
    let start = move || {
        let opened = Opened::open(&path)?;
        place.set(Slot::Failed); // from here on it is resident, whatever happens
        let library = Arc::new(opened.start(note, sha256)?);
        place.set(Slot::Ready(library.clone()));
        Ok(library)
    };
    bounded::call((&id, "its entry"), deadline, start).unwrap_or_else(|late| Err(Unusable::new(late.message)))
}

/// Whether this content is here already, so that it takes no other place.
pub fn is_here(sha256: &str) -> bool {
    LOADED.lock().contains_key(sha256)
}

static LOADED: Loaded = Loaded { slots: Mutex::new(BTreeMap::new()), changed: Condvar::new() };

/// By the hash of the content: all that was ever loaded, and what is being loaded.
struct Loaded {
    slots: Mutex<BTreeMap<String, Slot>>,
    changed: Condvar,
}

/// A place that is kept while a library is being loaded. Dropping it says how that ended, also when no thread could be
/// started for it.
struct Place<'a> {
    loaded: &'a Loaded,
    sha256: String,
    now: Option<Slot>,
}

enum Slot {
    /// By some thread, which may hang in the plugin's own start.
    Loading,
    Ready(Arc<Library>),
    /// It is here for good and would not start; it may be asked again.
    Failed,
}

impl Loaded {
    /// The library, or `None`: it is on the caller to load it and to say how that ended.
    fn begin(&self, sha256: &str, deadline: Duration) -> Result<Option<Arc<Library>>, Unusable> {
        let is_loading = |slots: &mut BTreeMap<_, _>| matches!(slots.get(sha256), Some(Slot::Loading));
        let waited = self.changed.wait_timeout_while(self.lock(), deadline, is_loading);
        let (mut slots, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match slots.get(sha256) {
            Some(Slot::Ready(library)) => return Ok(Some(library.clone())),
            Some(Slot::Loading) => {
                let why = "it hangs in its entry since it was first loaded; correct it and rebuild it";
                return Err(Unusable::new(why));
            }
            Some(Slot::Failed) => {}
            None => check_generations(slots.len())?,
        }
        slots.insert(sha256.to_owned(), Slot::Loading);
        metrics::plugin_generations(slots.len());
        Ok(None)
    }

    /// `None`: it was not opened, so nothing of it stays.
    fn end(&self, sha256: &str, now: Option<Slot>) {
        let mut slots = self.lock();
        match now {
            Some(slot) => _ = slots.insert(sha256.to_owned(), slot),
            None => _ = slots.remove(sha256),
        }
        metrics::plugin_generations(slots.len());
        drop(slots);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    fn set(&mut self, slot: Slot) {
        self.now = Some(slot);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.loaded.end(&self.sha256, self.now.take());
    }
}

fn check_generations(resident: usize) -> Result<(), Unusable> {
    if resident < MAX_GENERATIONS {
        return Ok(());
    }
    Err(Unusable::new(format!(
        "{MAX_GENERATIONS} plugin libraries were loaded since the start, the most that fit into one process; restart the daemon"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn loaded() -> Loaded {
        Loaded { slots: Mutex::default(), changed: Condvar::new() }
    }

    #[test]
    fn generations_are_limited_at_the_edge_and_the_same_content_counts_once() {
        let loaded = loaded();
        for n in 1..=MAX_GENERATIONS {
            assert!(matches!(loaded.begin(&n.to_string(), SOON), Ok(None)));
            loaded.end(&n.to_string(), Some(Slot::Failed)); // one that would not start is resident, too
        }
        let error = loaded.begin("one more", SOON).err().unwrap().to_string();
        assert!(
            error.starts_with("512 plugin libraries were loaded") && error.ends_with("restart the daemon"),
            "{error}"
        );
        assert!(matches!(loaded.begin("7", SOON), Ok(None)), "it is here already, and may try again");
        loaded.end("7", None);
        assert!(matches!(loaded.begin("one more", SOON), Ok(None)), "what could not be opened takes no place");
    }

    #[test]
    fn one_whose_load_never_began_may_be_loaded_at_once() {
        let loaded = loaded();
        for (now, kept) in [(None, 0), (Some(Slot::Failed), 1)] {
            assert!(matches!(loaded.begin("unlucky", SOON), Ok(None)));
            drop(Place { loaded: &loaded, sha256: "unlucky".to_owned(), now }); // as a thread does that cannot start
            assert_eq!(loaded.lock().len(), kept);
        }
        assert!(matches!(loaded.begin("unlucky", SOON), Ok(None)));
    }

    #[test]
    fn one_that_hangs_holds_up_nobody_for_ever() {
        let loaded = loaded();
        assert!(matches!(loaded.begin("hangs", SOON), Ok(None)));
        let error = loaded.begin("hangs", SOON).err().unwrap().to_string();
        assert_eq!(error, "it hangs in its entry since it was first loaded; correct it and rebuild it");
        assert!(matches!(loaded.begin("another", SOON), Ok(None)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| loaded.begin("hangs", Duration::from_secs(30)));
            loaded.end("hangs", Some(Slot::Failed));
            assert!(matches!(waits.join().unwrap(), Ok(None)), "it ended after all");
        });
    }
}
