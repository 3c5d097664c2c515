//! The page that figures are recorded in: each measure has a block of its own, written anew whenever it is taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Where and when figures were taken, in words that hold for any machine of the kind.
#[derive(Debug)]
pub struct Setting {
    commit: String,
    machine: String,
}

impl Setting {
    pub fn of_here(root: &Path) -> Result<Self> {
        Ok(Self { commit: commit(root), machine: machine()? })
    }

    /// The line above a table: `load` is the machine's load before and after.
    pub fn line(&self, load: (f64, f64)) -> String {
        let (before, after) = load;
        format!("Commit {}. {}. Load of the machine {before:.1} before, {after:.1} after.", self.commit, self.machine)
    }
}

/// Processes that wanted a processor in the last minute, ours included.
pub fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split_whitespace().next().and_then(|field| field.parse().ok()).context("no load in /proc/loadavg")
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
