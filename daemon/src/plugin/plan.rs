//! What a new configuration means for the broadcasters that run: old × new → changes, without doing anything.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::restart::Restart;
use super::stream::Overrides;

/// What the configuration wants of one broadcaster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Its own name and that of its stream.
    pub name: String,
    pub plugin: String,
    /// A JSON object, valid by the plugin's schema.
    pub settings: Value,
    pub listen: Vec<String>,
    /// It may listen to private streams.
    pub allow_private: bool,
    pub restart: Restart,
    /// What the plugin's file must hash to, if that is pinned.
    pub sha256: Option<String>,
    pub stream: Overrides,
    /// It is shown, but does not run, and its stream has no source.
    pub disabled: bool,
    /// How often an operator wanted it started anew.
    pub generation: u64,
    /// What the plugin's file hashes to; filled in by the supervisor when it has read the file.
    pub file_sha256: String,
}

/// What becomes of one broadcaster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "change", content = "broadcaster", rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Start(String),
    /// It is no longer wanted.
    Stop(String),
    /// Another library or other inputs, or an operator wants it: a new instance takes over the state.
    Replace(String),
    /// Other settings: the plugin is asked to take them, and replaced if it cannot.
    Reconfigure(String),
    /// Only things changed that the plugin does not see: limits of its stream, restarts.
    Adjust(String),
    /// It is quarantined, and nothing changed that the plugin sees: it may try again.
    Retry(String),
    Keep(String),
}

impl Change {
    pub fn name(&self) -> &str {
        match self {
            Self::Start(name)
            | Self::Stop(name)
            | Self::Replace(name)
            | Self::Reconfigure(name)
            | Self::Adjust(name)
            | Self::Retry(name)
            | Self::Keep(name) => name,
        }
    }
}

/// The changes from old to new, in order of the broadcasters' names.
pub fn plan(old: &[Wanted], new: &[Wanted]) -> Vec<Change> {
    let mut pairs: BTreeMap<&str, (Option<&Wanted>, Option<&Wanted>)> = BTreeMap::new();
    for wanted in old {
        pairs.entry(&wanted.name).or_default().0 = Some(wanted);
    }
    for wanted in new {
        pairs.entry(&wanted.name).or_default().1 = Some(wanted);
    }
    pairs.into_iter().filter_map(|(name, (old, new))| Some(change(old, new)?(name.to_owned()))).collect()
}

/// The broadcasters that listen to each other in a circle, if there is one: events would run in it for ever.
pub fn circle(wanted: &[Wanted]) -> Option<Vec<&str>> {
    let listens: BTreeMap<&str, &[String]> = wanted.iter().map(|one| (one.name.as_str(), &*one.listen)).collect();
    wanted.iter().find_map(|start| {
        let mut path = vec![start.name.as_str()];
        leads_back(&start.name, &listens, &mut path).then_some(path)
    })
}

fn change(old: Option<&Wanted>, new: Option<&Wanted>) -> Option<fn(String) -> Change> {
    Some(match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => Change::Start,
        (Some(_), None) => Change::Stop,
        (Some(old), Some(new)) if old == new => Change::Keep,
        (Some(old), Some(new)) => {
            let same_inputs = old.listen == new.listen && old.allow_private == new.allow_private;
            let same_generation = old.generation == new.generation;
            let same_library = old.plugin == new.plugin && old.file_sha256 == new.file_sha256;
            match old.settings == new.settings {
                _ if !same_library || !same_inputs || !same_generation => Change::Replace,
                true => Change::Adjust,
                false => Change::Reconfigure,
            }
        }
    })
}

/// Walks from the last broadcaster of the path along what it listens to, until it meets the first again.
fn leads_back<'a>(start: &str, listens: &BTreeMap<&'a str, &'a [String]>, path: &mut Vec<&'a str>) -> bool {
    let last = path.last().copied().unwrap_or_default();
    for next in listens.get(last).copied().unwrap_or_default() {
        if next == start {
            return true;
        }
        if !path.contains(&next.as_str()) {
            path.push(next);
            if leads_back(start, listens, path) {
                return true;
            }
            path.pop();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn wanted(name: &str) -> Wanted {
        Wanted { name: name.to_owned(), plugin: "p".to_owned(), settings: json!({"a": 1}), ..Wanted::default() }
    }

    #[test]
    fn each_difference_has_its_change() {
        type Difference = (&'static str, fn(&mut Wanted), fn(String) -> Change);
        let differences: [Difference; 7] = [
            ("nothing", |_| {}, Change::Keep),
            ("settings", |one| one.settings = json!({"a": 2}), Change::Reconfigure),
            ("file", |one| one.file_sha256 = "f".to_owned(), Change::Replace),
            ("plugin and settings", |one| (one.plugin, one.settings) = ("q".to_owned(), json!({})), Change::Replace),
            ("inputs", |one| one.listen = vec!["ticks".to_owned()], Change::Replace),
            ("restart", |one| one.restart.within = Duration::ZERO, Change::Adjust),
            ("pin", |one| one.sha256 = Some("f".to_owned()), Change::Adjust),
        ];
        for (what, differ, change) in differences {
            let mut new = wanted("a");
            differ(&mut new);
            assert_eq!(plan(&[wanted("a")], &[new]), [change("a".to_owned())], "{what}");
        }
    }

    #[test]
    fn changes_go_by_name_whatever_the_order() {
        let old = [wanted("gone"), wanted("kept")];
        let new = [wanted("new"), wanted("kept")];
        let changes = ["gone", "kept", "new"].map(str::to_owned);
        let [gone, kept, fresh] = changes;
        assert_eq!(plan(&old, &new), [Change::Stop(gone), Change::Keep(kept), Change::Start(fresh)]);
        assert_eq!(plan(&[], &[]), []);
    }

    #[test]
    fn a_circle_is_found_and_named() {
        let listens = |name: &str, listen: &[&str]| Wanted {
            listen: listen.iter().map(|stream| (*stream).to_owned()).collect(),
            ..wanted(name)
        };
        let chain = [listens("a", &["ticks", "b"]), listens("b", &["c"]), listens("c", &["ticks"])];
        assert_eq!(circle(&chain), None);
        let round = [listens("x", &["a"]), listens("a", &["ticks", "b"]), listens("b", &["c"]), listens("c", &["a"])];
        assert_eq!(circle(&round), Some(vec!["a", "b", "c"]));
        assert_eq!(circle(&[listens("a", &["a"])]), Some(vec!["a"]));
    }
}
