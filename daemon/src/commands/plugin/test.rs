//! `plugin test`: holds a plugin to the rules of the border. Each check is a process of its own, so that whatever the
//! plugin does there, the report is whole.

mod checks;
mod forms;
mod hostile;
mod life;
mod loading;
mod report;
mod settings;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

pub use self::checks::Asked;
use self::checks::{ALL, Check, Subject};
pub use self::report::own_output;
use self::report::{Line, Outcome, Report};
use super::environment;
use crate::cli::{Exit, Format};
use crate::commands::{fail, say};
use crate::folders::Folders;

/// How long a process may take until it calls the plugin, on a busy machine.
const STARTING: Duration = Duration::from_secs(20);
/// What is added to the time that a call has, for the way to here.
const GRACE: Duration = Duration::from_millis(500);
/// What is kept of what a check that ended badly had printed.
const MAX_PRINTED: usize = 16 << 10;

/// Runs all checks, and says how each went.
pub fn test(asked: &Asked, format: Format) -> Exit {
    if let Err(error) = fs::File::open(&asked.file) {
        return fail(Exit::Usage, &format!("{}: it cannot be read: {error}", asked.file.display()));
    }
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(why) => return fail(Exit::Permission, &why),
    };
    let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
    if format == Format::Text {
        say(&format!("{}", asked.file.display()));
    }
    for check in ALL {
        let lacking = check
            .needs
            .iter()
            .find(|need| !matches!(outcomes.get(**need), Some(Outcome::Pass(_) | Outcome::NotApplicable(_))));
        let outcome = match lacking {
            Some(need) => Outcome::NotApplicable(format!("see {need}")),
            None => match run(check, asked, &scratch.0) {
                Ok(outcome) => outcome,
                Err(error) => return fail(Exit::Internal, &format!("the check {} cannot be run: {error}", check.name)),
            },
        };
        if format == Format::Text {
            let (word, reason) = words(&outcome);
            say(&format!("  {word:<5}{:<16}{reason}", check.name));
        }
        outcomes.insert(check.name, outcome);
    }
    let count = |wanted: &str| outcomes.values().filter(|outcome| words(outcome).0 == wanted).count();
    let (passed, failed, others) = (count("pass"), count("fail"), count("n/a"));
    match format {
        Format::Text => say(&format!("{passed} passed, {failed} failed, {others} not applicable")),
        Format::Json => say(&format!("{:#}", data(asked, &outcomes))),
    }
    if failed == 0 { Exit::Done } else { Exit::Config }
}

/// Runs one check in this process, and tells whoever started it.
pub fn check(name: &str, asked: Asked, scratch: PathBuf) -> Exit {
    let Some(check) = ALL.iter().find(|check| check.name == name) else {
        return fail(Exit::Usage, &format!("there is no check \"{name}\""));
    };
    let report = match Report::open() {
        Ok(report) => report,
        Err(error) => return fail(Exit::Internal, &format!("standard output cannot be taken: {error}")),
    };
    let subject = Subject { asked, report, scratch };
    let outcome = Outcome::from((check.run)(&subject));
    subject.report.done(outcome);
    Exit::Done
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Pass(reason) => ("pass", reason),
        Outcome::Fail(reason) => ("fail", reason),
        Outcome::NotApplicable(reason) => ("n/a", reason),
    }
}

fn data(asked: &Asked, outcomes: &BTreeMap<&str, Outcome>) -> Value {
    let told = ALL.iter().filter_map(|check| {
        let (result, reason) = words(outcomes.get(check.name)?);
        Some(json!({ "check": check.name, "result": result, "reason": reason }))
    });
    json!({ "file": asked.file.display().to_string(), "checks": told.collect::<Vec<_>>() })
}

/// A folder of this run, gone after it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let folders = Folders::shared(&environment())?;
        let folder = folders.cache.join(format!("test-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0); // a copy that stays does no harm
    }
}

/// Runs one check in a process of its own, and waits for what it says no longer than the daemon would for the call.
fn run(check: &Check, asked: &Asked, scratch: &Path) -> io::Result<Outcome> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["plugin", "check", check.name]).arg(&asked.file).arg("--scratch").arg(scratch);
    command.args(asked.settings.iter().flat_map(|given| ["--settings", given]));
    if let Some(inputs) = &asked.inputs {
        command.arg("--inputs").arg(inputs);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (lines, printed) = (listen(&mut child), keep(&mut child));
    let mut doing = "the start of the check".to_owned();
    let mut within = STARTING;
    let outcome = loop {
        match lines.recv_timeout(within + GRACE) {
            Ok(Line::Doing { what, within: time }) => (doing, within) = (what, time),
            Ok(Line::Done(outcome)) => break outcome,
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                break Outcome::Fail(format!("the plugin did not return within {within:?} from {doing}"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                let printed = printed.recv().unwrap_or_default();
                eprint!("{printed}");
                break Outcome::Fail(format!("the plugin ended the process{} in {doing}", by(status)));
            }
        }
    };
    _ = child.kill(); // what it leaves behind may hang
    child.wait()?;
    Ok(outcome)
}

/// The lines that a check says, until it says no more.
fn listen(child: &mut Child) -> Receiver<Line> {
    let (say, lines) = channel();
    let out = child.stdout.take();
    std::thread::spawn(move || {
        let lines = out.map(BufReader::new).into_iter().flat_map(|out| out.lines().map_while(Result::ok));
        for line in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The end of what it printed.
fn keep(child: &mut Child) -> Receiver<String> {
    let (say, printed) = channel();
    let errors = child.stderr.take();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut part = [0; 4096];
        let mut errors = errors;
        while let Some(count) = errors.as_mut().and_then(|from| from.read(&mut part).ok()).filter(|count| *count > 0) {
            kept.extend_from_slice(&part[..count]);
            let beyond = kept.len().saturating_sub(MAX_PRINTED);
            kept.drain(..beyond);
        }
        _ = say.send(String::from_utf8_lossy(&kept).into_owned());
    });
    printed
}

fn by(status: ExitStatus) -> String {
    let name = |number| match number {
        4 => "SIGILL".to_owned(),
        6 => "SIGABRT".to_owned(),
        7 => "SIGBUS".to_owned(),
        8 => "SIGFPE".to_owned(),
        9 => "SIGKILL".to_owned(),
        11 => "SIGSEGV".to_owned(),
        other => format!("signal {other}"),
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!(" by {}", name(signal)),
        (None, Some(code)) => format!(" with code {code}"),
        (None, None) => String::new(),
    }
}
