//! Where streams with listeners ended when the daemon ended in order: whoever had handled everything has lost nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::event::Position;
use crate::hub::stream::Stream;

/// A name that no state file has.
const FILE: &str = "streams.ended";

/// The ends of this life and the one before. The file of the one before is taken away before anything is listened to: a
/// daemon that is killed leaves none, and then nobody can say what was lost.
pub struct Ends {
    dir: PathBuf,
    before: OnceLock<BTreeMap<String, Position>>,
}

impl Ends {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, before: OnceLock::new() }
    }

    /// Takes over what the life before left; once, however often it is called.
    pub fn take_over(&self) {
        self.before.get_or_init(|| match self.take() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let file = self.dir.join(FILE).display().to_string();
                tracing::warn!(file, %error, "how streams ended last cannot be read or taken away; gaps are told; delete it");
                BTreeMap::new()
            }
            taken => taken.unwrap_or_default(),
        });
    }

    /// Where to go on in this life of a stream: at its beginning, if everything of the life before was handled.
    pub fn go_on(&self, stream: &Stream, saved: &Position) -> Position {
        let end = self.before.get().and_then(|before| before.get(&**stream.name()));
        if end.is_some_and(|end| end.epoch == saved.epoch && end.seq <= saved.seq) {
            return Position { epoch: stream.epoch().clone(), seq: 0 };
        }
        saved.clone()
    }

    /// Nothing more is published to these streams.
    pub fn write(&self, ends: &BTreeMap<String, Position>) -> io::Result<()> {
        let ends: BTreeMap<&String, (&str, u64)> =
            ends.iter().map(|(stream, at)| (stream, (&*at.epoch, at.seq))).collect();
        fs::create_dir_all(&self.dir)?;
        let (path, temporary) = (self.dir.join(FILE), self.dir.join(format!("{FILE}.tmp")));
        let file = File::create(&temporary)?;
        serde_json::to_writer(&file, &ends)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// What cannot be read, or not taken away for good, counts as nothing: then too much is told as lost, not too little.
    fn take(&self) -> io::Result<BTreeMap<String, Position>> {
        let path = self.dir.join(FILE);
        let text = fs::read(&path);
        fs::remove_file(&path)?;
        File::open(&self.dir)?.sync_all()?;
        let text = text?;
        let ends: BTreeMap<String, (String, u64)> = serde_json::from_slice(&text)?;
        Ok(ends.into_iter().map(|(stream, (epoch, seq))| (stream, Position { epoch: epoch.into(), seq })).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;
    use crate::hub::settings::Settings;

    #[test]
    fn who_had_handled_everything_goes_on_at_the_beginning_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |epoch: &str, seq| Position { epoch: epoch.into(), seq };
        let life = || Ends::new(dir.path().join("state"));
        life().write(&BTreeMap::from([("in".to_owned(), at("one", 7))])).unwrap();
        let hub = Hub::new("two");
        let [known, other] = ["in", "other"].map(|name| hub.declare(name, Settings::default()));
        let next = life();
        next.take_over();
        next.take_over();
        assert_eq!(next.go_on(&known, &at("one", 7)), Position { epoch: known.epoch().clone(), seq: 0 });
        for unlike in [at("one", 6), at("none", 7)] {
            assert_eq!(next.go_on(&known, &unlike), unlike);
        }
        assert_eq!(next.go_on(&other, &at("one", 7)), at("one", 7));
        let killed = life();
        killed.take_over();
        assert_eq!(killed.go_on(&known, &at("one", 7)), at("one", 7), "the life before left nothing");
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"in\":").unwrap();
        let ends = Ends::new(dir.path().to_owned());
        ends.take_over();
        assert_eq!(ends.before.get(), Some(&BTreeMap::new()));
        assert!(!dir.path().join(FILE).exists());
    }
}
