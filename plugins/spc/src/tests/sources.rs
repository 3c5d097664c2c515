//! Whatever computes a figure says in its documentation where the formula is from.

use std::fs;
use std::path::Path;

/// What a line of a formula has: a quotient, a root, a power.
const SIGNS: [&str; 4] = [" / ", ".sqrt()", ".powi(", ".exp()"];

/// The functions that compute something and name no source for it.
fn unsourced(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let (mut found, mut documentation, mut function) = (Vec::new(), String::new(), None);
    for line in code.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text);
        } else if let Some((before, name)) = line.split_once("fn ")
            && before.split(' ').all(|word| ["", "pub", "const"].contains(&word))
        {
            let name = name.split(['(', '<']).next().unwrap_or(name);
            function = (!documentation.contains("Source")).then_some(name);
            documentation.clear();
        } else if let Some(name) = function
            && !line.starts_with("//")
            && SIGNS.iter().any(|sign| line.contains(sign))
        {
            found.push(name);
            function = None;
        } else if !line.starts_with("#[") {
            documentation.clear();
        }
    }
    found
}

#[test]
fn every_formula_names_its_source() {
    let files =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().map(|file| file.unwrap().path());
    let sources: Vec<String> =
        files.filter(|file| file.is_file()).map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(sources.len() > 20, "the sources are gone");
    let found: Vec<&str> = sources.iter().flat_map(|source| unsourced(source)).collect();
    assert_eq!(found, [""; 0]);
    assert!(unsourced("fn a() {\n x / y\n}").len() == 1 && unsourced("/// Source: b.\nfn a() {\n x / y\n}").is_empty());
    let both = "/// Source: b.\nfn a() {\n x / y\n}\n/// c\npub const fn d() {\n x.sqrt()\n}";
    assert_eq!(unsourced(both), ["d"]);
}
