//! The house rules as tests: each rule is a function over a file, with examples that it must catch and let pass.
//!
//! The rules themselves are told in CONTRIBUTING.md. To add one: write its function, and a line with examples in `RULES`.

mod layers;
mod packages;
mod syntax;
mod text;
pub mod tree;

use libtest_mimic::Trial;

use crate::needs;

/// Lines of a product file, unit tests not counted.
const FILE_LINES: usize = 400;
/// Half of the product files have at most this many lines …
const MEDIAN_LINES: usize = 150;
/// … and nine in ten at most this many.
const NINTH_DECILE_LINES: usize = 330;
/// Below this number of files a median says nothing.
const FILES_FOR_A_SPREAD: usize = 20;
/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 60;
/// Parameters of a function, `self` included.
const PARAMETERS: usize = 5;
/// No part of a type's or a module's name: such a word says that nobody found the right one.
const EMPTY_WORDS: &[&str] = &["handler", "helper", "info", "manager", "util"];
/// The only files that may contain `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "daemon/src/plugin/host.rs",
    "daemon/src/plugin/library.rs",
    "daemon/src/shard/poll/uring.rs",
    "daemon/src/systemd/sockets.rs",
    "plugin-api/src/abi.rs",
    "plugin-api/src/abi/read.rs",
    "plugin-api/src/entry.rs",
    "plugin-api/src/entry/host.rs",
    "plugin-api/src/entry/loaded.rs",
];
/// The only file that may register HTTP routes: there each is registered by its description.
const ROUTES_FILE: &str = "daemon/src/server/routes.rs";
/// What else makes a route of axum's router.
const ROUTING: &[&str] = &["nest", "nest_service", "route_service", "routing"];
/// The modules of the daemon from the top, siblings on one line: a module imports from lines below its own only.
/// `main` and `lib` stand above all; ARCHITECTURE.md shows the same as a picture.
const LAYERS: &[&[&str]] = &[
    &["run"],
    &["commands"],
    &["app", "control"],
    &["cli", "config", "folders", "log"],
    &["admin"],
    &["server"],
    &["describe"],
    &["plugin", "shard"],
    &["ingest"],
    &["identity"],
    &["hub", "dialect"],
    &["json_schema"],
    &["event", "metrics", "network", "rate", "systemd", "websocket"],
    &["memory"],
];

/// One rule over one file: what it holds against the file, each with its line and the way out.
struct Rule {
    name: &'static str,
    files: fn(&str) -> bool,
    check: fn(path: &str, source: &str) -> Vec<String>,
    /// Files (path, source) that the rule must complain about, and such that it must not, at the edge where there is one.
    bad: fn() -> Vec<(&'static str, String)>,
    good: fn() -> Vec<(&'static str, String)>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "the_first_line_says_what_the_file_is_for",
        files: tree::is_product,
        check: text::first_line,
        bad: || files(&[(ANY, ""), (ANY, "use std::io;"), (ANY, "// Bars."), (ANY, "//!"), (ANY, "\n//! Bars.")]),
        good: || files(&[(ANY, "//! Bars.")]),
    },
    Rule {
        name: "a_file_has_at_most_400_lines_without_tests",
        files: tree::is_product,
        check: syntax::file_length,
        bad: || vec![(ANY, "//! A.\n".repeat(FILE_LINES + 1))],
        good: || vec![(ANY, format!("{}#[cfg(test)]\nmod tests {{\n\n}}\n", "//! A.\n".repeat(FILE_LINES)))],
    },
    Rule {
        name: "a_function_has_at_most_60_lines",
        files: tree::is_product,
        check: syntax::function_length,
        bad: || vec![(ANY, function_of(FUNCTION_LINES + 1)), (ANY, in_impl(&function_of(FUNCTION_LINES + 1)))],
        good: || vec![(ANY, function_of(FUNCTION_LINES)), (ANY, in_tests(&function_of(FUNCTION_LINES + 1)))],
    },
    Rule {
        name: "a_function_has_at_most_5_parameters",
        files: tree::is_product,
        check: syntax::parameters,
        bad: || {
            let six = "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}";
            let with_self = in_impl("fn f(&self, b: u8, c: u8, d: u8, e: u8, f: u8) {}");
            vec![(ANY, six.into()), (ANY, with_self), (ANY, format!("trait T {{ {six} }}"))]
        },
        good: || {
            let foreign = "extern \"C\" fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}";
            files(&[(ANY, "fn f(a: u8, b: u8, c: u8, d: u8, e: u8) {}"), (ANY, foreign)])
        },
    },
    Rule {
        name: "no_parameter_is_a_bool",
        files: tree::is_product,
        check: syntax::bool_parameters,
        bad: || {
            files(&[(ANY, "fn f(a: bool) {}"), (ANY, "fn f(a: &mut bool) {}"), (ANY, "trait T { fn f(a: bool); }")])
        },
        good: || files(&[(ANY, "fn f() -> bool { true }"), (ANY, "impl Theirs for Ours { fn f(a: bool) {} }")]),
    },
    Rule {
        name: "no_name_is_an_empty_word",
        files: tree::is_product,
        check: syntax::names,
        bad: || {
            let types = ["struct HubManager;", "enum InfoKind {}", "trait FrameHandlers {}", "type Util = u8;"];
            let modules =
                [("daemon/src/hub/helpers.rs", ""), ("daemon/src/util/time.rs", ""), (ANY, "mod test_util {}")];
            types.iter().map(|source| (ANY, (*source).to_owned())).chain(files(&modules)).collect()
        },
        good: || files(&[(ANY, "struct Information; struct Managerial; use theirs::FrameHandler;")]),
    },
    Rule {
        name: "no_file_is_named_mod_rs",
        files: tree::is_rust,
        check: text::no_mod_rs,
        bad: || files(&[("daemon/src/hub/mod.rs", "//! The hub."), ("daemon/tests/it/tidy/mod.rs", "")]),
        good: || files(&[("daemon/src/hub.rs", ""), ("daemon/src/model.rs", "")]),
    },
    Rule {
        name: "lints_are_expected_never_allowed",
        files: tree::is_rust,
        check: syntax::no_allow,
        bad: || {
            let conditional = "#[cfg_attr(test, allow(dead_code))] struct S;";
            let in_macro = "macro_rules! m { () => { #[allow(dead_code)] struct S; } }";
            files(&[
                (ANY, "#![allow(dead_code)]"),
                (ANY, "#[allow(unused)] fn f() {}"),
                (ANY, conditional),
                (ANY, in_macro),
            ])
        },
        good: || files(&[(ANY, "#[expect(dead_code, reason = \"why\")] fn allow() {} // #[allow(x)]")]),
    },
    Rule {
        name: "unsafe_stays_in_its_files",
        files: tree::is_product,
        check: syntax::no_unsafe,
        bad: || {
            files(&[(ANY, "fn f() { unsafe { g() } }"), (ANY, "unsafe impl Send for S {}"), (ANY, in_macro_unsafe())])
        },
        good: || files(&[(UNSAFE_FILES[0], "unsafe fn f() {}"), (ANY, "#![deny(unsafe_code)] // unsafe")]),
    },
    Rule {
        name: "modules_import_only_downwards",
        files: |path| path.starts_with("daemon/src/"),
        check: layers::imports,
        bad: || {
            files(&[
                ("daemon/src/hub.rs", "use crate::server::Server;"),
                ("daemon/src/hub.rs", "use crate::dialect;"),
                ("daemon/src/shard/outbox.rs", "use crate::{hub::Hub, plugin::{Host, Note}};"),
                ("daemon/src/event.rs", "fn f() { crate::metrics::count() }"),
                ("daemon/src/hub/stream.rs", "use super::super::shard::Shard;"),
                ("daemon/src/hub.rs", "mod tests { use super::super::app; }"),
                ("daemon/src/hub.rs", "macro_rules! m { () => { $crate::config::load() } }"),
                ("daemon/src/stranger.rs", ""),
                ("daemon/src/hub.rs", "use crate::stranger;"),
            ])
        },
        good: || {
            files(&[
                ("daemon/src/hub/stream.rs", "use crate::event::Event; use crate::hub::History; use super::records;"),
                ("daemon/src/config.rs", "use crate::{admin, hub::Config as Hub, server};"),
                ("daemon/src/hub/stream.rs", "mod tests { use super::super::shard; } pub(crate) struct S;"),
                ("daemon/src/main.rs", "use broadcastd::app;"),
                ("daemon/src/lib.rs", "pub mod hub;"),
            ])
        },
    },
    Rule {
        name: "routes_are_registered_in_one_place",
        files: |path| path.starts_with("daemon/src/"),
        check: syntax::no_routing,
        bad: || {
            files(&[
                ("daemon/src/admin/pages.rs", "use axum::routing::get;"),
                ("daemon/src/server.rs", "use axum::{Router, routing::post};"),
                ("daemon/src/server.rs", "fn f() { axum::routing::any(g) }"),
                ("daemon/src/server.rs", "fn f(r: Router) { r.nest(\"/x\", other) }"),
                ("daemon/src/server.rs", "fn f(r: Router) { r.route_service(\"/x\", other) }"),
            ])
        },
        good: || {
            files(&[
                ("daemon/src/server/routes.rs", "use axum::routing::on;"),
                ("daemon/src/server.rs", "fn f(r: Router) { r.merge(routes).fallback(g) } // axum::routing"),
            ])
        },
    },
    Rule {
        name: "values_of_labels_are_made_where_the_reference_takes_them_from",
        files: |path| path == "daemon/src/metrics.rs" || path.starts_with("daemon/src/metrics/"),
        check: text::no_literal_labels,
        bad: || {
            let reason = "counter!(\"broadcastd_x_total\", \"reason\" => \"late\").increment(1);";
            files(&[("daemon/src/metrics.rs", reason), ("daemon/src/metrics/deliveries.rs", reason)])
        },
        good: || {
            let reason = "counter!(\"broadcastd_x_total\", \"reason\" => reason.text()); // \"reason\" =>";
            files(&[("daemon/src/metrics.rs", reason), ("daemon/src/metrics.rs", "/// `\"reason\" => \"late\"`")])
        },
    },
    Rule {
        name: "no_text_names_one_machine",
        files: |_| true,
        check: text::one_machine,
        bad: || {
            let mut bad = Vec::new();
            for place in text::places() {
                bad.push(("docs/page.md", format!("see {place}notes.md")));
                bad.push(("daemon/config.toml", format!("first = 1\nfile = \"{place}bars.csv\"")));
            }
            bad
        },
        good: || {
            files(&[("docs/page.md", "https://example.com/root/, the framework/ folder, ~/home, /etc/broadcastd/")])
        },
    },
];

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        needs::nothing(most_files_are_short),
        needs::nothing(a_spread_of_long_files_is_caught),
        needs::nothing(the_two_commands_of_the_readme_stand),
        needs::nothing(a_second_binary_and_a_default_run_are_caught),
        needs::nothing(the_walk_sees_every_crate_and_no_build_output),
    ];
    for rule in RULES {
        tests.push(Trial::test(format!("tidy::{}", rule.name), || rule.holds_here()));
        tests.push(Trial::test(format!("tidy::examples::{}", rule.name), || rule.knows_its_examples()));
    }
    tests
}

impl Rule {
    fn holds_here(&self) -> Result<(), libtest_mimic::Failed> {
        let complaints: Vec<String> = tree::files()
            .iter()
            .filter(|file| (self.files)(&file.path))
            .flat_map(|file| {
                (self.check)(&file.path, &file.source).into_iter().map(|said| format!("{}:{said}", file.path))
            })
            .collect();
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
    }

    fn knows_its_examples(&self) -> Result<(), libtest_mimic::Failed> {
        let (bad, good) = ((self.bad)(), (self.good)());
        assert!(!bad.is_empty() && !good.is_empty(), "a rule without examples may never have caught anything");
        for (path, source) in bad {
            assert!((self.files)(path), "the rule does not look at {path}");
            assert!(!(self.check)(path, &source).is_empty(), "not caught in {path}: {source}");
        }
        for (path, source) in good {
            let complaints = (self.check)(path, &source);
            assert!(complaints.is_empty(), "caught in {path}: {source}\n{complaints:?}");
        }
        Ok(())
    }
}

/// An example's path where the path does not matter.
const ANY: &str = "daemon/src/hub.rs";

fn files(examples: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    examples.iter().map(|(path, source)| (*path, (*source).to_owned())).collect()
}

fn function_of(lines: usize) -> String {
    format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
}

fn in_impl(function: &str) -> String {
    format!("impl S {{\n{function}\n}}\n")
}

fn in_tests(function: &str) -> String {
    format!("#[cfg(test)]\nmod tests {{\n{function}\n}}\n")
}

fn in_macro_unsafe() -> &'static str {
    "macro_rules! m { () => { unsafe { g() } } }"
}

fn most_files_are_short() {
    let files = tree::files();
    let lengths = files.iter().filter(|file| tree::is_product(&file.path)).map(|file| syntax::lines(&file.source));
    assert_eq!(spread(lengths.collect()), Vec::<String>::new());
}

fn a_spread_of_long_files_is_caught() {
    let short = vec![1; FILES_FOR_A_SPREAD];
    assert!(spread(short).is_empty());
    let mut half_at_the_edge = [[MEDIAN_LINES; 10], [NINTH_DECILE_LINES; 10]].concat();
    half_at_the_edge[19] = FILE_LINES;
    assert!(spread(half_at_the_edge.clone()).is_empty());
    half_at_the_edge[9] = MEDIAN_LINES + 1;
    assert!(spread(half_at_the_edge)[0].contains("median"));
    let three_long = [vec![1; 17], vec![NINTH_DECILE_LINES + 1; 3]].concat();
    assert!(spread(three_long)[0].contains("nine in ten"));
    assert!(spread(vec![FILE_LINES; FILES_FOR_A_SPREAD - 1]).is_empty(), "too few files for a spread");
}

fn spread(mut lengths: Vec<usize>) -> Vec<String> {
    lengths.sort_unstable();
    if lengths.len() < FILES_FOR_A_SPREAD {
        return Vec::new();
    }
    let at = |tenths: usize| lengths[(lengths.len() * tenths).div_ceil(10) - 1];
    let mut complaints = Vec::new();
    if at(5) > MEDIAN_LINES {
        complaints.push(format!("the median product file has {} lines, at most {MEDIAN_LINES} are well: split", at(5)));
    }
    if at(9) > NINTH_DECILE_LINES {
        complaints
            .push(format!("nine in ten product files have up to {} lines, not {NINTH_DECILE_LINES}: split", at(9)));
    }
    complaints
}

fn the_two_commands_of_the_readme_stand() {
    assert_eq!(packages::complaints(&packages::metadata()), Vec::<String>::new());
}

fn a_second_binary_and_a_default_run_are_caught() {
    packages::check_examples();
}

fn the_walk_sees_every_crate_and_no_build_output() {
    let files = tree::files();
    for seen in [
        "Cargo.toml",
        "daemon/src/lib.rs",
        "daemon/tests/it/tidy.rs",
        "plugin-api/src/lib.rs",
        "plugins/bars/src/lib.rs",
    ] {
        assert!(files.iter().any(|file| file.path == seen), "{seen} is not seen");
    }
    assert!(!files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
    let counted =
        ["daemon/src/hub/stream.rs", "plugins/bars/src/ohlc.rs", "templates/hello/src/lib.rs", "plugin-api/build.rs"];
    assert!(counted.iter().all(|path| tree::is_product(path)));
    let spared = [
        "daemon/tests/it/main.rs",
        "xtask/src/main.rs",
        "bench/src/main.rs",
        "fuzz/targets/frame.rs",
        "daemon/src/hub/tests.rs",
    ];
    assert!(!spared.iter().any(|path| tree::is_product(path)));
}
