//! Rules that need no parser: first lines, file names, words that belong to one machine.

/// Folders and hosts that exist on one machine only. Split, so that this file does not break its own rule.
pub fn places() -> Vec<String> {
    let folders = [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"]];
    let hosts = [
        ["deb.deb", "ian.org/"],
        ["files.python", "hosted.org/"],
        ["index.cra", "tes.io/"],
        ["pypi", ".org/"],
        ["registry.npm", "js.org/"],
        ["static.cra", "tes.io/"],
    ];
    folders.iter().chain(&hosts).map(|parts| parts.concat()).collect()
}

pub fn first_line(_: &str, source: &str) -> Vec<String> {
    let line = source.lines().next().unwrap_or_default();
    match line.strip_prefix("//! ") {
        Some(words) if !words.trim().is_empty() => Vec::new(),
        _ => vec!["1: begin with `//! ` and one sentence that says what the file is for".into()],
    }
}

pub fn no_mod_rs(path: &str, _: &str) -> Vec<String> {
    match path.strip_suffix("/mod.rs") {
        Some(folder) => vec![format!("1: name it {folder}.rs, beside its folder")],
        None => Vec::new(),
    }
}

pub fn no_literal_labels(_: &str, source: &str) -> Vec<String> {
    let code = source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let literal = code.filter(|(_, line)| line.contains("=> \""));
    literal.map(|(index, _)| format!("{}: make the label's value in metrics/labels.rs", index + 1)).collect()
}

pub fn one_machine(_: &str, source: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for place in places() {
        for (number, line) in source.lines().enumerate() {
            if names(line, &place) {
                complaints.push(format!("{}: {place} exists on one machine only: say it without", number + 1));
            }
        }
    }
    complaints
}

/// Whether the place stands there by itself, not as the end of a longer path.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-~$}".contains(letter))
    })
}
