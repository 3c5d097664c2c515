//! The Debian package: builds the daemon and its plugins, writes what is made from them, and packs it all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{root, run};

/// How files are called that say under which terms a package may be used.
const NOTICES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// What the pages that are built into the daemon are made with.
const OF_PAGES: &str = "dashboard/dist/assets/licenses.txt";

/// What a package that must only work is asked for: it is built as tests are, and packed fast.
const SMOKE: &str = "--smoke";

/// `arguments` behind [`SMOKE`] go to `cargo deb`, such as `--output FILE`.
pub fn package(arguments: &[&str]) -> Result<(), String> {
    let (smoke, rest): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|argument| **argument == SMOKE);
    let (profile, folder, packing): (&str, _, &[&str]) =
        if smoke.is_empty() { ("release", "release", &[]) } else { ("dev", "debug", &["--fast"]) };
    run(Command::new(cargo()).current_dir(root()).args(["build", "--locked", "--profile", profile]))?;
    let built = target().join(folder);
    write_pages(&built)?;
    let mut deb = Command::new(cargo());
    deb.current_dir(root()).args(["deb", "--package", "broadcastd", "--no-build", "--locked", "--strip"]);
    run(deb.args(["--profile", profile]).args(packing).args(rest))
        .map_err(|error| format!("{error}; if cargo knows no `deb`: cargo install --locked cargo-deb"))
}

/// Manual pages and completions, by the program itself; the notices of everything that is inside.
fn write_pages(built: &Path) -> Result<(), String> {
    let folder = built.join("package");
    let man = folder.join("man");
    _ = fs::remove_dir_all(&folder); // a page of a command that is gone would stay
    fs::create_dir_all(&man).map_err(|error| format!("{} cannot be made: {error}", man.display()))?;
    let program = built.join("broadcastd");
    run(Command::new(&program).arg("man").arg(&man))?;
    for shell in ["bash", "zsh", "fish"] {
        let text = output(Command::new(&program).args(["completions", shell]))?;
        write(&folder.join(format!("broadcastd.{shell}")), &text)?;
    }
    let third = folder.join("third-party-notices");
    write(&third, &notices()?)?;
    let pages = fs::read_dir(&man).map_err(|error| format!("{} cannot be read: {error}", man.display()))?;
    let pages = pages.filter_map(Result::ok).map(|page| page.path());
    run(Command::new("gzip").args(["-9", "--no-name"]).arg(third).args(pages))
}

/// The licences of all packages that daemon and plugins are made of, each text once with whom it is of; then of the pages.
fn notices() -> Result<String, String> {
    let metadata =
        output(Command::new(cargo()).current_dir(root()).args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let inside = inside(&metadata);
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut page = "Rust packages inside, with the licences that each may be used under:\n\n".to_owned();
    for package in list(&metadata["packages"]).iter().filter(|package| !package["source"].is_null()) {
        let Some(id) = package["id"].as_str().filter(|id| inside.contains(*id)) else { continue };
        let [name, version, license, manifest] =
            ["name", "version", "license", "manifest_path"].map(|key| package[key].as_str().unwrap_or("not given"));
        page.push_str(&format!("{name} {version}: {license}\n"));
        for text in texts_beside(Path::new(manifest)).map_err(|error| format!("{manifest} ({id}): {error}"))? {
            texts.entry(text).or_default().insert(format!("{name} {version}"));
        }
    }
    for (text, whose) in texts {
        let whose = whose.into_iter().collect::<Vec<_>>().join(", ");
        page.push_str(&format!("\n{}\n{whose}\n\n{}\n", "─".repeat(80), text.trim_end()));
    }
    let of_pages = root().join(OF_PAGES);
    let text = fs::read_to_string(&of_pages);
    page.push_str(&format!("\n{}\n", "═".repeat(80)));
    page.push_str(&text.map_err(|error| format!("{} cannot be read: {error}", of_pages.display()))?);
    Ok(page)
}

/// Ids of the packages that what users build is linked with; not those that only build or test it.
fn inside(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let mut todo: Vec<&str> = list(&metadata["workspace_default_members"]).iter().filter_map(Value::as_str).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if found.insert(id) {
            let linked = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let dependencies = nodes.get(id).map_or(&[][..], |node| list(&node["deps"])).iter();
            todo.extend(dependencies.filter(linked).filter_map(|dependency| dependency["pkg"].as_str()));
        }
    }
    found
}

fn texts_beside(manifest: &Path) -> std::io::Result<Vec<String>> {
    let mut texts = Vec::new();
    for file in fs::read_dir(manifest.parent().unwrap_or(manifest))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().to_uppercase();
        if NOTICES.iter().any(|notice| name.starts_with(notice)) && file.file_type()?.is_file() {
            texts.push(fs::read_to_string(file.path())?);
        }
    }
    Ok(texts)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let said = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if !said.status.success() {
        return Err(format!("{name} ended with {}: {}", said.status, String::from_utf8_lossy(&said.stderr)));
    }
    String::from_utf8(said.stdout).map_err(|error| format!("{name}: {error}"))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{} cannot be written: {error}", file.display()))
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_is_in_the_package() {
        let metadata =
            output(Command::new(cargo()).current_dir(root()).args(["metadata", "--format-version=1", "--no-deps"]));
        let metadata: Value = serde_json::from_str(&metadata.unwrap()).unwrap();
        let packages = list(&metadata["packages"]);
        let daemon = packages.iter().find(|package| package["name"] == "broadcastd").unwrap();
        let packed: BTreeSet<&str> =
            list(&daemon["metadata"]["deb"]["assets"]).iter().filter_map(|asset| asset[0].as_str()).collect();
        let shipped = list(&metadata["workspace_default_members"]);
        let targets =
            packages.iter().filter(|package| shipped.contains(&package["id"])).flat_map(|it| list(&it["targets"]));
        let plugins: Vec<String> = targets
            .filter(|target| target["kind"][0] == "cdylib")
            .filter_map(|target| Some(format!("target/release/lib{}.so", target["name"].as_str()?)))
            .collect();
        assert!(plugins.len() >= 7, "{plugins:?}");
        let missing: Vec<&String> = plugins.iter().filter(|plugin| !packed.contains(plugin.as_str())).collect();
        assert!(missing.is_empty(), "not in package.metadata.deb of daemon/Cargo.toml: {missing:?}");
    }

    #[test]
    fn the_notices_are_of_the_daemon_and_of_its_pages() {
        let page = notices().unwrap();
        for part in
            ["\nserde_json ", "\npreact ", "\nlightweight-charts ", "TradingView, Inc. https://www.tradingview.com/"]
        {
            assert!(page.contains(part), "{part}");
        }
    }
}
