//! The parameters of a request: known names, each as often as it may come, numbers within their bounds.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};

use super::answer::Denied;
use crate::dialect::echo;
use crate::event::Position;
use crate::hub::names::Names;
use crate::hub::pattern::Pattern;

/// The parameter that may bear the caller's token; it is looked at elsewhere, and never repeated in an answer.
const TOKEN: &str = "token";
/// The parameter by which an operator says whose log of a private stream is meant.
pub const AUDIENCE: &str = "audience";
/// The most topics and patterns that one request names: a page shows a handful, and every kept event is tried against
/// each of them.
pub const MAX_TOPICS: usize = 100;

/// How many things a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub default: usize,
    pub max: usize,
}

/// The parameters of one request.
#[derive(Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query that may have these parameters and no others.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, Denied> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(invalid("the query cannot be read; write ?name=value&name=value, percent-encoded"));
        };
        let unknown = pairs.iter().find(|(name, _)| name != TOKEN && !known.contains(&name.as_str()));
        match unknown {
            Some((name, _)) if known.is_empty() => {
                Err(invalid(format!("unknown parameter \"{}\"; there are none here", echo(name))))
            }
            Some((name, _)) => {
                Err(invalid(format!("unknown parameter \"{}\"; known: {}", echo(name), known.join(", "))))
            }
            None => Ok(Self(pairs)),
        }
    }

    /// A parameter that comes at most once and is not empty.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, Denied> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(invalid(format!("\"{name}\" is given twice; give it once"))),
            (Some(""), None) => Err(invalid(format!("\"{name}\" is empty; leave it out, or give a value"))),
            (value, None) => Ok(value),
        }
    }

    pub fn limit(&self, limit: Limit) -> Result<usize, Denied> {
        let Some(text) = self.one("limit")? else { return Ok(limit.default) };
        let number = text.parse().ok().filter(|number| (1..=limit.max).contains(number));
        number.ok_or_else(|| {
            let message = format!("\"limit\" is a number from 1 to {}, {} if it is left out", limit.max, limit.default);
            invalid(message)
        })
    }

    /// The patterns of all `topic=` in the stream, which may have other names there, sorted, each once; the whole stream if
    /// there is none.
    pub fn patterns(&self, stream: &str, names: &Names) -> Result<Vec<Pattern>, Denied> {
        let of_stream = |called: &str| match pattern(&names.topic_of(called))? {
            pattern if pattern.stream() == stream => Ok(pattern),
            // As it was asked: what it is another name of may be hidden.
            _ => Err(invalid(format!(
                "topic \"{}\" is not of stream \"{stream}\"; its topics begin with \"{stream}:\"",
                called
            ))),
        };
        let mut patterns = self.all("topic").map(of_stream).collect::<Result<Vec<_>, _>>()?;
        if patterns.len() > MAX_TOPICS {
            let message = format!("a request names at most {MAX_TOPICS} topics; use a pattern, or several requests");
            return Err(invalid(message));
        }
        patterns.sort();
        patterns.dedup();
        if patterns.is_empty() {
            patterns.push(Pattern::whole(stream));
        }
        Ok(patterns)
    }

    /// `since=EPOCH:SEQ`.
    pub fn since(&self) -> Result<Option<Position>, Denied> {
        let Some(text) = self.one("since")? else { return Ok(None) };
        let position = text.rsplit_once(':').and_then(|(epoch, seq)| {
            let is_number = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
            let seq = seq.parse().ok().filter(|_| is_number)?;
            (!epoch.is_empty()).then(|| Position { epoch: epoch.into(), seq })
        });
        let wrong = || invalid("\"since\" is EPOCH:SEQ, as a position was told: epoch and seq with a colon between");
        position.map(Some).ok_or_else(wrong)
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One topic or pattern.
pub fn pattern(text: &str) -> Result<Pattern, Denied> {
    Pattern::parse(text).map_err(|bad| invalid(bad.to_string()))
}

pub fn invalid(message: impl Into<String>) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, "invalid_params", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap(), &["topic", "limit", "since"]).unwrap()
    }

    #[test]
    fn numbers_have_their_bounds() {
        const LIMIT: Limit = Limit { default: 5, max: 10 };
        let limit = |query: &str| params(query).limit(LIMIT).ok();
        assert_eq!((limit(""), limit("limit=1"), limit("limit=10")), (Some(5), Some(1), Some(10)));
        for wrong in ["0", "11", "-1", "", "1e3", "99999999999999999999", "5&limit=5"] {
            assert_eq!(limit(&format!("limit={wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn a_position_is_read_as_it_was_told() {
        let since =
            |text: &str| params(&format!("since={text}")).since().ok().flatten().map(|p| (p.epoch.to_string(), p.seq));
        assert_eq!(since("k3f9:41"), Some(("k3f9".to_owned(), 41)));
        assert_eq!(since("k3f9-1:0"), Some(("k3f9-1".to_owned(), 0)));
        for wrong in ["", "41", ":41", "k3f9:", "k3f9:-1", "k3f9:%2B1", "k3f9:18446744073709551616", "k3f9:4 1"] {
            assert!(params(&format!("since={}", wrong.replace(' ', "%20"))).since().is_err(), "{wrong}");
        }
    }

    #[test]
    fn topics_are_bounded_and_of_the_stream() {
        let topics = |count: usize| (0..count).map(|n| format!("topic=bars:{n}&")).collect::<String>();
        assert_eq!(params(&topics(MAX_TOPICS)).patterns("bars", &Names::default()).unwrap().len(), MAX_TOPICS);
        assert!(params(&topics(MAX_TOPICS + 1)).patterns("bars", &Names::default()).is_err());
        assert_eq!(params("topic=bars:A&topic=bars:A").patterns("bars", &Names::default()).unwrap().len(), 1);
        assert!(params("topic=alerts").patterns("bars", &Names::default()).is_err());
        assert_eq!(params("").patterns("bars", &Names::default()).unwrap(), [Pattern::whole("bars")]);
    }
}
