//! Topics and patterns: what a subscription may ask for, and whether an event's topic answers it.

use std::fmt;
use std::sync::Arc;

/// The longest topic or pattern in bytes: long enough for any name, short enough that a table of them stays small.
pub const MAX_TOPIC_BYTES: usize = 256;
/// The most parts after the stream's name; a pattern is matched part by part.
pub const MAX_PARTS: usize = 16;

/// A topic in its one spelling, or a topic with `*` in place of whole parts, or a whole stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// Full and canonical: `bars:*:1`, or `bars` for the whole stream.
    text: Arc<str>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Shape {
    Whole,
    Exact,
    Wild,
    Root,
}

/// Why a text is neither topic nor pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl fmt::Display for BadPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Pattern {
    /// Reads `stream`, `stream:part:part` or the same with `*` for whole parts. Any percent-encoding is accepted; the
    /// canonical text encodes only `:`, `*` and `%` inside a part.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let canonical = canonical_topic(text)?;
        let shape = match canonical.split_once(':') {
            None => Shape::Whole,
            Some((_, parts)) if parts.split(':').any(|part| part == "*") => Shape::Wild,
            Some(_) => Shape::Exact,
        };
        Ok(Self { text: canonical.into(), shape })
    }

    /// The whole stream: every topic of it.
    pub fn whole(stream: &str) -> Self {
        Self { text: stream.into(), shape: Shape::Whole }
    }

    /// What a stream says to every subscriber, and none of its topics.
    pub fn root(stream: &str) -> Self {
        Self { text: format!("{stream}:").into(), shape: Shape::Root }
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub fn stream(&self) -> &str {
        self.text.split_once(':').map_or(&self.text, |(stream, _)| stream)
    }

    /// The topic itself, when the pattern names exactly one.
    pub fn exact(&self) -> Option<&Arc<str>> {
        (self.shape == Shape::Exact).then_some(&self.text)
    }

    /// Whether it has `*` in it: such patterns are tried one by one.
    pub fn is_wild(&self) -> bool {
        self.shape == Shape::Wild
    }

    /// Whether every topic that the other pattern names is named by this one, too. The root topic, which reaches every
    /// subscription of its stream, is not asked about.
    pub fn covers(&self, other: &Pattern) -> bool {
        match self.shape {
            Shape::Whole => self.stream() == other.stream(),
            Shape::Exact | Shape::Root => self.text == other.text && other.shape == self.shape,
            Shape::Wild => matches!(other.shape, Shape::Exact | Shape::Wild) && wild_matches(&self.text, &other.text),
        }
    }

    /// Whether this full canonical topic of any stream is one that the pattern names.
    pub fn matches_topic(&self, topic: &str) -> bool {
        match self.shape {
            Shape::Whole => topic.split(':').next() == Some(&*self.text),
            Shape::Exact => *self.text == *topic,
            Shape::Wild => wild_matches(&self.text, topic),
            Shape::Root => self.stream() == topic,
        }
    }

    /// Whether an event of this full canonical topic of the same stream reaches the subscription. The root topic, the
    /// stream's bare name, reaches every subscription of the stream.
    pub fn matches(&self, topic: &str) -> bool {
        match self.shape {
            Shape::Whole => true,
            Shape::Exact => *self.text == *topic || !topic.contains(':'),
            Shape::Wild => wild_matches(&self.text, topic) || !topic.contains(':'),
            Shape::Root => !topic.contains(':'),
        }
    }
}

/// The one spelling of a full topic or pattern.
pub fn canonical_topic(text: &str) -> Result<String, BadPattern> {
    if text.len() > MAX_TOPIC_BYTES {
        return Err(BadPattern(format!("a topic has at most {MAX_TOPIC_BYTES} bytes; this one has {}", text.len())));
    }
    let mut parts = text.split(':');
    let stream = parts.next().unwrap_or_default();
    if stream.is_empty() || !stream.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(BadPattern(format!(
            "a topic starts with a stream's name (a-z, 0-9, _); \"{}\" is none",
            stream.escape_debug()
        )));
    }
    let mut canonical = stream.to_owned();
    for (index, part) in parts.enumerate() {
        if index == MAX_PARTS {
            return Err(BadPattern(format!("a topic has at most {MAX_PARTS} parts after its stream")));
        }
        canonical.push(':');
        push_canonical_part(part, &mut canonical)?;
    }
    if canonical.len() > MAX_TOPIC_BYTES {
        return Err(BadPattern(format!("a topic has at most {MAX_TOPIC_BYTES} bytes once it is percent-encoded")));
    }
    Ok(canonical)
}

/// One part with `:`, `*` and `%` percent-encoded, so that it stands for itself inside a topic.
pub fn encode_part(part: &str, out: &mut String) {
    for character in part.chars() {
        match character {
            ':' => out.push_str("%3A"),
            '*' => out.push_str("%2A"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
}

fn push_canonical_part(part: &str, out: &mut String) -> Result<(), BadPattern> {
    if part == "*" {
        out.push('*');
        return Ok(());
    }
    let decoded = decode_part(part)?;
    if decoded.is_empty() {
        return Err(BadPattern("a part of a topic is empty; write * for any part".to_owned()));
    }
    if decoded.chars().any(char::is_control) {
        return Err(BadPattern("a topic contains a control character".to_owned()));
    }
    if part.contains('*') {
        return Err(BadPattern(format!(
            "* stands for a whole part; in \"{}\" write %2A for a literal one",
            part.escape_debug()
        )));
    }
    encode_part(&decoded, out);
    Ok(())
}

fn decode_part(part: &str) -> Result<String, BadPattern> {
    if !part.contains('%') {
        return Ok(part.to_owned());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.first_chunk::<2>().and_then(|pair| std::str::from_utf8(pair).ok());
        let value = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let Some(value) = value else {
            return Err(BadPattern(format!(
                "% is followed by two hexadecimal digits; in \"{}\" write %25 for a literal one",
                part.escape_debug()
            )));
        };
        bytes.push(value);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| BadPattern(format!("\"{}\" does not decode to UTF-8", part.escape_debug())))
}

fn wild_matches(pattern: &str, topic: &str) -> bool {
    let mut parts = topic.split(':');
    let all_match = pattern.split(':').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part));
    all_match && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(topic)
    }

    #[test]
    fn a_star_stands_for_one_whole_part() {
        assert!(matches("bars:*:1", "bars:AAPL:1"));
        assert!(!matches("bars:*:1", "bars:AAPL:5"));
        assert!(!matches("bars:*", "bars:AAPL:1"));
        assert!(!matches("bars:*:1", "bars:AAPL"));
        assert!(matches("bars", "bars:AAPL:1"));
        assert!(matches("bars:AAPL:1", "bars:AAPL:1"));
        assert!(!matches("bars:AAPL:1", "bars:AAPL:15"));
    }

    #[test]
    fn the_root_topic_reaches_every_subscription() {
        for pattern in ["bars", "bars:AAPL:1", "bars:*:1"] {
            assert!(matches(pattern, "bars"), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_covers_what_names_no_more() {
        let covers = |ours: &str, theirs: &str| Pattern::parse(ours).unwrap().covers(&Pattern::parse(theirs).unwrap());
        for (ours, theirs) in [
            ("bars", "bars"),
            ("bars", "bars:*:1"),
            ("bars:*:1", "bars:A:1"),
            ("bars:*:*", "bars:*:1"),
            ("bars:A", "bars:A"),
        ] {
            assert!(covers(ours, theirs), "{ours} {theirs}");
        }
        for (ours, theirs) in [
            ("bars", "bars2"),
            ("bars:A", "bars"),
            ("bars:*", "bars"),
            ("bars:A", "bars:*"),
            ("bars:*:1", "bars:*:*"),
            ("bars:*", "bars:A:1"),
            ("bars:A", "bars:AB"),
        ] {
            assert!(!covers(ours, theirs), "{ours} {theirs}");
        }
    }

    #[test]
    fn spelling_is_canonical() {
        let canonical = |text| Pattern::parse(text).unwrap().text().to_string();
        assert_eq!(canonical("bars:BINANCE%3aBTCUSDT:1"), "bars:BINANCE%3ABTCUSDT:1");
        assert_eq!(canonical("bars:%41APL:1"), "bars:AAPL:1");
        assert_eq!(canonical("bars:%2A:1"), "bars:%2A:1");
        assert!(Pattern::parse("bars:%2A:1").unwrap().exact().is_some(), "an encoded star is a literal one");
    }

    #[test]
    fn mistakes_say_the_rule() {
        let message = |text: &str| Pattern::parse(text).unwrap_err().to_string();
        assert_eq!(message(""), "a topic starts with a stream's name (a-z, 0-9, _); \"\" is none");
        assert_eq!(message("Bars"), "a topic starts with a stream's name (a-z, 0-9, _); \"Bars\" is none");
        assert_eq!(message("bars:"), "a part of a topic is empty; write * for any part");
        assert_eq!(message("bars:A*"), "* stands for a whole part; in \"A*\" write %2A for a literal one");
        assert_eq!(
            message("bars:100%"),
            "% is followed by two hexadecimal digits; in \"100%\" write %25 for a literal one"
        );
        assert_eq!(message("bars:%ff"), "\"%ff\" does not decode to UTF-8");
        assert_eq!(message("bars:%00"), "a topic contains a control character");
        assert_eq!(message(&format!("bars{}", ":a".repeat(17))), "a topic has at most 16 parts after its stream");
        assert_eq!(message(&"a".repeat(257)), "a topic has at most 256 bytes; this one has 257");
        assert!(Pattern::parse(&"a".repeat(256)).is_ok());
        assert!(Pattern::parse(&format!("bars{}", ":a".repeat(16))).is_ok());
    }
}
