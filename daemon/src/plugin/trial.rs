//! Files of plugins that are new to this process are tried in another one first: whatever they do there ends with it, and
//! a file that is refused takes no place among the libraries of this one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alone::Alone;
use super::bounded;
use super::file::Image;
use super::library::{Facts, Library, Taken};
use super::loaded;
use super::note::{Note, Unusable};
use super::port::Fault;
use super::timing::SystemClock;

/// How long the other process may take to begin and to end, on a busy machine.
const STARTING: Duration = Duration::from_secs(20);
/// The calls that it makes, each with its own deadline: the entry, `validate`, `stream_with` and `create`.
const CALLS: u32 = 4;
/// The most that is read of an answer, which has a schema of settings in it: this bounds what a hostile one costs.
const MAX_ANSWER: u64 = 16 << 20;
/// Files whose facts are remembered: a plan and the reload behind it look at the same few.
const MAX_KNOWN: usize = 16;
/// The command that tries a file; it is not shown to anybody.
const COMMAND: [&str; 2] = ["plugin", "try"];

/// Where files are tried.
pub struct Trial {
    program: PathBuf,
    /// How long it may take beside its calls.
    starting: Duration,
    /// By the hash of the content.
    known: Mutex<BTreeMap<String, Facts>>,
}

/// What the other process is asked, as one line on its standard input.
#[derive(Serialize, Deserialize)]
pub struct Asked {
    file: PathBuf,
    /// A broadcaster's name and settings: an instance is made of them.
    instance: Option<(String, String)>,
    /// How long each call may take.
    deadline: Duration,
}

/// What it answers, as one line on its standard output.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    facts: Facts,
    /// What the plugin makes of the settings, or finds wrong.
    said: Result<Taken, Vec<Fault>>,
}

impl Trial {
    /// By the program that this process runs, also when its file was replaced meanwhile.
    pub fn by_this_program() -> Self {
        Self { program: "/proc/self/exe".into(), starting: STARTING, known: Mutex::default() }
    }

    /// What a plugin's file says of itself when it is loaded.
    pub(super) fn facts(&self, place: &Place<'_>) -> Result<Facts, Unusable> {
        let sha256 = &place.image.sha256;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known().get(sha256) {
            return Ok(facts.clone());
        }
        let facts = self.ask(place, None)?.facts;
        let mut known = known();
        if known.len() == MAX_KNOWN {
            known.clear();
        }
        known.insert(sha256.clone(), facts.clone());
        Ok(facts)
    }

    /// What it says about settings, and whether it makes an instance of them.
    pub(super) fn settings(
        &self,
        place: &Place<'_>,
        broadcaster: &str,
        settings: String,
    ) -> Result<Result<Taken, Vec<Fault>>, Unusable> {
        self.ask(place, Some((broadcaster.to_owned(), settings))).map(|answer| answer.said)
    }

    fn ask(&self, place: &Place<'_>, instance: Option<(String, String)>) -> Result<Answer, Unusable> {
        let copy = place.image.private_copy(&place.cache.join("tried"), &place.note.id)?;
        let answer = self.ask_of(&Asked { file: copy.clone(), instance, deadline: place.deadline });
        _ = fs::remove_file(copy); // one that stays does no harm
        answer
    }

    fn ask_of(&self, asked: &Asked) -> Result<Answer, Unusable> {
        let mut child = Command::new(&self.program)
            .args(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Unusable::new(format!("no process can be started to try it in: {error}")))?;
        let question = serde_json::to_vec(asked).expect("a question is plain data");
        let said = child.stdin.take().map(|mut input| input.write_all(&question));
        drop(said); // whoever does not listen does not answer either
        let within = self.starting + asked.deadline * CALLS;
        let answer = listen(&mut child).recv_timeout(within);
        if answer != Err(RecvTimeoutError::Disconnected) {
            _ = child.kill(); // what the plugin leaves behind may hang
        }
        let status =
            child.wait().map_err(|error| Unusable::new(format!("nobody knows how its trial ended: {error}")))?;
        match answer {
            Ok(line) => serde_json::from_str::<Result<Answer, String>>(&line)
                .unwrap_or_else(|error| Err(format!("what was said in its trial is no answer: {error}")))
                .map_err(Unusable::new),
            Err(RecvTimeoutError::Disconnected) => Err(Unusable::new(format!(
                "it ended the process that tried it{}, as it would have ended the daemon; correct it and rebuild it",
                by(status)
            ))),
            Err(RecvTimeoutError::Timeout) => Err(Unusable::new(format!("its trial took longer than {within:?}"))),
        }
    }
}

/// A file that may be tried, where copies of it may lie, and how long a call into it may take.
pub(super) struct Place<'a> {
    pub image: &'a Image,
    pub note: &'a Note,
    pub cache: &'a Path,
    pub deadline: Duration,
}

/// Tries a file in this process, which shall end behind it.
pub fn answer(question: &str) -> Result<Answer, String> {
    let asked: Asked = serde_json::from_str(question).map_err(|error| format!("the question is none: {error}"))?;
    let load = || {
        let image = Image::read(&asked.file)?;
        let note = Note::read(&image.bytes)?;
        let cache = asked.file.parent().unwrap_or(Path::new("."));
        loaded::load(&image, note, cache, asked.deadline)
    };
    let library = load().map_err(|why: Unusable| why.to_string())?;
    let said = match &asked.instance {
        None => Ok(Taken::default()),
        Some((name, settings)) => make(&library, name, settings, asked.deadline),
    };
    Ok(Answer { facts: library.facts.clone(), said })
}

/// The instance is never destroyed: with this process all of it ends.
fn make(library: &Arc<Library>, name: &str, settings: &str, deadline: Duration) -> Result<Taken, Vec<Fault>> {
    let taken = library.take(name, settings, deadline)?;
    let (library, own, settings) = (library.clone(), name.to_owned(), settings.to_owned());
    let create = move || {
        let mut alone = Alone::new(library, None, &own, Arc::new(SystemClock::default()));
        let made = alone.create(&settings);
        std::mem::forget(alone);
        made
    };
    match bounded::call((name, "create"), deadline, create) {
        Ok(Ok(())) => Ok(taken),
        Ok(Err(fault)) | Err(fault) => Err(vec![fault]),
    }
}

/// The first line that it says.
fn listen(child: &mut Child) -> mpsc::Receiver<String> {
    let (say, answer) = mpsc::channel();
    let out = child.stdout.take();
    thread::spawn(move || {
        let mut line = String::new();
        let read = out.map(|out| BufReader::new(out.take(MAX_ANSWER)).read_line(&mut line));
        if matches!(read, Some(Ok(length)) if length > 0) {
            _ = say.send(line); // nobody may wait any more
        }
    });
    answer
}

fn by(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!(" by signal {signal}"),
        (None, Some(code)) => format!(" with code {code}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program in the place of this one.
    fn trial(folder: &Path, script: &str) -> Trial {
        let program = folder.join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        Trial { program, ..Trial::by_this_program() }
    }

    fn facts(trial: &Trial, folder: &Path, content: &str) -> Result<Facts, String> {
        let note = Note { id: "a".to_owned(), version: "1".to_owned(), abi_minor: 0 };
        let image = Image { bytes: content.into(), sha256: crate::plugin::file::sha256(content.as_bytes()) };
        let place = Place { image: &image, note: &note, cache: folder, deadline: Duration::ZERO };
        trial.facts(&place).map_err(|why| why.to_string())
    }

    const ANSWER: &str = r#"{"Ok":{"facts":{"description":"","config_schema":"{}","stream":"","state_version":0,"can_reconfigure":false},"said":{"Ok":{"odd":[],"stream":""}}}}"#;

    #[test]
    fn however_a_trial_ends_there_is_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let said = |script: &str| facts(&trial(folder.path(), script), folder.path(), "x").map(drop);
        let refused = |why: &str| Err(why.to_owned());
        assert_eq!(
            said(&format!("cat > /dev/null; echo '{ANSWER}'; exec sleep 60")),
            Ok(()),
            "nobody waits for its end"
        );
        assert_eq!(said("echo '{\"Err\":\"not today\"}'"), refused("not today"));
        let ended = |how: &str| {
            refused(&format!(
                "it ended the process that tried it{how}, as it would have ended the daemon; correct it and rebuild it"
            ))
        };
        assert_eq!(said("kill -9 $$"), ended(" by signal 9"));
        assert_eq!(said("exit 3"), ended(" with code 3"));
        assert!(said("echo what").unwrap_err().starts_with("what was said in its trial is no answer: "));
        let hangs = Trial { starting: Duration::from_millis(50), ..trial(folder.path(), "exec sleep 60") };
        let late = facts(&hangs, folder.path(), "x").unwrap_err();
        assert_eq!(late, "its trial took longer than 50ms");
        let nowhere = Trial { program: folder.path().join("none"), ..Trial::by_this_program() };
        assert!(facts(&nowhere, folder.path(), "x").unwrap_err().starts_with("no process can be started"));
        assert_eq!(fs::read_dir(folder.path().join("tried")).unwrap().count(), 0, "no copy stays");
    }

    #[test]
    fn an_answer_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let of_length = |length: u64| {
            let fill = length - ANSWER.len() as u64 - 1; // the line's end counts
            facts(
                &trial(
                    folder.path(),
                    &format!("echo '{ANSWER}' | tr -d '\\n'; head -c {fill} /dev/zero | tr '\\0' ' '; echo"),
                ),
                folder.path(),
                "x",
            )
        };
        assert!(of_length(MAX_ANSWER).is_ok());
        let longer = trial(folder.path(), &format!("head -c {MAX_ANSWER} /dev/zero | tr '\\0' ' '; echo '{ANSWER}'"));
        assert!(facts(&longer, folder.path(), "x").unwrap_err().contains("is no answer: EOF"));
    }

    #[test]
    fn a_file_is_tried_once_and_few_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let trial = trial(folder.path(), &format!("echo x >> {}; echo '{ANSWER}'", count.display()));
        let tried = |content: usize| {
            facts(&trial, folder.path(), &content.to_string()).unwrap();
            (fs::read_to_string(&count).unwrap().len() / 2, trial.known.lock().unwrap().len())
        };
        for content in 0..MAX_KNOWN {
            assert_eq!(tried(content), (content + 1, content + 1));
        }
        assert_eq!(tried(0), (MAX_KNOWN, MAX_KNOWN));
        assert_eq!(tried(MAX_KNOWN), (MAX_KNOWN + 1, 1), "the others are tried again");
    }
}
