//! Says what a test needs beside Rust and a C compiler: it runs where that is found and is shown as ignored elsewhere.
//!
//! ```text
//! vec![
//!     needs::nothing(clients_hear_bars),
//!     needs::program("promtool", metrics_pass_the_linter),
//!     needs::programs(&["node", "node-ws"], the_javascript_client_resumes),
//! ]
//! ```
//! `BROADCASTD_TEST_REQUIRE` turns an ignored test into a failed one: `all`, or a comma list of needs (`promtool,node`).

use std::any::type_name;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};

const REQUIRE: &str = "BROADCASTD_TEST_REQUIRE";

/// Needs that are no programs, such as the libraries of an interpreter or a compiler: a name, and the command that succeeds where it is there.
/// Every other need is a program that is looked for in `PATH`.
const LIBRARIES: &[(&str, &str, &[&str])] = &[
    ("curl-mqtt", "sh", &["-c", "curl --version | grep -qw mqtt"]),
    ("mount-namespace", "unshare", &["-rm", "true"]),
    ("node-ajv", "node", &["-e", "require('ajv')"]),
    ("node-asyncapi", "node", &["-e", "require('@asyncapi/parser')"]),
    ("node-ws", "node", &["-e", "require('ws')"]),
    ("ptrace", "sh", &["-c", "test $(id -u) = 0 || ! grep -qs '[1-9]' /proc/sys/kernel/yama/ptrace_scope"]),
    ("python3-aiosmtpd", "python3", &["-c", "import aiosmtpd"]),
    ("python3-kosoku", "python3", &["-c", "import kosoku"]),
    ("python3-openapi", "python3", &["-c", "import openapi_spec_validator"]),
    ("python3-websockets", "python3", &["-c", "import websockets"]),
    ("libasan", "sh", &["-c", "test -e \"$(gcc -print-file-name=libasan.so)\""]),
    // Data that a package of the registry carries; fetched once, then found without a network.
    ("trade-data", "cargo", &["fetch", "--quiet", "--locked", "--manifest-path", TRADES]),
];
const TRADES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trades/Cargo.toml");

/// A test that runs everywhere.
pub fn nothing<F: FnOnce() + Send + 'static>(test: F) -> Trial {
    programs(&[], test)
}

/// A test that needs one program.
pub fn program<F: FnOnce() + Send + 'static>(need: &'static str, test: F) -> Trial {
    trial(&[need], test, find, &required())
}

/// A test that needs several programs.
pub fn programs<F: FnOnce() + Send + 'static>(needs: &[&str], test: F) -> Trial {
    trial(needs, test, find, &required())
}

/// The test is named after its function, so that the list of a module is a list of functions.
fn trial<F: FnOnce() + Send + 'static>(
    needs: &[&str],
    test: F,
    found: impl Fn(&str) -> bool,
    required: &Required,
) -> Trial {
    let name = name_of::<F>();
    let missing: Vec<&str> = needs.iter().copied().filter(|need| !found(need)).collect();
    if missing.is_empty() {
        return Trial::test(name, || {
            test();
            Ok(())
        });
    }
    let list = missing.join(" and ");
    let told = format!("needs {list}");
    if missing.iter().any(|need| required.holds(need)) {
        let why = format!("{told}: install {list}, or run without {REQUIRE}");
        return Trial::test(name, || Err(why.into()));
    }
    // Not the ignored flag: `--ignored` would run such a test, and it would fail.
    Trial::ignorable_test(name, || Ok(Completion::ignored_with(told)))
}

/// `it::needs::a_test` becomes `needs::a_test`.
fn name_of<F>() -> &'static str {
    let path = type_name::<F>();
    path.split_once("::").map_or(path, |(_, name)| name)
}

fn find(need: &str) -> bool {
    match LIBRARIES.iter().find(|(name, ..)| *name == need) {
        Some((_, interpreter, probe)) => succeeds(interpreter, probe),
        None => std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| is_executable(&folder.join(need)))),
    }
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What `BROADCASTD_TEST_REQUIRE` says.
struct Required(String);

fn required() -> Required {
    Required(std::env::var(REQUIRE).unwrap_or_default())
}

impl Required {
    fn holds(&self, need: &str) -> bool {
        self.0.split(',').map(str::trim).any(|word| word == "all" || word == need)
    }
}

// ── The guard's own tests ──

pub fn tests() -> Vec<Trial> {
    vec![
        nothing(a_test_is_named_after_its_function),
        nothing(a_met_need_runs_the_test),
        nothing(a_missing_program_is_shown_as_ignored_with_its_name),
        nothing(a_missing_program_that_is_required_is_a_failure),
        nothing(a_requirement_names_all_or_a_list),
        nothing(a_folder_or_a_plain_file_is_no_program),
        nothing(an_interpreter_is_asked_for_its_library),
    ]
}

fn a_test_is_named_after_its_function() {
    assert_eq!(nothing(never).name(), "needs::never");
}

fn a_met_need_runs_the_test() {
    let (sender, ran) = std::sync::mpsc::channel();
    let met = trial(&["promtool"], move || sender.send(()).unwrap(), |_| true, &Required(String::new()));
    assert_eq!(run(met).passed, 1);
    assert_eq!(ran.try_recv(), Ok(()), "the body was not run");
}

fn a_missing_program_is_shown_as_ignored_with_its_name() {
    let needs = &["sh", "promtool", "node"];
    let missing = trial(needs, never, |need| need == "sh", &Required("mosquitto".into()));
    let seen = run(missing);
    assert_eq!((seen.passed, seen.failed, seen.ignored), (0, 0, 1));
    let line = "test needs::never ... ignored (needs promtool and node)";
    assert!(seen.text.contains(line), "{}", seen.text);
}

fn a_missing_program_that_is_required_is_a_failure() {
    for words in ["all", "node,promtool"] {
        let missing = trial(&["promtool"], || (), |_| false, &Required(words.into()));
        let seen = run(missing);
        assert_eq!((seen.passed, seen.failed, seen.ignored), (0, 1, 0), "{words}");
        assert!(seen.text.contains("install promtool"), "{}", seen.text);
    }
}

fn a_requirement_names_all_or_a_list() {
    let holds = |words: &str| Required(words.into()).holds("node");
    assert!(holds("all") && holds("node") && holds("promtool, node"));
    assert!(!holds("") && !holds("node-ws") && !holds("promtool"));
}

fn a_folder_or_a_plain_file_is_no_program() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_executable(folder.path()));
    let file = folder.path().join("promtool");
    std::fs::write(&file, "").unwrap();
    assert!(!is_executable(&file));
    assert!(!find("a-program-that-nobody-has"));
}

fn an_interpreter_is_asked_for_its_library() {
    assert!(succeeds("sh", &["-c", "exit 0"]));
    assert!(!succeeds("sh", &["-c", "exit 1"]));
    assert!(!succeeds("an-interpreter-that-nobody-has", &[]));
}

fn never() {
    panic!("a test whose needs are missing was run");
}

struct Seen {
    passed: u64,
    failed: u64,
    ignored: u64,
    text: String,
}

/// Runs one test under a harness of its own that writes to a file, since its lines are no result of ours.
fn run(trial: Trial) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let arguments =
        Arguments { logfile: Some(file.to_str().unwrap().to_owned()), test_threads: Some(1), ..Arguments::default() };
    let end = libtest_mimic::run(&arguments, vec![trial]);
    Seen {
        passed: end.num_passed,
        failed: end.num_failed,
        ignored: end.num_ignored,
        text: std::fs::read_to_string(file).unwrap(),
    }
}
