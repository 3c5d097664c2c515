//! Which files of plugins take the place of others, for who is told of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Loaded;
use crate::plugin::Running;
use crate::plugin::library::Library;

/// One file of a plugin for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchanged {
    pub old: Build,
    pub new: Build,
    /// The new one is what ran before the old one.
    pub is_back: bool,
}

/// A file of a plugin, as it is known from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    pub version: String,
    pub sha256: String,
}

/// Those that go on with another file than they run, by name.
pub(super) fn exchanged(
    running: &BTreeMap<String, Running>,
    wanted: &BTreeMap<String, Loaded>,
) -> BTreeMap<String, Exchanged> {
    let of = |(name, one): (&String, &Running)| {
        let (old, new) = (&one.broadcaster.shared().library, &wanted.get(name)?.library);
        let is_back = one.before.as_ref().is_some_and(|before| before.sha256() == new.sha256);
        let exchanged = Exchanged { old: Build::of(old), new: Build::of(new), is_back };
        (old.sha256 != new.sha256).then(|| (name.clone(), exchanged))
    };
    running.iter().filter_map(of).collect()
}

impl Build {
    fn of(library: &Library) -> Self {
        Self { version: library.note.version.clone(), sha256: library.sha256.clone() }
    }
}
