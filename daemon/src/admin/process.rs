//! What the kernel says about this process, under the names that Prometheus' own libraries use.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

use crate::event::unix_now;
use crate::metrics::PROCESS;

/// Ticks per second in `/proc/PID/stat`: the kernel fixes it for programs on every machine that Rust's Linux targets run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics in Prometheus' text format. What the kernel does not tell is left out.
pub fn metrics() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut out = String::new();
    let mut write = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let help = PROCESS.iter().find(|(listed, _)| *listed == name).map_or("", |(_, help)| help);
            // Writing into memory cannot fail.
            _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    };
    write("process_cpu_seconds_total", Some(cpu_seconds()));
    let resident = number_after(&status, "VmRSS:").map(|kib| kib * 1024.0);
    write("process_resident_memory_bytes", resident);
    write("process_threads", number_after(&status, "Threads:"));
    write("process_open_fds", open_descriptors());
    let most = number_after(&limits, "Max open files");
    write("process_max_fds", most);
    write("process_start_time_seconds", started_at(&stat));
    out
}

fn cpu_seconds() -> f64 {
    seconds_of(ClockId::ProcessCPUTime)
}

fn seconds_of(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The first number behind a label, in the tables of `/proc`.
fn number_after(table: &str, label: &str) -> Option<f64> {
    let line = table.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_descriptors() -> Option<f64> {
    const ITSELF: usize = 1; // the folder is open while it is read
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(open.saturating_sub(ITSELF) as f64)
}

/// The 22nd field of `stat` counts from the machine's start; the second is the program's name and may contain anything.
fn started_at(stat: &str) -> Option<f64> {
    const BEHIND_THE_NAME: usize = 22 - 3;
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(BEHIND_THE_NAME)?.parse().ok()?;
    let age = seconds_of(ClockId::Boottime) - ticks / TICKS_PER_SECOND;
    Some(unix_now() as f64 / 1e9 - age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> f64 {
        let text = metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse().unwrap()
    }

    #[test]
    fn the_kernel_tells_all_of_them() {
        let now = unix_now() as f64 / 1e9;
        assert!(PROCESS.iter().all(|(name, _)| value(name).is_finite()));
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_threads") >= 1.0);
        assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
        assert!((now - 86_400.0..=now + 1.0).contains(&value("process_start_time_seconds")));
    }

    #[test]
    fn a_name_with_brackets_does_not_mislead() {
        let fields = (3..=22).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let expected = started_at(&format!("1 (a) {fields}")).unwrap();
        let told = started_at(&format!("1 (a) b) c) {fields}")).unwrap();
        assert!((told - expected).abs() < 1.0, "{told} {expected}");
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        assert_eq!((number_after("VmRSS: x", "VmRSS:"), number_after("", "VmRSS:")), (None, None));
        assert_eq!((started_at(""), started_at("1 (a) 3 4")), (None, None));
    }
}
