//! The ways to the configuration's files: every folder and every symlink that leads to one of them.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::config::files;

/// How many symlinks lead on before they are taken for a circle; the kernel's own limit.
const MAX_HOPS: usize = 40;

/// The folders on the ways to the files, and the entries in them that are steps of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) steps: BTreeSet<PathBuf>,
    /// The folder in which every file counts that ends as one of the configuration does, while it is there.
    open: Option<PathBuf>,
}

impl Way {
    /// The ways to the file and to everything in its folder, as far as they exist.
    pub(super) fn to(file: &Path) -> Self {
        let mut way = Self::default();
        way.walk(file);
        let Some(folder) = way.walk(&files::folder_of(file)) else { return way };
        way.folders.insert(folder.clone());
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let layers = entries.map(|entry| entry.file_name()).filter(|name| files::is_layer(name));
        // More than are read are refused until there are fewer, which the folder tells.
        layers.take(files::MOST_FILES).for_each(|name| drop(way.walk(&folder.join(name))));
        way.open = Some(folder);
        way
    }

    /// Whether what happens to this path is about one of the ways.
    pub(super) fn has(&self, path: &Path) -> bool {
        let is_layer = || path.file_name().is_some_and(files::is_layer) && path.parent() == self.open.as_deref();
        self.folders.contains(path) || self.steps.contains(path) || is_layer()
    }

    /// Follows the path component by component, through every symlink, as far as it exists, and gives its real end.
    fn walk(&mut self, path: &Path) -> Option<PathBuf> {
        let mut here = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = components(path).collect();
        let mut hops = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                here.pop();
                continue;
            }
            let step = here.join(&part);
            self.folders.insert(here.clone());
            self.steps.insert(step.clone());
            match fs::read_link(&step) {
                Ok(target) => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return None;
                    }
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    components(&target).collect::<Vec<_>>().into_iter().rev().for_each(|part| ahead.push_front(part));
                }
                // Not a symlink, or not there: what is missing ends the way where it will appear.
                Err(_) if step.symlink_metadata().is_err() => return None,
                Err(_) => here = step,
            }
        }
        Some(here)
    }
}

fn components(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_concern_us_and_what_lies_beside_them_does_not() {
        let steps = BTreeSet::from([PathBuf::from("/a/config.toml")]);
        let ours = Way { steps, open: Some("/a/config.d".into()), ..Way::default() };
        let has = |path: &str| ours.has(Path::new(path));
        assert!(has("/a/config.toml") && !has("/a/other"));
        assert!(has("/a/config.d/new.toml"), "one that was not there before");
        for beside in ["/a/config.d/new.toml~", "/a/config.d/.#new.toml", "/a/config.d/4913", "/a/config.d/x/new.toml"]
        {
            assert!(!has(beside), "{beside}");
        }
    }
}
