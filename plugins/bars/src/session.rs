//! The grammar of trading sessions, holidays and corrections, and which sessions a date has.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};

const SESSION_RULE: &str = "write \"24x7\" or HHMM-HHMM, breaks as a comma list, days as :1234567 with 1 for Sunday, \
                            several such groups divided by |";
const DAY: i32 = 24 * 60;

/// Opening and close of one session in minutes from midnight of its trading day; negative ones lie on the day before.
pub type Span = (i32, i32);

/// Which sessions each date has, in exchange time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sessions {
    /// Sunday first, as the day lists count.
    week: [Vec<Span>; 7],
    /// Dates that are not like their weekday; a holiday has no sessions.
    exceptions: BTreeMap<Date, Vec<Span>>,
    always: bool,
}

impl Sessions {
    pub fn parse(session: &str) -> Result<Self, String> {
        let always = session == "24x7";
        let session = if always { "0000-0000:1234567" } else { session };
        let refuse = |why: String| format!("session {session:?} is not valid, {why}; {SESSION_RULE}");
        let mut week: [Vec<Span>; 7] = Default::default();
        // A group that names its days stands above one that does not, wherever it is written.
        let (named, plain): (Vec<_>, Vec<_>) = session.split('|').partition(|group| group.contains(':'));
        for group in plain.into_iter().chain(named) {
            let (spans, days) = group.split_once(':').unwrap_or((group, "23456"));
            let spans = parse_spans(spans).map_err(refuse)?;
            for day in parse_days(days).map_err(refuse)? {
                week[day].clone_from(&spans);
            }
        }
        Ok(Self { week, exceptions: BTreeMap::new(), always })
    }

    /// Takes `YYYYMMDD,…`, trading days without trade; an empty text names none.
    pub fn close_on(&mut self, holidays: &str) -> Result<(), String> {
        for date in items(holidays, ',') {
            self.exceptions.insert(parse_date(date)?, Vec::new());
        }
        Ok(())
    }

    /// Takes `1000-1400:20181114;…`, trading days with other sessions; `dayoff` in place of the sessions names none.
    /// A correction stands above a holiday.
    pub fn correct(&mut self, corrections: &str) -> Result<(), String> {
        for correction in items(corrections, ';') {
            let refuse = |why: String| {
                format!(
                    "correction {correction:?} is not valid, {why}; write HHMM-HHMM:YYYYMMDD or dayoff:YYYYMMDD, several divided by ;"
                )
            };
            let (spans, dates) = correction.split_once(':').ok_or_else(|| refuse("it names no date".into()))?;
            let spans = if spans == "dayoff" { Vec::new() } else { parse_spans(spans).map_err(refuse)? };
            for date in dates.split(',') {
                self.exceptions.insert(parse_date(date.trim()).map_err(refuse)?, spans.clone());
            }
        }
        Ok(())
    }

    pub fn of(&self, date: Date) -> &[Span] {
        let regular = &self.week[weekday_from_sunday(date.weekday())];
        self.exceptions.get(&date).unwrap_or(regular)
    }

    /// Whether trade never pauses, so that intraday bars are anchored to the epoch and not to a session.
    pub fn always(&self) -> bool {
        self.always
    }
}

fn items(list: &str, divider: char) -> impl Iterator<Item = &str> {
    list.split(divider).map(str::trim).filter(|item| !item.is_empty())
}

fn parse_spans(text: &str) -> Result<Vec<Span>, String> {
    let mut spans: Vec<Span> = Vec::new();
    for part in text.split(',') {
        let (open, close) = part.split_once('-').ok_or_else(|| format!("{part:?} is not HHMM-HHMM"))?;
        let (open, mut close) = (parse_minutes(open)?, parse_minutes(close)?);
        if open == 0 && close == 0 {
            close = DAY;
        }
        // A session that does not end after it starts has started the day before, as foreign exchange does.
        let open = if open >= close { open - DAY } else { open };
        if spans.last().is_some_and(|before| open < before.1) {
            return Err(format!("{part:?} begins before the session ahead of it ends"));
        }
        spans.push((open, close));
    }
    if spans.first().is_some_and(|first| spans.last().is_some_and(|last| last.1 - first.0 > DAY)) {
        return Err("its sessions span more than 24 hours".into());
    }
    Ok(spans)
}

fn parse_minutes(text: &str) -> Result<i32, String> {
    let refuse = || format!("{text:?} is not a time from 0000 to 2400");
    if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    let number: i32 = text.parse().map_err(|_| refuse())?;
    let (hours, minutes) = (number / 100, number % 100);
    let total = hours * 60 + minutes;
    if minutes < 60 && total <= DAY { Ok(total) } else { Err(refuse()) }
}

fn parse_days(text: &str) -> Result<Vec<usize>, String> {
    let day = |c: char| c.to_digit(8).filter(|digit| *digit > 0).map(|digit| digit as usize - 1);
    let days: Option<Vec<usize>> = text.chars().map(day).collect();
    days.filter(|days| !days.is_empty()).ok_or_else(|| format!("{text:?} is not a list of days 1 to 7"))
}

fn parse_date(text: &str) -> Result<Date, String> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let date = digits.then(|| Date::strptime("%Y%m%d", text).ok()).flatten();
    date.ok_or_else(|| format!("{text:?} is not a date; write YYYYMMDD"))
}

fn weekday_from_sunday(weekday: Weekday) -> usize {
    usize::from(weekday.to_sunday_zero_offset().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    const MONDAY: Date = date(2018, 11, 12);

    #[test]
    fn spans_and_their_days() {
        let sessions = Sessions::parse("0900-1130,1230-1500").unwrap();
        assert_eq!(sessions.of(MONDAY), [(540, 690), (750, 900)]);
        assert_eq!(sessions.of(date(2018, 11, 11)), [], "a plain session is closed at the weekend");
        assert_eq!(Sessions::parse("1700-1700").unwrap().of(MONDAY), [(-420, 1020)]);
        assert_eq!(Sessions::parse("0000-0000").unwrap().of(MONDAY), [(0, 1440)]);
        assert_eq!(Sessions::parse("0000-2400").unwrap().of(MONDAY), [(0, 1440)]);
        assert_eq!(Sessions::parse("1700-0000").unwrap().of(MONDAY), [(-420, 0)]);
        assert_eq!(Sessions::parse("24x7").unwrap().of(date(2018, 11, 11)), [(0, 1440)]);
        let mixed = Sessions::parse("0900-1400:2|0900-1630").unwrap();
        assert_eq!(mixed.of(MONDAY), [(540, 840)]);
        assert_eq!(mixed.of(date(2018, 11, 13)), [(540, 990)]);
        assert_eq!(Sessions::parse("0930-1600:17").unwrap().of(date(2018, 11, 11)), [(570, 960)]);
        assert_eq!(Sessions::parse("0930-1600:17").unwrap().of(MONDAY), []);
    }

    #[test]
    fn holidays_and_corrections() {
        let mut sessions = Sessions::parse("0930-1600").unwrap();
        sessions.close_on("20181112, 20181113").unwrap();
        sessions.correct("1000-1400:20181113,20181114;dayoff:20181115").unwrap();
        assert_eq!(sessions.of(MONDAY), []);
        assert_eq!(sessions.of(date(2018, 11, 13)), [(600, 840)], "a correction stands above a holiday");
        assert_eq!(sessions.of(date(2018, 11, 14)), [(600, 840)]);
        assert_eq!(sessions.of(date(2018, 11, 15)), []);
        assert_eq!(sessions.of(date(2018, 11, 16)), [(570, 960)]);
    }

    #[test]
    fn bad_texts_name_the_rule_that_they_break() {
        for (text, rule) in [
            ("", "is not HHMM-HHMM"),
            ("24x5", "is not HHMM-HHMM"),
            ("930-1600", "\"930\" is not a time"),
            ("0960-1600", "\"0960\" is not a time"),
            ("0900-2401", "\"2401\" is not a time"),
            ("0900-1200,1100-1500", "begins before the session ahead"),
            ("0900-1200,1100-0500", "begins before the session ahead"),
            ("1700-1600,1600-1701", "more than 24 hours"),
            ("0900-1200:", "is not a list of days"),
            ("0900-1200:8", "is not a list of days"),
            ("0900-1200:0", "is not a list of days"),
        ] {
            let error = Sessions::parse(text).unwrap_err();
            assert!(error.contains(rule) && error.contains("divided by |"), "{text:?}: {error}");
        }
        let mut sessions = Sessions::parse("24x7").unwrap();
        assert!(sessions.close_on("20180230").unwrap_err().contains("write YYYYMMDD"));
        assert!(sessions.close_on("+2018023").unwrap_err().contains("write YYYYMMDD"));
        assert!(sessions.correct("1000-1400").unwrap_err().contains("it names no date"));
        assert!(sessions.correct("1000-1400:today").unwrap_err().contains("write YYYYMMDD"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[0-9:,|;x-]{0,24}|.*") {
            let _ = Sessions::parse(&text);
            let mut sessions = Sessions::parse("24x7").unwrap();
            let _ = sessions.close_on(&text);
            let _ = sessions.correct(&text);
        }
    }
}
