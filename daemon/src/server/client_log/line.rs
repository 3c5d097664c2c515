//! One line that a client wants to have in the log: read strictly, cut where it is long, and without anything that could
//! pass for another line.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::MAX_LINES;

/// The bytes of a message or a context that are kept: a stack of some fifty calls.
pub const MAX_MESSAGE: usize = 4 << 10;
/// The bytes of an address or of a browser's name that are kept.
pub const MAX_FIELD: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    /// Not for the log.
    Below,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    message: String,
    context: String,
    url: String,
    user_agent: String,
}

/// A line as it comes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    level: String,
    message: String,
    #[serde(default)]
    context: Value,
    #[serde(default)]
    url: String,
    #[serde(default)]
    user_agent: String,
    /// The client's own time; the log has the daemon's, and this goes with it as it is.
    #[serde(default)]
    timestamp: Value,
}

/// The lines of a body: one object, or an array of them.
pub fn read(body: &[u8]) -> Result<Vec<Line>, String> {
    let wrong = |error: serde_json::Error| {
        let error = tame(&error.to_string(), MAX_FIELD); // it repeats names that the client made up
        format!(
            "{error}; send {{\"level\":\"warn\",\"message\":…}} or an array of such, with context, url, user_agent and timestamp if you like"
        )
    };
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let texts: Vec<&RawValue> = if first == Some(&b'[') {
        serde_json::from_slice(body).map_err(wrong)?
    } else {
        vec![serde_json::from_slice(body).map_err(wrong)?]
    };
    if texts.len() > MAX_LINES {
        return Err(format!("a request has at most {MAX_LINES} lines; this one has {}", texts.len()));
    }
    texts.into_iter().map(|text| Line::of(Raw::read(text).map_err(wrong)?)).collect()
}

impl Raw {
    /// A list of values in the order of the members is no line, although serde would take it for one.
    fn read(text: &RawValue) -> serde_json::Result<Self> {
        match text.get().starts_with('{') {
            true => serde_json::from_str(text.get()),
            false => Err(serde::de::Error::custom("a line is an object")),
        }
    }
}

impl Line {
    fn of(raw: Raw) -> Result<Self, String> {
        let level = match raw.level.to_ascii_lowercase().as_str() {
            "fatal" | "critical" | "error" => Level::Error,
            "warn" | "warning" => Level::Warn,
            "info" | "log" | "debug" | "trace" => Level::Below,
            other => {
                let shown = tame(other, 20);
                return Err(format!("unknown level \"{shown}\"; levels: error, warn, info, debug, trace"));
            }
        };
        let mut context = if raw.context.is_null() { String::new() } else { raw.context.to_string() };
        if !raw.timestamp.is_null() {
            context = format!("timestamp={} {context}", raw.timestamp);
        }
        Ok(Self {
            level,
            message: tame(&raw.message, MAX_MESSAGE),
            context: tame(context.trim_end(), MAX_MESSAGE),
            url: tame(&raw.url, MAX_FIELD),
            user_agent: tame(&raw.user_agent, MAX_FIELD),
        })
    }

    /// Writes the line under the target `client_log`, which config can give a level of its own.
    pub fn write(&self, peer: Option<IpAddr>) {
        let Self { level, message, context, url, user_agent } = self;
        let peer = peer.map_or_else(|| "unix socket".to_owned(), |peer| peer.to_string());
        if *level == Level::Error {
            tracing::error!(target: "client_log", peer, context, url, user_agent, "{message}");
        } else {
            tracing::warn!(target: "client_log", peer, context, url, user_agent, "{message}");
        }
    }
}

/// The beginning of a text with everything escaped that is no visible sign: a line stays one line, and no terminal does
/// what a client says. `…` shows where it was cut.
fn tame(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for character in text.chars() {
        let before = out.len();
        match character {
            '"' | '\'' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
        if out.len() > max {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_can_pass_for_another_line() {
        let hostile = "a\nERROR b\r\u{1b}[31mred\u{0}\u{2028}\u{202e}\u{85}\\n\"'é";
        let tamed = tame(hostile, 1000);
        assert_eq!(tamed, "a\\nERROR b\\r\\u{1b}[31mred\\0\\u{2028}\\u{202e}\\u{85}\\\\n\"'é");
    }

    #[test]
    fn a_long_text_is_cut_at_a_whole_sign() {
        assert_eq!(tame("abcd", 4), "abcd");
        assert_eq!(tame("abcde", 4), "abcd…");
        assert_eq!(tame("éé", 3), "é…");
        assert_eq!(tame("abc\n", 4), "abc…", "no half of an escape stays");
    }

    #[test]
    fn levels_are_known_by_their_usual_names() {
        let level =
            |name: &str| read(format!(r#"{{"level":"{name}","message":"m"}}"#).as_bytes()).map(|lines| lines[0].level);
        assert_eq!(
            (level("ERROR"), level("fatal"), level("Warning")),
            (Ok(Level::Error), Ok(Level::Error), Ok(Level::Warn))
        );
        assert_eq!(
            (level("info"), level("log"), level("debug")),
            (Ok(Level::Below), Ok(Level::Below), Ok(Level::Below))
        );
        assert!(level("loud").unwrap_err().starts_with("unknown level \"loud\""));
    }

    #[test]
    fn the_number_of_lines_is_bounded() {
        let lines = |count: usize| format!("[{}]", vec![r#"{"level":"warn","message":"m"}"#; count].join(","));
        assert_eq!(read(lines(MAX_LINES).as_bytes()).unwrap().len(), MAX_LINES);
        assert_eq!(
            read(lines(MAX_LINES + 1).as_bytes()).unwrap_err(),
            "a request has at most 100 lines; this one has 101"
        );
    }
}
