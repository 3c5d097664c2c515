//! The documents: what is made from code is committed as it is made, every link leads somewhere, and what the README
//! shows is what the daemon prints.

use std::path::Path;

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;
use libtest_mimic::Trial;

use crate::needs;
use crate::process::Daemon;
use crate::tidy::tree;
use crate::user_events::shipped;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(the_reference_of_the_configuration_is_committed),
        needs::nothing(the_reference_of_metrics_is_committed),
        needs::nothing(the_plugin_that_is_shown_is_the_one_that_is_tested),
        needs::nothing(every_link_leads_somewhere),
        needs::nothing(every_link_of_a_packaged_page_leads_to_what_is_packaged),
        needs::nothing(a_broken_link_is_caught),
        needs::nothing(the_readme_shows_the_greeting),
        needs::nothing(every_invariant_names_a_test_that_exists),
        needs::nothing(a_test_that_is_gone_is_missed),
    ]
}

fn the_reference_of_the_configuration_is_committed() {
    assert_eq!(read("docs/config.md"), reference::markdown(&SCHEMA), "run `cargo xtask docs`");
}

fn the_reference_of_metrics_is_committed() {
    assert_eq!(read("docs/metrics.md"), metrics::reference(), "run `cargo xtask docs`");
}

fn the_plugin_that_is_shown_is_the_one_that_is_tested() {
    let tested = read("plugin-api/examples/tally.rs");
    assert!(!tested.is_empty() && read("docs/plugins.md").contains(&format!("```rust\n{tested}```")));
}

fn every_link_leads_somewhere() {
    let pages = tree::files().iter().filter(|file| file.path.ends_with(".md"));
    let broken: Vec<String> = pages.flat_map(|page| broken_links(&tree::root(), &page.path, &page.source)).collect();
    assert_eq!(broken, Vec::<String>::new());
}

/// Where the package puts its pages.
const PACKAGED: &str = "usr/share/doc/broadcastd/";

/// The package laid out in a folder, as far as its documentation goes.
fn every_link_of_a_packaged_page_leads_to_what_is_packaged() {
    let manifest: toml::Table = read("daemon/Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut pages = Vec::new();
    for asset in assets {
        let (from, to) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        let (Some(from), Some(to)) = (from.strip_prefix("../"), to.strip_prefix(PACKAGED)) else { continue };
        for path in matching(from) {
            let is_folder = to.is_empty() || to.ends_with('/');
            let there = if is_folder { format!("{to}{}", path.rsplit('/').next().unwrap()) } else { to.to_owned() };
            let copy = folder.path().join(&there);
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(tree::root().join(&path), copy).unwrap();
            pages.extend(there.ends_with(".md").then_some(there));
        }
    }
    assert!(pages.len() > 30, "{pages:?}");
    let text = |page: &String| std::fs::read_to_string(folder.path().join(page)).unwrap();
    let broken: Vec<String> = pages.iter().flat_map(|page| broken_links(folder.path(), page, &text(page))).collect();
    assert_eq!(broken, Vec::<String>::new(), "name the files in the assets of daemon/Cargo.toml");
}

/// The files that the last part of a path means, where it may have a star.
fn matching(path: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let Some((begin, end)) = name.split_once('*') else { return vec![path.to_owned()] };
    let entries = std::fs::read_dir(tree::root().join(folder)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let names = files.map(|entry| entry.file_name().into_string().unwrap());
    let found = names.filter(|name| name.starts_with(begin) && name.ends_with(end));
    found.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect()
}

fn a_broken_link_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    std::fs::write(folder.path().join("docs/a.md"), "# One thing\n## `[hub]` and `x`\n").unwrap();
    let broken = |text: &str| broken_links(folder.path(), "docs/b.md", text).len();
    let good =
        "[a](a.md) [b](../docs/a.md#one-thing) [c](a.md#hub-and-x) [d](https://example.com/x) [e](#here)\n# Here";
    assert_eq!(broken(good), 0);
    assert_eq!(broken("[a](c.md)"), 1);
    assert_eq!(broken("[a](a.md#two) [b](#gone)\n`[c](d.md)`"), 2);
    assert_eq!(broken("```md\n[a](c.md)\n```\n"), 0, "code is no link");
}

/// What the daemon prints when it serves, with the ports of the shipped configuration.
fn the_readme_shows_the_greeting() {
    let daemon = Daemon::start(&shipped(""));
    let greeting =
        daemon.greeting().replace(&daemon.clients, "127.0.0.1:8080").replace(&daemon.admin, "127.0.0.1:9180");
    let readme = read("README.md");
    assert!(readme.contains(&greeting), "README.md does not show\n{greeting}");
    let client = greeting.lines().find_map(|line| line.trim().strip_prefix("try ")).unwrap().trim();
    assert!(readme.lines().any(|line| line == client), "README.md has no line to paste\n{client}");
}

fn every_invariant_names_a_test_that_exists() {
    let sources: Vec<&str> =
        tree::files().iter().filter(|file| file.path.ends_with(".rs")).map(|file| &*file.source).collect();
    let page = read("ARCHITECTURE.md");
    assert!(page.matches("::").count() > 40, "the tables of invariants are gone");
    assert_eq!(missing_tests(&page, &sources), Vec::<String>::new());
}

fn a_test_that_is_gone_is_missed() {
    let page = "`hub::tests::a_b`, `it::slow::c_d` and `Hub::publish`\n`hub/tests.rs` `a_b::c` `hub::tests::e_f`";
    assert_eq!(missing_tests(page, &["fn a_b() {}", "fn c_d() {", "fn e_f2() {}"]), ["hub::tests::e_f"]);
}

/// The tests, named as `module::its_name`, that a page names and no source has.
fn missing_tests(page: &str, sources: &[&str]) -> Vec<String> {
    let code = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_test = |name: &&str| {
        let last = name.rsplit_once("::").map_or("", |(_, last)| last);
        last.contains('_')
            && last.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let exists = |name: &str| {
        let definition = format!("fn {}(", name.rsplit_once("::").map_or(name, |(_, last)| last));
        sources.iter().any(|source| source.contains(&definition))
    };
    code.filter(is_test).filter(|name| !exists(name)).map(str::to_owned).collect()
}

/// The relative links of a page that lead nowhere: no such file, or no such heading in it.
fn broken_links(root: &Path, page: &str, text: &str) -> Vec<String> {
    let folder = root.join(page).parent().unwrap().to_owned();
    let mut broken = Vec::new();
    for target in links(text) {
        let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { None } else { Some(folder.join(path)) };
        if file.as_ref().is_some_and(|file| !file.exists()) {
            broken.push(format!("{page}: {target}: there is no such file"));
            continue;
        }
        let there = file.map_or_else(|| text.to_owned(), |file| std::fs::read_to_string(file).unwrap_or_default());
        if !heading.is_empty() && !there.lines().filter_map(anchor).any(|found| found == heading) {
            broken.push(format!("{page}: {target}: there is no such heading"));
        }
    }
    broken
}

/// The relative targets of `[text](target)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        if !in_code {
            found.extend(targets.filter(|target| !target.contains("://")).map(str::to_owned));
        }
    }
    found
}

/// The name that a heading has in links.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title.to_lowercase().replace(' ', "-");
    Some(kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree::root().join(path)).unwrap_or_default()
}
