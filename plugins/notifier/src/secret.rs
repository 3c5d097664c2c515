//! A secret in settings: named there, and read where it lies.
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::Deserialize;

/// A longer secret is a wrong file.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret, which never stands in the configuration itself; so whoever reads that, or a report about it, learns none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Secret {
    /// "credential:NAME": handed over by systemd (`LoadCredential=`).
    Credential(
        #[schemars(extend(
            "pattern" = "^credential:[A-Za-z0-9._-]+$",
            "x-rule" = "a secret is never inline: write \"credential:NAME\", { file = \"/path\" } or { env = \"NAME\" }"
        ))]
        String,
    ),
    /// { file = "/path" }: the file's text without the line end.
    File(SecretFile),
    /// { env = "NAME" }: the value of an environment variable.
    Env(SecretEnv),
}

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The file's path.
    pub file: PathBuf,
}

/// A secret in an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEnv {
    /// The variable's name.
    pub env: String,
}

/// What a secret says; it shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Secret {
    /// Reads it, without white space at its ends; from [`crate::Carrier::open`]. `pointer` is where the settings name it,
    /// `/password`.
    pub fn read(&self, pointer: &str) -> Result<Revealed, Failure> {
        let refuse = |why: String| Failure::at(pointer, why);
        let text = match self {
            Secret::Env(SecretEnv { env }) => {
                std::env::var(env).map_err(|_| refuse(format!("the environment variable {env} is not set")))?
            }
            Secret::File(SecretFile { file }) => read_file(file).map_err(refuse)?,
            Secret::Credential(named) => read_file(&credential(named).map_err(refuse)?).map_err(refuse)?,
        };
        match text.trim() {
            "" => Err(refuse("the secret is empty".to_owned())),
            trimmed => Ok(Revealed(trimmed.to_owned())),
        }
    }
}

impl Revealed {
    /// What the secret says, to be used and not to be kept or shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(…)")
    }
}

fn credential(named: &str) -> Result<PathBuf, String> {
    let name = named.strip_prefix("credential:").filter(|name| !name.contains('/') && !name.is_empty());
    let name =
        name.ok_or("a secret is never inline: write \"credential:NAME\", { file = \"/path\" } or { env = \"NAME\" }")?;
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!("\"{named}\" needs systemd's LoadCredential={name}:/path; elsewhere write {{ file = \"/path\" }}")
    })?;
    Ok(Path::new(&folder).join(name))
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > MAX_BYTES => Err(format!("{} has over {MAX_BYTES} bytes", path.display())),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(json: serde_json::Value) -> Secret {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_file_is_read_without_its_line_end_and_shown_to_nobody() {
        let file = std::env::temp_dir().join(format!("notifier-secret-{}", std::process::id()));
        std::fs::write(&file, "hush\n").unwrap();
        let revealed = secret(serde_json::json!({ "file": file })).read("/password").unwrap();
        assert_eq!(revealed.reveal(), "hush");
        assert_eq!(format!("{revealed:?}"), "Revealed(…)");
        std::fs::write(&file, " \n").unwrap();
        let empty = secret(serde_json::json!({ "file": file })).read("/password").unwrap_err();
        assert_eq!((empty.pointer(), empty.message()), ("/password", "the secret is empty"));
        std::fs::write(&file, "x".repeat(MAX_BYTES as usize)).unwrap();
        assert!(secret(serde_json::json!({ "file": file })).read("").is_ok());
        std::fs::write(&file, "x".repeat(MAX_BYTES as usize + 1)).unwrap();
        assert!(secret(serde_json::json!({ "file": file })).read("").unwrap_err().message().contains("65536 bytes"));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_is_inline_or_absent_is_refused_without_repeating_it() {
        let inline = secret(serde_json::json!("hunter2")).read("/password").unwrap_err();
        assert!(inline.message().starts_with("a secret is never inline") && !inline.message().contains("hunter2"));
        let absent = secret(serde_json::json!({ "env": "NO_SUCH_VARIABLE_9" })).read("").unwrap_err();
        assert_eq!(absent.message(), "the environment variable NO_SUCH_VARIABLE_9 is not set");
        let outside = secret(serde_json::json!("credential:../x")).read("").unwrap_err();
        assert!(outside.message().starts_with("a secret is never inline"));
    }
}
