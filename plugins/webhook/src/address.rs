//! Where the receiver is: a URL, and where a redirect may lead from there.
use line::Place;

const SCHEMES: &[(&str, u16)] = &[("https", 443), ("http", 80)];

/// The longest path with its query; more is refused by most receivers, too.
const MAX_TARGET: usize = 4 * 1024;

/// A parsed `http:` or `https:` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Scheme, host and port.
    pub place: Place,
    /// Path and query, as a request names them.
    pub target: String,
}

impl Address {
    /// Reads a URL; user names and fragments are none of it.
    pub fn parse(url: &str) -> Result<Address, String> {
        let authority_at = url.find("://").map_or(0, |at| at + 3);
        let target_at = url[authority_at..].find(['/', '?']).map_or(url.len(), |at| authority_at + at);
        let (place, target) = url.split_at(target_at);
        let place =
            Place::parse(place, SCHEMES).map_err(|_| "write https://HOST:PORT/PATH, or http: instead".to_owned())?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if target.len() > MAX_TARGET {
            return Err(format!("a path has at most {MAX_TARGET} bytes"));
        }
        if !target.bytes().all(|letter| letter.is_ascii_graphic() && letter != b'#') {
            return Err("a path has no spaces, `#` or letters beyond ASCII; encode them as %XX".to_owned());
        }
        Ok(Address { place, target })
    }

    /// Whether what is said there can be read on the way.
    pub fn is_encrypted(&self) -> bool {
        self.place.scheme == "https"
    }

    /// Where a redirect leads: on the same host and port, or there from plain to encrypted. Whatever a receiver says, its
    /// messages go to nobody else.
    pub fn redirected(&self, location: &str) -> Result<Address, String> {
        let url = match location {
            _ if location.starts_with("//") => format!("{}:{location}", self.place.scheme),
            _ if location.starts_with('/') => {
                return Address::parse(&format!("{}{location}", self.origin()));
            }
            _ => location.to_owned(),
        };
        let there = Address::parse(&url).map_err(|_| "it redirects to something that is no address".to_owned())?;
        let (here, place) = (&self.place, &there.place);
        let is_safer = here.scheme == "http" && place.scheme == "https";
        let is_same = here.scheme == place.scheme && here.port == place.port;
        if place.host.eq_ignore_ascii_case(&here.host) && (is_same || is_safer) {
            return Ok(there);
        }
        Err(format!(
            "it redirects to {}, and no other host gets messages; if that is right, make it `url`",
            there.origin()
        ))
    }

    /// Host and port, as the header `Host` names them.
    pub fn authority(&self) -> String {
        let Place { scheme, host, port } = &self.place;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let is_usual = SCHEMES.iter().any(|usual| *usual == (scheme, *port));
        if is_usual { host } else { format!("{host}:{port}") }
    }

    /// The address without its path, which may hold a secret.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.place.scheme, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, origin, target) in [
            ("https://a.example", "https://a.example", "/"),
            ("https://a.example:443/x?y=1/2", "https://a.example", "/x?y=1/2"),
            ("http://127.0.0.1:9000?q", "http://127.0.0.1:9000", "/?q"),
            ("http://[::1]:9/", "http://[::1]:9", "/"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.origin().as_str(), address.target.as_str()), (origin, target), "{url}");
        }
        for bad in
            ["a.example/x", "ftp://a", "https://u:p@a/", "https:///x", "https://a/ b", "https://a/#b", "https://a/é"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(Address::parse(&format!("http://a/{}", "x".repeat(MAX_TARGET - 1))).is_ok());
        assert!(Address::parse(&format!("http://a/{}", "x".repeat(MAX_TARGET))).is_err());
    }

    #[test]
    fn a_redirect_leads_to_nobody_else() {
        let here = Address::parse("http://a.example:8000/x").unwrap();
        for (location, there) in [
            ("/y", "http://a.example:8000"),
            ("http://A.example:8000/y", "http://A.example:8000"),
            ("//a.example:8000/y", "http://a.example:8000"),
            ("https://a.example/y", "https://a.example"),
        ] {
            let found = here.redirected(location).unwrap();
            assert_eq!((found.origin().as_str(), found.target.as_str()), (there, "/y"), "{location}");
        }
        for location in [
            "http://b.example:8000/",
            "//b.example/",
            "http://a.example:8001/",
            "http://a.example.b.example:8000/",
            "y",
            "",
        ] {
            assert!(here.redirected(location).is_err(), "{location}");
        }
        let encrypted = Address::parse("https://a.example/").unwrap();
        assert!(encrypted.redirected("http://a.example/").is_err(), "not from encrypted to plain");
        let told = here.redirected("https://b.example/s3cret").unwrap_err();
        assert!(told.contains("https://b.example,") && !told.contains("s3cret"), "{told}");
    }
}
