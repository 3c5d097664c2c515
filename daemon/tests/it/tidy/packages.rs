//! What `cargo run` rests on: one binary among the default members, and no package that chooses another.

use std::process::Command;

use serde_json::{Value, json};

/// The workspace as cargo sees it. It reads the manifests only, so it needs neither network nor lock.
pub fn metadata() -> Value {
    let said = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(super::tree::root())
        .output()
        .expect("cargo built this test");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).expect("cargo writes JSON")
}

pub fn complaints(metadata: &Value) -> Vec<String> {
    let defaults = list(metadata, "workspace_default_members");
    let mut binaries = Vec::new();
    let mut complaints = Vec::new();
    for package in list(metadata, "packages") {
        let name = &package["name"];
        if !package["default_run"].is_null() {
            complaints.push(format!(
                "{name} sets default-run: `cargo run` would then build that package only, without plugins"
            ));
        }
        let targets = list(package, "targets").iter().filter(|target| list(target, "kind").contains(&json!("bin")));
        if defaults.contains(&package["id"]) {
            binaries.extend(targets.map(|target| target["name"].to_string()));
        }
    }
    if binaries.len() != 1 {
        let found = binaries.join(", ");
        complaints.push(format!("default-members must hold exactly one binary for `cargo run`, it holds [{found}]"));
    }
    complaints
}

pub fn check_examples() {
    let package = |id: &str, kind: &str| json!({"id": id, "name": id, "default_run": null, "targets": [{"name": id, "kind": [kind]}]});
    let workspace = |packages: &[Value]| json!({"workspace_default_members": ["daemon", "bars"], "packages": packages});
    let daemon = package("daemon", "bin");
    let good = [daemon.clone(), package("bars", "cdylib"), package("xtask", "bin")];
    assert_eq!(complaints(&workspace(&good)), Vec::<String>::new());
    assert!(complaints(&workspace(&[daemon.clone(), package("bars", "bin")]))[0].contains("\"daemon\", \"bars\""));
    assert!(complaints(&workspace(&[package("bars", "cdylib")]))[0].contains("holds []"));
    let mut chosen = package("bars", "cdylib");
    chosen["default_run"] = json!("bars");
    assert!(complaints(&workspace(&[daemon, chosen]))[0].contains("default-run"));
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}
