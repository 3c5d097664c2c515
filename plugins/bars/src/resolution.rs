//! How long a bar lasts: TradingView's grammar of resolutions, its canonical form and its bounds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const GRAMMAR: &str = "a resolution is a count from 1 followed by nothing for minutes, T for ticks, S for seconds, \
                       D for days, W for weeks or M for months; D, W and M may stand alone";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    Ticks,
    Seconds,
    Minutes,
    Days,
    Weeks,
    Months,
}

/// A resolution such as `5` (minutes), `30S`, `100T`, `1D` or `12M`. It prints its canonical form: `D` prints `1D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resolution {
    unit: Unit,
    count: u32,
}

impl Resolution {
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// How many units one bar holds, at least 1.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The length of an intraday bar in milliseconds; days and longer have none, because their length varies.
    pub fn period(self) -> Option<i64> {
        match self.unit {
            Unit::Seconds => Some(i64::from(self.count) * 1_000),
            Unit::Minutes => Some(i64::from(self.count) * 60_000),
            Unit::Ticks | Unit::Days | Unit::Weeks | Unit::Months => None,
        }
    }
}

impl Unit {
    const ALL: [Unit; 6] = [Unit::Ticks, Unit::Seconds, Unit::Minutes, Unit::Days, Unit::Weeks, Unit::Months];

    fn letter(self) -> &'static str {
        match self {
            Unit::Ticks => "T",
            Unit::Seconds => "S",
            Unit::Minutes => "",
            Unit::Days => "D",
            Unit::Weeks => "W",
            Unit::Months => "M",
        }
    }

    /// The greatest count: an intraday bar is at most a day, because it is anchored to one; the others are bounded so
    /// that the search for a period's first and last trading day stays short.
    fn most(self) -> u32 {
        match self {
            Unit::Ticks => 1_000_000,
            Unit::Seconds => 86_400,
            Unit::Minutes => 1_440,
            Unit::Days => 366,
            Unit::Weeks => 53,
            Unit::Months => 120,
        }
    }
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, letter) = text.split_at(digits);
        let unit = unit(letter).ok_or_else(|| refuse(text, hint(letter)))?;
        let stands_alone = matches!(unit, Unit::Days | Unit::Weeks | Unit::Months);
        let count = match count {
            "" if stands_alone => 1,
            "" => return Err(refuse(text, "the count is missing")),
            zero if zero.starts_with('0') => return Err(refuse(text, "the count starts at 1, without a leading zero")),
            digits => digits.parse().unwrap_or(u32::MAX),
        };
        if count > unit.most() {
            let most = format!("the greatest of its unit is \"{}{}\"", unit.most(), unit.letter());
            return Err(refuse(text, &most));
        }
        Ok(Self { unit, count })
    }
}

impl TryFrom<String> for Resolution {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Resolution> for String {
    fn from(resolution: Resolution) -> Self {
        resolution.to_string()
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.letter())
    }
}

fn unit(letter: &str) -> Option<Unit> {
    Unit::ALL.into_iter().find(|unit| unit.letter() == letter)
}

fn hint(letter: &str) -> &'static str {
    match letter {
        "H" | "h" => "hours are written in minutes, an hour is \"60\"",
        "m" => "minutes carry no letter and months a capital M",
        "Y" | "y" => "a year is \"12M\"",
        "t" | "s" | "d" | "w" => "its letter is a capital",
        _ => "its unit is unknown",
    }
}

fn refuse(text: &str, why: &str) -> String {
    format!("resolution {text:?} is not valid, {why}; {GRAMMAR}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms() {
        let table = [("D", "1D"), ("W", "1W"), ("M", "1M"), ("1D", "1D"), ("12M", "12M"), ("1", "1")];
        for (text, canonical) in table {
            assert_eq!(text.parse::<Resolution>().unwrap().to_string(), canonical);
        }
        assert_ne!("1M".parse::<Resolution>(), "1".parse());
    }

    #[test]
    fn bad_spellings_name_the_rule_that_they_break() {
        let table = [
            ("", "the count is missing"),
            ("0", "the count starts at 1"),
            ("0D", "the count starts at 1"),
            ("05", "leading zero"),
            ("1H", "an hour is \"60\""),
            ("m", "months a capital M"),
            ("1m", "months a capital M"),
            ("T", "the count is missing"),
            ("S", "the count is missing"),
            ("1d", "its letter is a capital"),
            ("1Y", "a year is \"12M\""),
            ("-1", "its unit is unknown"),
            ("1.5", "its unit is unknown"),
            (" 1", "its unit is unknown"),
            ("1DD", "its unit is unknown"),
            ("٣", "its unit is unknown"),
            ("99999999999", "the greatest of its unit is \"1440\""),
        ];
        for (text, rule) in table {
            let error = text.parse::<Resolution>().unwrap_err();
            assert!(error.contains(rule) && error.contains(&format!("{text:?}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_greatest_count_of_each_unit_is_the_last_that_is_taken() {
        for unit in Unit::ALL {
            let at = format!("{}{}", unit.most(), unit.letter());
            let beyond = format!("{}{}", unit.most() + 1, unit.letter());
            assert!(at.parse::<Resolution>().is_ok(), "{at}");
            assert!(beyond.parse::<Resolution>().is_err(), "{beyond}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "[0-9]{0,4}[TSDWM]?") {
            if let Ok(resolution) = text.parse::<Resolution>() {
                prop_assert_eq!(resolution.to_string().parse(), Ok(resolution));
            }
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Resolution>();
        }
    }
}
