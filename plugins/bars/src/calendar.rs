//! Which trading day an instant belongs to, and which bar: time zone, sessions, weeks and months.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as Days, Timestamp};
use serde::{Deserialize, Serialize};

use crate::resolution::{Resolution, Unit};
use crate::session::Sessions;

/// How far the next session is searched for: longer than any closure of a market that comes back.
const SEARCH_DAYS: i64 = 400;

const DAY_MS: i64 = 86_400_000;

/// All bars of a broadcaster share one calendar.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    sessions: Sessions,
}

/// The texts that a calendar is made of, as the settings of the same names say.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    pub timezone: &'a str,
    pub session: &'a str,
    pub holidays: &'a str,
    pub corrections: &'a str,
}

/// The part of time that one bar covers: instants from `start` to before `end`, both in milliseconds since the epoch.
///
/// `time` is what the bar carries: its start for intraday bars, and for days, weeks and months the date of the period
/// at 00:00 UTC, wherever the exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub time: i64,
    pub start: i64,
    pub end: i64,
}

/// A date with trade, and its sessions as instants in order; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingDay {
    pub date: Date,
    pub sessions: Vec<Session>,
}

/// Instants from `open` to before `close` in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub open: i64,
    pub close: i64,
}

impl Calendar {
    /// The error is the name of the setting at fault, and why.
    pub fn new(texts: Texts<'_>) -> Result<Self, (&'static str, String)> {
        let zone = TimeZone::get(texts.timezone).map_err(|_| {
            (
                "timezone",
                format!(
                    "time zone {:?} is unknown; write a name such as \"UTC\" or \"America/New_York\"",
                    texts.timezone
                ),
            )
        })?;
        let mut sessions = Sessions::parse(texts.session).map_err(|why| ("session", why))?;
        sessions.close_on(texts.holidays).map_err(|why| ("holidays", why))?;
        sessions.correct(texts.corrections).map_err(|why| ("corrections", why))?;
        Ok(Self { zone, sessions })
    }

    /// The session in which `ts` falls; outside of sessions there is no trade.
    pub fn session(&self, ts: i64) -> Option<Session> {
        self.trading_day(ts)?.sessions.into_iter().find(|session| session.holds(ts))
    }

    /// The day to which trade at `ts` belongs: Sunday evening in New York is Monday for foreign exchange.
    pub fn trading_day(&self, ts: i64) -> Option<TradingDay> {
        let date = self.date(ts)?;
        // A session starts on its own date or on the evening before.
        let dates = [Some(date), date.tomorrow().ok()];
        let mut days = dates.into_iter().flatten().filter_map(|date| self.day(date));
        days.find(|day| day.sessions.iter().any(|session| session.holds(ts)))
    }

    /// The bar of `ts`; `None` outside of sessions, and for tick resolutions, which time does not divide.
    pub fn bucket(&self, resolution: Resolution, ts: i64) -> Option<Bucket> {
        let day = self.trading_day(ts)?;
        match resolution.period() {
            Some(period) => Some(self.intraday(&day, period, ts)),
            None => self.calendar_period(resolution, day.date),
        }
    }

    /// The first bar after `bucket` in which trade is possible.
    pub fn following(&self, resolution: Resolution, bucket: Bucket) -> Option<Bucket> {
        let reopens = self.next_instant(bucket.end)?;
        self.bucket(resolution, reopens)
    }

    /// Whether `bucket` is one that this calendar makes.
    pub fn has(&self, resolution: Resolution, bucket: Bucket) -> bool {
        let first = self.next_instant(bucket.start).and_then(|ts| self.bucket(resolution, ts));
        first == Some(bucket)
    }

    /// When trade of the day of `ts` ends for good; never where it does not pause.
    pub fn day_end(&self, ts: i64) -> Option<i64> {
        if self.sessions.always() { Some(i64::MAX) } else { Some(self.trading_day(ts)?.close()) }
    }

    fn intraday(&self, day: &TradingDay, period: i64, ts: i64) -> Bucket {
        let (anchor, limit) = if self.sessions.always() { (0, i64::MAX) } else { (day.open(), day.close()) };
        let start = anchor + (ts - anchor).div_euclid(period) * period;
        Bucket { time: start, start, end: (start + period).min(limit) }
    }

    /// Days, weeks and months are made of dates and never of hours, because a day has 23 to 25 of them.
    fn calendar_period(&self, resolution: Resolution, date: Date) -> Option<Bucket> {
        let count = i64::from(resolution.count());
        let (first, next) = match resolution.unit() {
            Unit::Days => day_period(date, count, 0)?,
            // The epoch was a Thursday; weeks count from the Monday after.
            Unit::Weeks => day_period(date, 7 * count, 4)?,
            Unit::Months => month_period(date, count)?,
            Unit::Ticks | Unit::Seconds | Unit::Minutes => return None,
        };
        let last = next.yesterday().ok()?;
        let open = first.series(Days::new().days(1)).take_while(|day| *day <= date).find_map(|day| self.day(day))?;
        let close = last.series(Days::new().days(-1)).take_while(|day| *day >= date).find_map(|day| self.day(day))?;
        Some(Bucket { time: epoch_day(first) * DAY_MS, start: open.open(), end: close.close() })
    }

    /// `ts` itself when it lies in a session, else the next opening.
    fn next_instant(&self, ts: i64) -> Option<i64> {
        let date = self.date(ts)?;
        let until = date.checked_add(Days::new().days(SEARCH_DAYS)).ok()?;
        let days = date.series(Days::new().days(1)).take_while(|day| *day <= until);
        let mut sessions = days.filter_map(|date| self.day(date)).flat_map(|day| day.sessions);
        sessions.find(|session| session.close > ts).map(|session| session.open.max(ts))
    }

    fn date(&self, ts: i64) -> Option<Date> {
        let instant = Timestamp::from_millisecond(ts).ok()?;
        Some(self.zone.to_datetime(instant).date())
    }

    fn day(&self, date: Date) -> Option<TradingDay> {
        let spans = self.sessions.of(date).iter();
        let instants = spans
            .filter_map(|span| Some(Session { open: self.instant(date, span.0)?, close: self.instant(date, span.1)? }));
        // A clock change can swallow a short session whole.
        let sessions: Vec<Session> = instants.filter(|session| session.open < session.close).collect();
        (!sessions.is_empty()).then_some(TradingDay { date, sessions })
    }

    /// The instant at which exchange clocks show `minutes` after midnight of `date`: the first of two when clocks go
    /// back, as much later as the gap is long when clocks jump over it.
    fn instant(&self, date: Date, minutes: i32) -> Option<i64> {
        let days = minutes.div_euclid(24 * 60);
        let rest = minutes.rem_euclid(24 * 60);
        let date = date.checked_add(Days::new().days(days)).ok()?;
        let clock = date.at(i8::try_from(rest / 60).ok()?, i8::try_from(rest % 60).ok()?, 0, 0);
        Some(self.zone.to_timestamp(clock).ok()?.as_millisecond())
    }
}

impl TradingDay {
    pub fn open(&self) -> i64 {
        self.sessions[0].open
    }

    pub fn close(&self) -> i64 {
        self.sessions[self.sessions.len() - 1].close
    }
}

impl Bucket {
    pub fn holds(&self, ts: i64) -> bool {
        (self.start..self.end).contains(&ts)
    }
}

impl Session {
    pub fn holds(&self, ts: i64) -> bool {
        (self.open..self.close).contains(&ts)
    }
}

/// The first date of the period of `count` days that holds `date`, and of the one after; periods count from `anchor`
/// days after the epoch.
fn day_period(date: Date, count: i64, anchor: i64) -> Option<(Date, Date)> {
    let first = anchor + (epoch_day(date) - anchor).div_euclid(count) * count;
    Some((date_of(first)?, date_of(first + count)?))
}

/// Periods of months count from January of year 0, so that twelve are a calendar year and three a quarter.
fn month_period(date: Date, count: i64) -> Option<(Date, Date)> {
    let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
    let first = month.div_euclid(count) * count;
    Some((month_start(first)?, month_start(first + count)?))
}

fn month_start(month: i64) -> Option<Date> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()
}

fn epoch_day(date: Date) -> i64 {
    let seconds = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map(Timestamp::as_second);
    seconds.expect("midnight of every date has an instant in UTC").div_euclid(DAY_MS / 1_000)
}

fn date_of(epoch_day: i64) -> Option<Date> {
    let instant = Timestamp::from_second(epoch_day.checked_mul(DAY_MS / 1_000)?).ok()?;
    Some(TimeZone::UTC.to_datetime(instant).date())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn calendar(timezone: &str, session: &str) -> Calendar {
        Calendar::new(Texts { timezone, session, holidays: "", corrections: "" }).unwrap()
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn bucket(calendar: &Calendar, resolution: &str, ts: &str) -> (i64, i64, i64) {
        let bucket = calendar.bucket(resolution.parse().unwrap(), ms(ts)).unwrap();
        (bucket.time, bucket.start, bucket.end)
    }

    fn instants(time: &str, start: &str, end: &str) -> (i64, i64, i64) {
        (ms(time), ms(start), ms(end))
    }

    #[test]
    fn a_day_has_23_to_25_hours() {
        let new_york = calendar("America/New_York", "24x7");
        for (day, start, end, hours) in [
            ("2018-03-11", "2018-03-11T05:00Z", "2018-03-12T04:00Z", 23),
            ("2018-07-04", "2018-07-04T04:00Z", "2018-07-05T04:00Z", 24),
            ("2018-11-04", "2018-11-04T04:00Z", "2018-11-05T05:00Z", 25),
        ] {
            let day = format!("{day}T00:00Z");
            assert_eq!(bucket(&new_york, "D", start), instants(&day, start, end));
            assert_eq!(ms(end) - ms(start), hours * HOUR);
        }
        // The hour that clocks show twice is two bars.
        let first = bucket(&new_york, "60", "2018-11-04T05:30Z");
        let second = bucket(&new_york, "60", "2018-11-04T06:30Z");
        assert_eq!((first.2, second.1), (second.1, ms("2018-11-04T06:00Z")));
    }

    #[test]
    fn a_midnight_that_clocks_jump_over_still_begins_a_day() {
        let beirut = calendar("Asia/Beirut", "24x7");
        let day = instants("2022-03-27T00:00Z", "2022-03-26T22:00Z", "2022-03-27T21:00Z");
        assert_eq!(bucket(&beirut, "D", "2022-03-26T22:00Z"), day);
        let havana = calendar("America/Havana", "24x7");
        let day = instants("2022-11-06T00:00Z", "2022-11-06T04:00Z", "2022-11-07T05:00Z");
        assert_eq!(bucket(&havana, "D", "2022-11-06T05:30Z"), day);
    }

    #[test]
    fn a_session_that_clocks_jump_over_is_no_trading_day() {
        let nightly = calendar("America/New_York", "0200-0300:1");
        let before = nightly.bucket("D".parse().unwrap(), ms("2018-03-04T07:30Z")).unwrap();
        let after = nightly.following("D".parse().unwrap(), before).unwrap();
        assert_eq!(after.time, ms("2018-03-18T00:00Z"));
    }

    #[test]
    fn indian_hours_start_at_the_opening_and_the_last_bar_is_short() {
        let mumbai = calendar("Asia/Kolkata", "0915-1530");
        assert_eq!(bucket(&mumbai, "60", "2024-01-01T03:45Z").1, ms("2024-01-01T03:45Z"));
        let last = instants("2024-01-01T09:45Z", "2024-01-01T09:45Z", "2024-01-01T10:00Z");
        assert_eq!(bucket(&mumbai, "60", "2024-01-01T09:59:59.999Z"), last);
        assert_eq!(mumbai.bucket("60".parse().unwrap(), ms("2024-01-01T10:00Z")), None);
        // Round the clock, hours are the epoch's, and days do not begin on one.
        let always = calendar("Asia/Kolkata", "24x7");
        assert_eq!(bucket(&always, "60", "2024-01-01T18:45Z").1, ms("2024-01-01T18:00Z"));
        assert_eq!(bucket(&always, "D", "2024-01-01T18:45Z").0, ms("2024-01-02T00:00Z"));
        assert_eq!(bucket(&always, "D", "2024-01-01T18:15Z").0, ms("2024-01-01T00:00Z"));
    }

    #[test]
    fn sunday_evening_is_monday_for_foreign_exchange() {
        let forex = calendar("America/New_York", "1700-1700");
        let monday = instants("2024-01-08T00:00Z", "2024-01-07T22:00Z", "2024-01-08T22:00Z");
        assert_eq!(bucket(&forex, "D", "2024-01-07T22:00Z"), monday);
        assert_eq!(bucket(&forex, "D", "2024-01-08T21:59Z"), monday);
        assert_eq!(bucket(&forex, "D", "2024-01-08T22:00Z").0, ms("2024-01-09T00:00Z"));
        assert_eq!(forex.session(ms("2024-01-07T21:59Z")), None);
        assert_eq!(forex.session(ms("2024-01-12T22:00Z")), None, "Friday evening");
        let week = instants("2024-01-08T00:00Z", "2024-01-07T22:00Z", "2024-01-12T22:00Z");
        assert_eq!(bucket(&forex, "W", "2024-01-10T12:00Z"), week);
        let friday = forex.bucket("240".parse().unwrap(), ms("2024-01-12T21:00Z")).unwrap();
        assert_eq!(forex.following("240".parse().unwrap(), friday).unwrap().start, ms("2024-01-14T22:00Z"));
    }

    #[test]
    fn a_break_has_no_trade_and_no_bar() {
        let tokyo = calendar("Asia/Tokyo", "0900-1130,1230-1500");
        assert_eq!(tokyo.session(ms("2024-01-05T03:00Z")), None);
        let morning = tokyo.bucket("30".parse().unwrap(), ms("2024-01-05T02:29Z")).unwrap();
        assert_eq!((morning.start, morning.end), (ms("2024-01-05T02:00Z"), ms("2024-01-05T02:30Z")));
        let afternoon = tokyo.following("30".parse().unwrap(), morning).unwrap();
        assert_eq!(afternoon.start, ms("2024-01-05T03:30Z"));
        assert_eq!(tokyo.day_end(ms("2024-01-05T02:00Z")), Some(ms("2024-01-05T06:00Z")));
    }

    #[test]
    fn weeks_start_on_monday_and_months_follow_the_calendar() {
        let utc = calendar("UTC", "24x7");
        let week = instants("2018-01-01T00:00Z", "2018-01-01T00:00Z", "2018-01-08T00:00Z");
        assert_eq!(bucket(&utc, "W", "2018-01-07T23:59Z"), week);
        assert_eq!(bucket(&utc, "W", "1970-01-01T00:00Z").0, ms("1969-12-29T00:00Z"));
        let month = instants("2024-02-01T00:00Z", "2024-02-01T00:00Z", "2024-03-01T00:00Z");
        assert_eq!(bucket(&utc, "M", "2024-02-29T12:00Z"), month);
        assert_eq!(bucket(&utc, "12M", "2024-02-29T12:00Z").0, ms("2024-01-01T00:00Z"));
        assert_eq!(bucket(&utc, "3M", "2024-05-31T12:00Z").0, ms("2024-04-01T00:00Z"));
        assert_eq!(bucket(&utc, "3D", "1970-01-03T12:00Z").0, 0);
    }

    #[test]
    fn a_period_begins_and_ends_with_its_trading_days() {
        let texts = Texts {
            timezone: "America/New_York",
            session: "0930-1600",
            holidays: "20240101,20241231",
            corrections: "1000-1300:20241230",
        };
        let exchange = Calendar::new(texts).unwrap();
        assert_eq!(exchange.session(ms("2024-01-01T15:00Z")), None);
        assert_eq!(
            bucket(&exchange, "12M", "2024-06-03T15:00Z"),
            instants("2024-01-01T00:00Z", "2024-01-02T14:30Z", "2024-12-30T18:00Z")
        );
        assert_eq!(
            bucket(&exchange, "60", "2024-12-30T15:30Z").1,
            ms("2024-12-30T15:00Z"),
            "anchored to the correction"
        );
    }

    #[test]
    fn times_before_the_epoch_and_beyond_the_calendar() {
        let utc = calendar("UTC", "24x7");
        let minute = utc.bucket("1".parse().unwrap(), -1).unwrap();
        assert_eq!((minute.start, minute.end), (-60_000, 0));
        for ts in [i64::MIN, i64::MAX, i64::MAX / 2] {
            assert_eq!(utc.bucket("1".parse().unwrap(), ts), None);
        }
        for ts in [Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond()] {
            for resolution in ["1", "1440", "D", "120M", "53W"] {
                let bucket = utc.bucket(resolution.parse().unwrap(), ts);
                let _ = bucket.and_then(|bucket| utc.following(resolution.parse().unwrap(), bucket));
            }
        }
    }

    #[test]
    fn an_error_names_the_setting() {
        let good = Texts { timezone: "UTC", session: "24x7", holidays: "", corrections: "" };
        for (texts, setting) in [
            (Texts { timezone: "Mars/Olympus", ..good }, "timezone"),
            (Texts { session: "noon", ..good }, "session"),
            (Texts { holidays: "Easter", ..good }, "holidays"),
            (Texts { corrections: "Easter", ..good }, "corrections"),
        ] {
            assert_eq!(Calendar::new(texts).unwrap_err().0, setting);
        }
    }

    fn calendars() -> impl Strategy<Value = Calendar> {
        let zone = prop::sample::select(vec![
            "UTC",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "America/Havana",
            "Asia/Tokyo",
            "America/St_Johns",
        ]);
        let session = prop::sample::select(vec![
            "24x7",
            "0930-1600",
            "1700-1700",
            "0900-1130,1230-1500",
            "0000-0000:1234567",
            "1800-0200,0300-1700:23456",
            "0100-0300:1",
        ]);
        let texts = |(timezone, session)| Texts {
            timezone,
            session,
            holidays: "20180101,20181105",
            corrections: "1000-1400:20181104,20181114",
        };
        (zone, session).prop_map(move |pair| Calendar::new(texts(pair)).unwrap())
    }

    fn resolutions() -> impl Strategy<Value = Resolution> {
        prop::sample::select(vec!["1S", "1", "7", "60", "240", "1440", "1D", "3D", "1W", "1M", "12M"])
            .prop_map(|text| text.parse().unwrap())
    }

    /// Around the clock changes of 2018, and anywhere from 1940 to 2060.
    fn times() -> impl Strategy<Value = i64> {
        prop_oneof![
            1_520_700_000_000i64..1_520_900_000_000,
            1_541_200_000_000i64..1_541_500_000_000,
            -946_771_200_000i64..2_840_140_800_000,
        ]
    }

    proptest! {
        #[test]
        fn a_bar_holds_its_instants_and_no_others(calendar in calendars(), resolution in resolutions(), ts in times(), at in 0.0f64..1.0) {
            let Some(bucket) = calendar.bucket(resolution, ts) else {
                prop_assert_eq!(calendar.session(ts), None);
                return Ok(());
            };
            prop_assert!(bucket.start <= ts && ts < bucket.end, "{bucket:?}");
            if resolution.period().is_some() { prop_assert_eq!(bucket.time, bucket.start) } else { prop_assert_eq!(bucket.time.rem_euclid(DAY_MS), 0) }
            let other = bucket.start + ((bucket.end - bucket.start) as f64 * at) as i64;
            if calendar.session(other).is_some() {
                prop_assert_eq!(calendar.bucket(resolution, other), Some(bucket));
            }
        }

        #[test]
        fn bars_follow_one_another(calendar in calendars(), resolution in resolutions(), ts in times()) {
            if let Some(bucket) = calendar.bucket(resolution, ts) {
                let next = calendar.following(resolution, bucket).unwrap();
                prop_assert!(next.time > bucket.time && next.start >= bucket.end, "{bucket:?} {next:?}");
                for between in [bucket.end, (bucket.end + next.start) / 2, next.start - 1] {
                    prop_assert!(between < bucket.end || between >= next.start || calendar.session(between).is_none());
                }
            }
        }

        /// Each resolution is a roll-up of the one before it, whatever the clocks do.
        #[test]
        fn finer_bars_lie_within_coarser_ones(calendar in calendars(), ts in times()) {
            let day = if calendar.sessions.always() && calendar.zone != TimeZone::UTC { "240" } else { "D" };
            let ladder = ["1S", "1", "5", "15", "60", day];
            let buckets: Vec<_> = ladder.iter().filter_map(|text| calendar.bucket(text.parse().unwrap(), ts)).collect();
            for pair in buckets.windows(2) {
                prop_assert!(pair[1].start <= pair[0].start && pair[0].end <= pair[1].end, "{pair:?}");
            }
            let periods: Vec<_> = ["D", "W"].iter().filter_map(|text| calendar.bucket(text.parse().unwrap(), ts)).collect();
            for pair in periods.windows(2) {
                prop_assert!(pair[1].time <= pair[0].time && pair[0].end <= pair[1].end, "{pair:?}");
            }
        }
    }
}
