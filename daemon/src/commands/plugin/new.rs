//! `plugin new`: writes a plugin project that compiles and passes its own test as it is.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use broadcastd_plugin_api::abi;

use crate::cli::Exit;
use crate::cli::plugin::Language;
use crate::commands::{fail, say};

/// What is asked for.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub lang: Language,
    pub path: Option<&'a Path>,
    pub api: Option<&'a str>,
}

pub fn new(wanted: &Wanted<'_>) -> Exit {
    if let Err(why) = check_name(wanted.name) {
        return fail(Exit::Usage, &why);
    }
    if wanted.lang == Language::C && wanted.api.is_some() {
        return fail(Exit::Usage, "--api is for Rust; a plugin in C gets the header beside its source");
    }
    let api = match api(wanted.api) {
        Ok(api) => api,
        Err(why) => return fail(Exit::Usage, &why),
    };
    let folder = wanted.path.map_or_else(|| PathBuf::from(wanted.name), Path::to_owned);
    let files = files(wanted.lang);
    match write(&folder, files, &Words { name: wanted.name, api: &api }) {
        Ok(()) => {
            say(&told(&folder, wanted, &api));
            Exit::Done
        }
        Err(error) => {
            let exit = match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Exit::Permission,
                _ => Exit::Usage,
            };
            fail(exit, &format!("{}: {error}", folder.display()))
        }
    }
}

/// The name that stands in the templates, which are a plugin themselves; and that of its type in Rust.
const NAME: &str = "my_plugin";
const TYPE: &str = "MyPlugin";
/// The line of the template that says where the crate comes from.
const API: &str = "broadcastd-plugin-api = \"0.1\"";

/// A file of a template: where it goes, and its text.
type Template = (&'static str, &'static str);

const RUST: &[Template] = &[
    ("Cargo.toml", include_str!("../../../templates/rust/Cargo.toml")),
    ("README.md", include_str!("../../../templates/rust/README.md")),
    ("config.toml", include_str!("../../../templates/rust/config.toml")),
    (".gitignore", include_str!("../../../templates/rust/gitignore")),
    ("src/lib.rs", include_str!("../../../templates/rust/src/lib.rs")),
];

const C: &[Template] = &[
    ("Makefile", include_str!("../../../templates/c/Makefile")),
    ("README.md", include_str!("../../../templates/c/README.md")),
    ("config.toml", include_str!("../../../templates/c/config.toml")),
    (".gitignore", include_str!("../../../templates/c/gitignore")),
    ("my_plugin.c", include_str!("../../../templates/c/my_plugin.c")),
    ("broadcastd_plugin.h", include_str!("../../../../plugin-api/include/broadcastd_plugin.h")),
];

fn files(lang: Language) -> &'static [Template] {
    match lang {
        Language::Rust => RUST,
        Language::C => C,
    }
}

/// Names that a crate or its library cannot have: words of Rust, crates of the language, and what the project depends on.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "broadcastd_plugin_api",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "serde_json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tracing",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

fn check_name(name: &str) -> Result<(), String> {
    if !is_word(name) {
        let near = near(name).map_or(String::new(), |near| format!("; {near} would be one"));
        let name = name.escape_debug();
        return Err(format!("\"{name}\" is no name of a plugin (a letter a-z, then a-z, 0-9 and _){near}"));
    }
    let most = abi::NOTE_ID_MAX as usize - 1;
    if name.len() > most {
        return Err(format!("\"{name}\" has {} letters; a plugin's name has at most {most}", name.len()));
    }
    if TAKEN.contains(&name) {
        return Err(format!("\"{name}\" is a word of Rust or a crate that the plugin needs; {name}_plugin would do"));
    }
    Ok(())
}

fn is_word(name: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && name.bytes().all(may_be)
}

/// The name that was probably meant.
fn near(name: &str) -> Option<String> {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    let near: String = name.chars().map(letter).collect();
    let near = near.trim_matches('_');
    (is_word(near) && check_name(near).is_ok()).then(|| near.to_owned())
}

/// What replaces the words of the template.
struct Words<'a> {
    name: &'a str,
    api: &'a str,
}

impl Words<'_> {
    fn put_into(&self, text: &str) -> String {
        let capital = |part: &str| {
            let mut letters = part.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
        };
        let type_name: String = self.name.split('_').map(capital).collect();
        text.replace(API, self.api).replace(NAME, self.name).replace(TYPE, &type_name)
    }
}

/// The line of Cargo.toml that says where the crate comes from. Who has only this program has its version; who built it
/// has the sources, too.
fn api(asked: Option<&str>) -> Result<String, String> {
    let line = |source: &str| format!("broadcastd-plugin-api = {source}");
    let from_path = |folder: &Path| line(&format!("{{ path = {:?} }}", folder.display().to_string()));
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match asked {
        None => Ok(own_checkout().map_or_else(|| own_version(&line), |folder| from_path(&folder))),
        Some(url) if url.contains("://") => Ok(line(&format!("{{ git = {url:?} }}"))),
        Some(version) if !version.is_empty() && is_version(version) => Ok(line(&format!("{version:?}"))),
        Some(path) => match checkout(Path::new(path)) {
            Some(folder) => Ok(from_path(&folder)),
            None => Err(format!(
                "{path} is no checkout of broadcastd (it has no plugin-api/Cargo.toml); name one, the URL of its git \
                 repository, or a version such as {}",
                own_version(&str::to_owned).trim_matches('"')
            )),
        },
    }
}

fn own_version(line: &dyn Fn(&str) -> String) -> String {
    let own = env!("CARGO_PKG_VERSION");
    line(&format!("{:?}", own.rsplit_once('.').map_or(own, |(compatible, _)| compatible)))
}

/// The crate's folder in a checkout, or what is that folder itself.
fn checkout(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let is_crate = |folder: &PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line == "name = \"broadcastd-plugin-api\"")
    };
    [folder.join("plugin-api"), folder].into_iter().find(is_crate)
}

/// Of a program that lies in `target/release` or its like.
fn own_checkout() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(1).take_while(|folder| folder.parent().is_some()).find_map(checkout)
}

/// Writes all files, or says why it cannot. What is there already is never touched.
fn write(folder: &Path, files: &[Template], words: &Words<'_>) -> io::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let why = "it exists and is not empty; name a new folder by --path, or empty this one";
                return Err(io::Error::new(ErrorKind::DirectoryNotEmpty, why));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(io::Error::new(error.kind(), "it is a file; name a new folder by --path"));
        }
        Err(error) => return Err(error),
    }
    for (name, text) in files {
        let path = folder.join(name.replace(NAME, words.name));
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(words.put_into(text).as_bytes())?;
    }
    Ok(())
}

fn told(folder: &Path, wanted: &Wanted<'_>, api: &str) -> String {
    let names: Vec<String> = files(wanted.lang).iter().map(|(name, _)| name.replace(NAME, wanted.name)).collect();
    let mut lines = vec![format!("{}: {}", folder.display(), names.join(", "))];
    if wanted.lang == Language::Rust {
        lines.push(format!("it takes {api}; --api takes it from elsewhere"));
    }
    let library = match wanted.lang {
        Language::Rust => format!("target/release/lib{}.so", wanted.name),
        Language::C => format!("lib{}.so", wanted.name),
    };
    lines.push("next:".to_owned());
    lines.push(format!("  cd {}", folder.display()));
    lines.extend(match wanted.lang {
        Language::Rust => vec!["  cargo test".to_owned(), "  cargo build --release".to_owned()],
        Language::C => vec!["  make".to_owned()],
    });
    lines.push(format!("  broadcastd plugin test {library}"));
    lines.push(format!("  broadcastd plugin run {library}"));
    lines.push("  broadcastd --config config.toml".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_told_the_rule_and_a_good_one() {
        for name in ["a", "weather", "weather_2", &"a".repeat(63)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let told = |name: &str| check_name(name).unwrap_err();
        assert_eq!(
            told("My-Plugin"),
            "\"My-Plugin\" is no name of a plugin (a letter a-z, then a-z, 0-9 and _); my_plugin would be one"
        );
        assert_eq!(told("7up"), "\"7up\" is no name of a plugin (a letter a-z, then a-z, 0-9 and _)");
        for name in ["", "_a", "a b", "../a", "ä", "a\n"] {
            assert!(told(name).contains("is no name of a plugin"), "{name}");
        }
        assert_eq!(
            told(&"a".repeat(64)),
            format!("\"{}\" has 64 letters; a plugin's name has at most 63", "a".repeat(64))
        );
        assert_eq!(
            told("match"),
            "\"match\" is a word of Rust or a crate that the plugin needs; match_plugin would do"
        );
        assert!(told("serde").contains("serde_plugin would do"));
    }

    #[test]
    fn every_word_of_the_templates_is_replaced() {
        for lang in [Language::Rust, Language::C] {
            let folder = tempfile::tempdir().unwrap();
            let words = Words { name: "weather_map", api: "broadcastd-plugin-api = \"9.9\"" };
            write(folder.path(), files(lang), &words).unwrap();
            for (name, _) in files(lang).iter().filter(|(name, _)| *name != "broadcastd_plugin.h") {
                let text = fs::read_to_string(folder.path().join(name.replace(NAME, "weather_map"))).unwrap();
                assert!(!text.contains(NAME) && !text.contains(TYPE), "{name}");
            }
        }
        let words = Words { name: "weather_map", api: "broadcastd-plugin-api = \"9.9\"" };
        let lib = words.put_into(include_str!("../../../templates/rust/src/lib.rs"));
        assert!(lib.contains("export_plugin!(WeatherMap);"));
        assert!(words.put_into(RUST[0].1).contains("\nbroadcastd-plugin-api = \"9.9\"\n"), "the line is still there");
    }

    #[test]
    fn what_is_there_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), "mine").unwrap();
        let words = Words { name: "weather", api: API };
        let error = write(folder.path(), RUST, &words).unwrap_err().to_string();
        assert!(error.starts_with("it exists and is not empty"), "{error}");
        assert!(write(&folder.path().join("notes"), RUST, &words).is_err(), "a file is no folder");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_crate_comes_from_where_it_is_said() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
        let path = format!("broadcastd-plugin-api = {{ path = {:?} }}", root.join("plugin-api").display().to_string());
        assert_eq!(api(root.to_str()), Ok(path.clone()));
        assert_eq!(api(root.join("plugin-api").to_str()), Ok(path));
        assert_eq!(api(Some("0.1")).as_deref(), Ok("broadcastd-plugin-api = \"0.1\""));
        let url = "https://example.com/broadcastd.git";
        assert_eq!(api(Some(url)), Ok(format!("broadcastd-plugin-api = {{ git = \"{url}\" }}")));
        let error = api(Some("nowhere")).unwrap_err();
        assert!(error.starts_with("nowhere is no checkout of broadcastd") && error.ends_with("such as 0.1"), "{error}");
    }
}
