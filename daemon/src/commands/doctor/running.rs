//! The daemon that runs, if one does, the clock, and what systemd says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::Finding;
use crate::cli::Reach;
use crate::control::{Control, Error};
use crate::folders::Env;

/// When this program was not yet written, in seconds since 1970: a clock that says so has not been set.
const NOT_SET: Duration = Duration::from_secs(1_735_689_600);

/// What a daemon says of itself, or why none does.
pub struct Running(Result<Value, String>);

impl Running {
    pub fn ask(reach: &Reach, env: &Env) -> Self {
        let asked = Control::find(reach.socket.as_deref(), env).and_then(|mut control| {
            let answer = control.ask(Method::GET, "/v1/status", Vec::new())?;
            if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(Error::Refused(answer)) }
        });
        Self(asked.map_err(|error| error.to_string()))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_ok()
    }

    pub fn listens_at(&self, address: &str) -> bool {
        let Ok(status) = &self.0 else { return false };
        status["listen"].as_array().is_some_and(|all| all.iter().any(|one| one == address))
    }

    /// How many files it may open.
    pub fn descriptors(&self) -> Option<u64> {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.0.as_ref().ok()?["pid"])).ok()?;
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
    }

    pub fn findings(&self, file: Option<&Path>) -> Vec<Finding> {
        let status = match &self.0 {
            Ok(status) => status,
            Err(why) => return vec![Finding::warning("daemon", why.clone())],
        };
        let version = status["version"].as_str().unwrap_or_default();
        let name = format!("{version}, process {}", status["pid"]);
        let mut found = Vec::new();
        if status["ready"] == true {
            found.push(Finding::ok("daemon", format!("{name} runs and is ready")));
        } else {
            let advice = "`broadcastd status` says why, and its log: journalctl -u broadcastd -e";
            found.push(Finding::fault("daemon", format!("{name} runs and is not ready; {advice}")));
        }
        let reasons = status["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(
            reasons.map(|reason| Finding::warning("daemon", format!("{reason}; `broadcastd status` shows all"))),
        );
        if version != env!("CARGO_PKG_VERSION") {
            let own = env!("CARGO_PKG_VERSION");
            found.push(Finding::warning(
                "daemon",
                format!("it is {version}, and this command is {own}; systemctl restart broadcastd"),
            ));
        }
        let whole = |path: &Path| fs::canonicalize(path).ok();
        let other = status["config"].as_str().filter(|used| {
            // A path that is not whole is of the daemon's working directory, which this may not be.
            used.starts_with('/') && whole(Path::new(used)) != file.and_then(whole)
        });
        if let Some(used) = other {
            let advice = format!("to check that: broadcastd doctor --config {used}");
            found.push(Finding::warning(
                "daemon",
                format!("it uses {used}, and another file was checked here; {advice}"),
            ));
        }
        found
    }

    #[cfg(test)]
    pub fn nobody() -> Self {
        Self(Err("nobody".to_owned()))
    }
}

/// Tokens and certificates hold by the clock.
pub fn clock(file: Option<&Path>, now: SystemTime) -> Finding {
    let advice = "timedatectl set-ntp true sets it and keeps it right, and so do chrony and ntpd";
    if now < SystemTime::UNIX_EPOCH + NOT_SET {
        return Finding::fault("clock", format!("it has not been set; {advice}"));
    }
    let written = file.and_then(|file| fs::metadata(file).ok()?.modified().ok());
    if let Some(ahead) = written.and_then(|written| written.duration_since(now).ok()) {
        let text = format!("the configuration was written {} s in the future; {advice}", ahead.as_secs());
        return Finding::warning("clock", text);
    }
    Finding::ok("clock", "plausible")
}

/// What systemd says of the service, where there is one.
pub fn unit() -> Option<Finding> {
    let properties = "--property=LoadState,ActiveState,SubState,Result";
    let shown = Command::new("systemctl").args(["show", "broadcastd.service", properties]).output().ok()?;
    judge_unit(&String::from_utf8_lossy(&shown.stdout))
}

fn judge_unit(shown: &str) -> Option<Finding> {
    let value = |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    match (value("LoadState")?, value("ActiveState")?) {
        ("not-found", _) => None,
        ("loaded", "active") => Some(Finding::ok("unit", "broadcastd.service is active")),
        ("loaded", "failed") => {
            let result = value("Result").unwrap_or("failed");
            let advice = "journalctl -u broadcastd -e says why";
            Some(Finding::fault("unit", format!("broadcastd.service has failed ({result}); {advice}")))
        }
        ("loaded", state) => {
            let advice = "systemctl enable --now broadcastd starts it";
            Some(Finding::warning("unit", format!("broadcastd.service is {state}; {advice}")))
        }
        (load, _) => {
            let advice = "systemctl status broadcastd says why";
            Some(Finding::fault("unit", format!("broadcastd.service cannot be used ({load}); {advice}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_a_daemon_says_is_judged() {
        let told = |status: Value| {
            let found = Running(Ok(status)).findings(None);
            found.into_iter().map(|finding| (finding.verdict, finding.text)).collect::<Vec<_>>()
        };
        let version = env!("CARGO_PKG_VERSION");
        let well = json!({"version": version, "pid": 7, "ready": true, "reasons": []});
        assert_eq!(told(well), [(Verdict::Ok, format!("{version}, process 7 runs and is ready"))]);
        let ill =
            json!({"version": "0.0.1", "pid": 7, "ready": false, "reasons": ["draining"], "config": "/none.toml"});
        let verdicts: Vec<Verdict> = told(ill).into_iter().map(|(verdict, _)| verdict).collect();
        assert_eq!(verdicts, [Verdict::Fault, Verdict::Warning, Verdict::Warning]);
        assert_eq!(Running::nobody().findings(None)[0].verdict, Verdict::Warning);
    }

    #[test]
    fn a_clock_that_is_behind_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, "").unwrap();
        let now = SystemTime::now();
        assert_eq!(clock(Some(&file), now + Duration::from_secs(1)).verdict, Verdict::Ok);
        assert_eq!(clock(Some(&file), now - Duration::from_secs(3600)).verdict, Verdict::Warning);
        assert_eq!(clock(None, SystemTime::UNIX_EPOCH).verdict, Verdict::Fault);
    }

    #[test]
    fn what_systemd_shows_is_judged() {
        let of = |load: &str, active: &str| {
            judge_unit(&format!("Result=exit-code\nLoadState={load}\nActiveState={active}\n"))
                .map(|found| found.verdict)
        };
        assert_eq!(of("not-found", "inactive"), None);
        assert_eq!(of("loaded", "active"), Some(Verdict::Ok));
        assert_eq!(of("loaded", "inactive"), Some(Verdict::Warning));
        assert_eq!(of("loaded", "failed"), Some(Verdict::Fault));
        assert_eq!(of("bad-setting", "inactive"), Some(Verdict::Fault));
        assert_eq!(judge_unit("System has not been booted with systemd"), None);
    }
}
