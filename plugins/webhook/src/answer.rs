//! What a receiver's answer means for the message.
use std::time::{Duration, SystemTime};

use broadcastd_notifier::Refused;

/// The head of an answer, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200.
    pub status: u16,
    /// `Location`
    pub location: Option<String>,
    /// `Retry-After`
    pub retry_after: Option<String>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Taken,
    /// The same again, there.
    Redirected(String),
    /// Not taken.
    Refused(Refused),
}

impl Answer {
    /// 2xx: taken. 307 and 308: elsewhere. 408, 425, 429 and 5xx: later; 401 and 403, too, which are about the token and can
    /// be mended while messages wait. Everything else: never.
    pub fn verdict(&self, now: SystemTime) -> Verdict {
        let status = self.status;
        match (status, &self.location) {
            (200..=299, _) => Verdict::Taken,
            (307 | 308, Some(location)) => Verdict::Redirected(location.clone()),
            (300..=399, _) => {
                let why = format!("it answers {status}, by which a POST cannot be repeated elsewhere; correct `url`");
                Verdict::Refused(Refused::Never { why })
            }
            (401 | 403 | 408 | 425 | 429 | 500..=599, _) => {
                let after = self.retry_after.as_deref().and_then(|text| pause(text, now));
                Verdict::Refused(Refused::Later { why: format!("it answers {status}"), after })
            }
            _ => Verdict::Refused(Refused::Never { why: format!("it answers {status}") }),
        }
    }
}

/// RFC 9110, 10.2.3: seconds, or a date. What is neither is no pause.
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn verdict(status: u16, retry_after: Option<&str>) -> Verdict {
        let answer = Answer { status, location: None, retry_after: retry_after.map(str::to_owned) };
        answer.verdict(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }

    fn after(text: &str) -> Option<Duration> {
        match verdict(429, Some(text)) {
            Verdict::Refused(Refused::Later { after, .. }) => after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [200, 202, 204, 299] {
            assert_eq!(verdict(status, None), Verdict::Taken, "{status}");
        }
        for status in [401, 403, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(verdict(status, None), Verdict::Refused(Refused::Later { .. })), "{status}");
        }
        for status in [300, 301, 302, 303, 304, 307, 400, 402, 404, 410, 413, 422, 600] {
            assert!(matches!(verdict(status, None), Verdict::Refused(Refused::Never { .. })), "{status}");
        }
        let moved = Answer { status: 308, location: Some("/y".to_owned()), retry_after: None };
        assert_eq!(moved.verdict(UNIX_EPOCH), Verdict::Redirected("/y".to_owned()));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Thu, 01 Jan 2026 00:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Wed, 31 Dec 2025 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!([after("soon"), after("-1"), after("1.5")], [None; 3]);
    }
}
