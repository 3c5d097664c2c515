//! `broadcastd token`: a secret for a program, and the lines of config.toml by which the daemon knows it.

use std::fmt::Write as _;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs;
use serde_json::json;

use super::{fail, say};
use crate::cli::{Exit, Format, Token, TokenAct};
use crate::hub::pattern::Pattern;
use crate::identity::MAX_TOKEN_BYTES;
use crate::plugin::file::sha256;

/// As many as the hash has: nobody guesses one, and nobody finds another of the same hash.
const SECRET_BYTES: usize = 32;
/// What a token begins with, so that whoever finds one in a wrong place knows what it is.
const PREFIX: &str = "bcd_";

/// Makes a token, or the hash of one that there is.
pub fn token(token: &Token) -> Exit {
    match token.act {
        Some(TokenAct::Hash) => hash(),
        None => make(token),
    }
}

fn make(token: &Token) -> Exit {
    if let Err(wrong) = check(token) {
        return fail(Exit::Usage, &wrong);
    }
    let mut bytes = [0; SECRET_BYTES];
    if aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        return fail(Exit::Internal, "the system gives no random numbers; no token was made");
    }
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let lines = lines(token, &secret);
    match token.format {
        Format::Json => {
            say(&format!("{:#}", json!({"token": secret, "sha256": sha256(secret.as_bytes()), "config": lines})))
        }
        Format::Text => say(&format!(
            "The token, for the program alone; it is shown this once and kept nowhere:\n\n{secret}\n\nThe lines for config.toml, which knows it by its hash:\n\n{}",
            lines.trim_end()
        )),
    }
    Exit::Done
}

/// The table of config.toml.
fn lines(token: &Token, secret: &str) -> String {
    let hash = sha256(secret.as_bytes());
    let mut out = format!("[[auth.tokens]]\nname = {}\nsha256 = \"{hash}\"\n", quoted(&token.name));
    for (key, values) in [("publish", &token.publish), ("streams", &token.streams), ("commands", &token.commands)] {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            writeln!(out, "{key} = [{}]", values.join(", ")).expect("writing into a string cannot fail");
        }
    }
    if let Some(events) = token.rate {
        writeln!(out, "rate = {{ events = {events} }}").expect("writing into a string cannot fail");
    }
    out
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What the daemon would refuse is said before a token is given away.
fn check(token: &Token) -> Result<(), String> {
    let mut letters = token.name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    let is_word = letters.all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    if !begins || !is_word || token.name.len() > 64 {
        let name = token.name.escape_debug();
        return Err(format!(
            "\"{name}\" is no name; a name has up to 64 letters, digits and . _ - and begins with a letter or digit"
        ));
    }
    for pattern in token.publish.iter().chain(&token.streams) {
        Pattern::parse(pattern).map_err(|bad| bad.to_string())?;
    }
    Ok(())
}

/// Prints what `sha256sum` would, of the secret without the line end behind it.
fn hash() -> Exit {
    let mut secret = Vec::new();
    if let Err(error) = io::stdin().lock().take(MAX_TOKEN_BYTES as u64 + 2).read_to_end(&mut secret) {
        return fail(Exit::Internal, &format!("standard input cannot be read: {error}"));
    }
    let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() || secret.len() > MAX_TOKEN_BYTES || secret.iter().any(|byte| !byte.is_ascii_graphic()) {
        let rule = format!("1 to {MAX_TOKEN_BYTES} letters, digits and signs without a blank, on one line");
        return fail(Exit::Data, &format!("standard input has no token; a token is {rule}"));
    }
    say(&sha256(secret));
    Exit::Done
}
