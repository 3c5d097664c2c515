//! Until when the certificate holds.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Finding;
use crate::config::schema::Config;

/// So long before its end a certificate should have been renewed: those of a quarter live on for a month then.
const WARN_DAYS: i64 = 14;
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// DER's words for what a certificate is made of.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What there is to say, where connections are encrypted.
pub fn expiry(config: &Config, now: i64) -> Option<Finding> {
    let tls = config.server.tls.as_ref()?;
    let path = &tls.cert;
    let unusable = |why: &str| Finding::fault("certificate", format!("{}: {why}; give a file in PEM", path.display()));
    let der = match CertificateDer::from_pem_file(path) {
        Ok(der) => der,
        Err(error) => return Some(unusable(&error.to_string())),
    };
    Some(match not_after(&der) {
        Some(end) => judge(&path.display().to_string(), end, now),
        None => unusable("it is no certificate that can be read"),
    })
}

fn judge(path: &str, end: i64, now: i64) -> Finding {
    let days = (end - now).div_euclid(DAY_NS);
    let advice = "renew it: the daemon takes up the new file by itself";
    match days {
        ..0 => Finding::fault("certificate", format!("{path} has expired {} days ago; {advice}", -days)),
        0..WARN_DAYS => Finding::warning("certificate", format!("{path} expires in {days} days; {advice}")),
        _ => Finding::ok("certificate", format!("{path} holds for {days} days")),
    }
}

/// When a certificate ends, in nanoseconds since 1970.
fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = part(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = part(certificate)?;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = part(rest)?;
    }
    for _serial_algorithm_issuer in 0..3 {
        (_, _, rest) = part(rest)?;
    }
    let (_, validity, _) = part(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, end) = part(validity)?;
    let (tag, text, _) = part(end)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The first value of DER: its tag, what is in it, and what follows.
fn part(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(all, _)| all.len() <= 4)?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// `YYMMDDhhmmssZ`, or with four digits of the year.
fn time(tag: u8, text: &str) -> Option<i64> {
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let days = days(year, two(0)?, two(2)?);
    let seconds = days * 86_400 + two(4)? * 3600 + two(6)? * 60 + two(8)?;
    seconds.checked_mul(1_000_000_000).or(Some(i64::MAX))
}

/// Days since 1970 of a date, counted in years that begin with March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        for (year, month, day, expected) in
            [(2031, 3, 1, 1_930_089_600), (1999, 12, 31, 946_598_400), (2050, 2, 28, 2_529_619_200)]
        {
            params.not_after = rcgen::date_time_ymd(year, month, day);
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()), Some(expected * 1_000_000_000), "{year}-{month}-{day}");
        }
        params.not_after = rcgen::date_time_ymd(4096, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(not_after(certificate.der()), Some(i64::MAX));
        let whole = certificate.der();
        (0..120).for_each(|length| assert_eq!(not_after(&whole[..length]), None, "cut at {length}"));
    }

    #[test]
    fn it_is_told_in_time() {
        let judge = |days: i64| judge("cert.pem", days * DAY_NS, 0).verdict;
        assert_eq!([-1, 0, 13, 14].map(judge), [Verdict::Fault, Verdict::Warning, Verdict::Warning, Verdict::Ok]);
    }
}
