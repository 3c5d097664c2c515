//! The page that figures are recorded in: each measure has a block of its own, written anew whenever it is taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Where and when figures were taken, in words that hold for any machine of the kind.
#[derive(Debug)]
pub struct Setting {
    commit: String,
    machine: String,
    began: Clocks,
}

impl Setting {
    /// Of a run that begins now.
    pub fn of_here(root: &Path) -> Result<Self> {
        Ok(Self { commit: commit(root), machine: machine()?, began: Clocks::read()? })
    }

    /// The line above a table: how quiet the machine has been since the run began, too.
    pub fn line(&self) -> Result<String> {
        let Disturbed { others, stolen } = self.began.disturbed_until(&Clocks::read()?);
        let Self { commit, machine, .. } = self;
        Ok(format!(
            "Commit {commit}. {machine}. Of the processors' time other programs took {:.1} %, and the machine below {:.1} %.",
            others * 100.0,
            stolen * 100.0
        ))
    }
}

/// The processors' time so far, in seconds.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    all: f64,
    /// With something to do, whoever's.
    busy: f64,
    /// In which the machine below had other things to do.
    stolen: f64,
    own: f64,
}

/// Parts of the processors' time that somebody else took.
struct Disturbed {
    others: f64,
    stolen: f64,
}

impl Clocks {
    fn read() -> Result<Self> {
        Self::of(&fs::read_to_string("/proc/stat")?, process::cpu_seconds_of_the_run()?)
    }

    /// The first line says: user, nice, system, idle, waiting for a disk, interrupts of two sorts, stolen.
    fn of(stat: &str, own: f64) -> Result<Self> {
        let first =
            stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no clocks in /proc/stat")?;
        let ticks: Vec<u64> = first.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, disk, hard, soft, stolen, ..] = ticks[..] else {
            bail!("short clocks: {first}")
        };
        let busy = user + nice + system + hard + soft;
        let seconds = process::seconds;
        Ok(Self { all: seconds(busy + idle + disk + stolen), busy: seconds(busy), stolen: seconds(stolen), own })
    }

    fn disturbed_until(&self, end: &Self) -> Disturbed {
        let all = (end.all - self.all).max(f64::MIN_POSITIVE);
        let others = ((end.busy - self.busy) - (end.own - self.own)).max(0.0);
        Disturbed { others: others / all, stolen: (end.stolen - self.stolen) / all }
    }
}

/// Replaces what stands between the two marks of a block.
pub fn write(page: &Path, block: &str, text: &str) -> Result<()> {
    let (begin, end) = (format!("<!-- begin {block} -->\n"), format!("<!-- end {block} -->"));
    let before = fs::read_to_string(page).with_context(|| format!("{} cannot be read", page.display()))?;
    let (head, rest) = before.split_once(&begin).with_context(|| format!("the page has no line {begin:?}"))?;
    let (_, tail) = rest.split_once(&end).with_context(|| format!("the page has no {end:?}"))?;
    fs::write(page, format!("{head}{begin}{text}{end}{tail}"))?;
    Ok(())
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".to_owned() };
    // What these measures write themselves is no change of what is measured.
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs/bench.md"]).is_none_or(|said| !said.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}

fn machine() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let virtual_or_not = match field("flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "hypervisor") => ", virtual",
        _ => "",
    };
    let count = std::thread::available_parallelism()?;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    // The first two numbers: what follows is a build's own name.
    let kernel: Vec<&str> = kernel.split(['.', '-']).take(2).collect();
    let model = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    Ok(format!("{count} processors ({model}{virtual_or_not}), Linux {}", kernel.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_took_is_what_was_not_ours() {
        let clocks = |line: &str, own| Clocks::of(&format!("cpu  {line} 0 0\ncpu0 1"), own).unwrap();
        let tick = process::seconds(1);
        // Of 1,000 ticks 700 were busy, 650 of them with us, and 50 stolen.
        let before = clocks("10 0 10 100 0 0 0 5", 3.0 * tick);
        let after = clocks("400 50 210 340 10 20 40 55", 653.0 * tick);
        let Disturbed { others, stolen } = before.disturbed_until(&after);
        assert!((others - 0.05).abs() < 1e-9 && (stolen - 0.05).abs() < 1e-9, "{others} {stolen}");
        assert!(Clocks::of("cpu  1 2 3", 0.0).is_err());
    }

    #[test]
    fn only_the_block_is_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n<!-- begin y -->\n<!-- end y -->\n")
            .unwrap();
        write(file.path(), "x", "new\n").unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n<!-- begin y -->\n<!-- end y -->\n");
        assert!(write(file.path(), "z", "new\n").is_err());
    }
}
