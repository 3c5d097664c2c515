//! Reads the times that publishers write: RFC 3339, with any number of decimals and any offset.

/// Nanoseconds since 1970; further decimals are cut off. `None` is no such time, or one that does not fit.
pub fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = time.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (nanos, zone) = fraction(rest)?;
    // A leap second is the last of its minute here, as it is for every clock that counts as Unix does.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let is_date = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !is_time || !is_date {
        return None;
    }
    let of_day = hour * 3600 + minute * 60 + second.min(59);
    let seconds = days_since_1970(year, month, day) * 86_400 + of_day - offset(zone)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut read = |width| parts.next().filter(|part| part.len() == width).and_then(digits);
    let numbers = [read(widths[0])?, read(widths[1])?, read(widths[2])?];
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The nanoseconds of `.123…`, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(decimals) = text.strip_prefix('.') else { return Some((0, text)) };
    let count = decimals.bytes().take_while(u8::is_ascii_digit).count();
    let kept = &decimals[..count.min(9)];
    let scale = 10_i64.pow(9 - u32::try_from(kept.len()).ok()?);
    (count > 0).then_some((digits(kept)? * scale, &decimals[count..]))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = if let Some(rest) = zone.strip_prefix('+') { (1, rest) } else { (-1, zone.strip_prefix('-')?) };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn two_digits(text: &str) -> Option<i64> {
    if text.len() == 2 { digits(text) } else { None }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// By the civil calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::write_timestamp;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        let rows = [
            ("1970-01-01T00:00:00Z", 0),
            ("2025-12-29T15:00:00.123Z", 1_767_020_400_123_000_000),
            ("2025-12-29t16:30:00.1234567899+01:30", 1_767_020_400_123_456_789),
            ("2025-12-29 10:00:00-05:00", 1_767_020_400_000_000_000),
            ("2000-02-29T00:00:00z", 951_782_400_000_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000_000_000),
            ("1969-12-31T23:59:59.999Z", -1_000_000),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2025-12-29",
            "2025-12-29T15:00:00",
            "2025-12-29T15:00Z",
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-12-00T00:00:00Z",
            "2025-12-29T24:00:00Z",
            "2025-12-29T15:60:00Z",
            "2025-12-29T15:00:61Z",
            "2025-12-29T15:00:00.Z",
            "2025-12-29T15:00:00+0100",
            "2025-12-29T15:00:00+24:00",
            "+025-12-29T15:00:00Z",
            "2025-12-29T15:00:00Z ",
            "9999-12-31T00:00:00Z",
            "２025-12-29T15:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_the_daemon_writes_it_reads(millis in 0..9_000_000_000_000_i64) {
            let mut text = Vec::new();
            write_timestamp(millis * 1_000_000, &mut text);
            prop_assert_eq!(parse(std::str::from_utf8(&text).unwrap()), Some(millis * 1_000_000));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+é-]{0,40}") {
            _ = parse(&text);
        }
    }
}
