//! Where a service is, as settings say it: `scheme://host:port`.
use std::net::IpAddr;

/// A parsed `scheme://host` or `scheme://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub scheme: String,
    /// A name or an address, that without its brackets.
    pub host: String,
    pub port: u16,
}

impl Place {
    /// `schemes` are those that there are, each with its usual port.
    pub fn parse(text: &str, schemes: &[(&str, u16)]) -> Result<Place, String> {
        let rule = || {
            let known: Vec<String> = schemes.iter().map(|(scheme, _)| format!("{scheme}://HOST:PORT")).collect();
            format!("it must be {}, with nothing before or behind it", known.join(" or "))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(rule)?;
        let (_, usual) = schemes.iter().find(|(known, _)| *known == scheme).ok_or_else(rule)?;
        let (host, port) = split(rest).ok_or_else(rule)?;
        let port = match port {
            "" => *usual,
            port => port.parse().ok().filter(|port| *port != 0).ok_or_else(rule)?,
        };
        Ok(Place { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }

    /// Whether it is on this machine, as far as its name says.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

/// Host and port, the latter empty when none is named.
fn split(rest: &str) -> Option<(&str, &str)> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, behind) = bracketed.split_once(']')?;
            host.parse::<IpAddr>().ok()?;
            (host, if behind.is_empty() { "" } else { behind.strip_prefix(':')? })
        }
        None => rest.split_once(':').unwrap_or((rest, "")),
    };
    let is_host = |letter: char| letter.is_alphanumeric() || ".-_:".contains(letter);
    (!host.is_empty() && host.chars().all(is_host)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::Place;

    const SCHEMES: &[(&str, u16)] = &[("smtp", 587), ("smtps", 465)];

    #[test]
    fn places_are_parsed_with_their_usual_ports() {
        let parse = |text| Place::parse(text, SCHEMES).map(|place| (place.host, place.port));
        assert_eq!(parse("smtp://mail.example"), Ok(("mail.example".into(), 587)));
        assert_eq!(parse("smtps://mail.example"), Ok(("mail.example".into(), 465)));
        assert_eq!(parse("smtp://mail.example:25"), Ok(("mail.example".into(), 25)));
        assert_eq!(parse("smtp://[::1]:25"), Ok(("::1".into(), 25)));
        assert_eq!(parse("smtp://[::1]"), Ok(("::1".into(), 587)));
    }

    #[test]
    fn what_is_no_place_is_told_the_rule() {
        let bad =
            ["mail.example:25", "http://a", "smtp://", "smtp://:25", "smtp://a:0", "smtp://a:65536", "smtp://a/b"];
        for text in
            bad.into_iter().chain(["smtp://user@a", "smtp://[a]:1", "smtp://[::1]x", "smtp://a:1:2", "smtp://a b"])
        {
            let said = Place::parse(text, SCHEMES).unwrap_err();
            let rule = "it must be smtp://HOST:PORT or smtps://HOST:PORT, with nothing before or behind it";
            assert_eq!(said, rule, "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_its_name() {
        let is = |text| Place::parse(text, SCHEMES).unwrap().is_loopback();
        assert!(is("smtp://localhost") && is("smtp://127.1.2.3") && is("smtp://[::1]"));
        assert!(!is("smtp://localhost.example") && !is("smtp://10.0.0.1") && !is("smtp://127"));
    }
}
