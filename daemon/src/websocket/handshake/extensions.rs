//! What a client gets of the extensions that it offers (RFC 6455 §9.1): permessage-deflate (RFC 7692) without context
//! takeover, or none.

use hyper::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

const NAME: &str = "permessage-deflate";

/// The answer: each message is compressed by itself, in both directions.
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to an offer that bounds our window, which must repeat the bound (RFC 7692 §7.1.2.1).
const AGREED_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// What a window may be said to have, in exactly these spellings (RFC 7692 §7.1.2).
const WINDOW_BITS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];

/// The answer to the first offer that can be accepted. A list that is not well-formed agrees on nothing.
pub fn agree(headers: &HeaderMap) -> Option<&'static str> {
    let mut answer = None;
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let mut list = Scanner { rest: value.to_str().ok()? };
        while !list.is_at_end() {
            let offer = list.extension()?;
            answer = answer.or_else(|| offer.answer());
        }
    }
    answer
}

/// One member of the list.
struct Offer<'h> {
    name: &'h str,
    parameters: Vec<(&'h str, Option<String>)>,
}

impl Offer<'_> {
    /// `None` declines: what is unknown, said twice or of no sense must be declined (RFC 7692 §7.1), and so is a smaller
    /// window for our side, because an event is compressed once for all its readers.
    fn answer(&self) -> Option<&'static str> {
        if self.name != NAME {
            return None;
        }
        let mut answer = AGREED;
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            match (*name, value.as_deref()) {
                ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) if WINDOW_BITS.contains(&bits) => {}
                ("server_max_window_bits", Some("15")) => answer = AGREED_WITH_WINDOW,
                _ => return None,
            }
            if self.parameters[..index].iter().any(|(earlier, _)| earlier == name) {
                return None;
            }
        }
        Some(answer)
    }
}

/// Takes the parts of a list off its front; `None` where the grammar is left.
struct Scanner<'h> {
    rest: &'h str,
}

impl<'h> Scanner<'h> {
    /// Skips empty members on the way, which mean nothing.
    fn is_at_end(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
        self.rest.is_empty()
    }

    fn extension(&mut self) -> Option<Offer<'h>> {
        let mut offer = Offer { name: self.token()?, parameters: Vec::new() };
        while self.takes(';') {
            let name = self.token()?;
            let value = if self.takes('=') { Some(self.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        (self.takes(',') || self.rest.is_empty()).then_some(offer)
    }

    fn token(&mut self) -> Option<&'h str> {
        let text = self.rest.trim_start_matches([' ', '\t']);
        let (token, rest) = text.split_at(text.find(|c| !is_of_token(c)).unwrap_or(text.len()));
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, bare or in quotes.
    fn value(&mut self) -> Option<String> {
        if !self.takes('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                character => value.push(character),
            }
        }
        self.rest = characters.as_str();
        (!value.is_empty() && value.chars().all(is_of_token)).then_some(value)
    }

    fn takes(&mut self, separator: char) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let after = self.rest.strip_prefix(separator);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }
}

/// RFC 9110 §5.6.2.
fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn answer(values: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        agree(&headers)
    }

    #[test]
    fn what_can_be_honoured_is_agreed_on() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=\"1\\5\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits = 12",
            "\t permessage-deflate ;client_max_window_bits ,",
        ] {
            assert_eq!(answer(&[offer]), Some(AGREED), "{offer}");
        }
        for offer in
            ["permessage-deflate; server_max_window_bits=15", "permessage-deflate;server_max_window_bits=\"15\""]
        {
            assert_eq!(answer(&[offer]), Some(AGREED_WITH_WINDOW), "{offer}");
        }
    }

    #[test]
    fn what_is_unknown_said_twice_or_senseless_is_declined() {
        for parameters in [
            "x",
            "x=1",
            "client_max_window_bits; x",
            "Client_max_window_bits",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=15",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=+9",
            "client_max_window_bits=9x",
            "server_max_window_bits",
            "server_max_window_bits=015",
            "server_max_window_bits=16",
            "server_max_window_bits=15; server_max_window_bits=15",
        ] {
            assert_eq!(answer(&[&format!("permessage-deflate; {parameters}")]), None, "{parameters}");
        }
        for bits in 8..15 {
            assert_eq!(answer(&[&format!("permessage-deflate; server_max_window_bits={bits}")]), None, "{bits}");
        }
        for name in ["", "x-webkit-deflate-frame", "permessage-deflate2", "Permessage-Deflate", "permessage-bzip2"] {
            assert_eq!(answer(&[name]), None, "{name}");
        }
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn the_first_acceptable_offer_is_answered() {
        let small = "permessage-deflate; server_max_window_bits=10";
        let whole = "permessage-deflate; server_max_window_bits=15";
        assert_eq!(answer(&[&format!("{small}, permessage-deflate")]), Some(AGREED));
        assert_eq!(answer(&[&format!("foo; a=\"b\", {small}, {whole}, permessage-deflate")]), Some(AGREED_WITH_WINDOW));
        assert_eq!(answer(&[small, "", "permessage-deflate"]), Some(AGREED), "several headers are one list");
        assert_eq!(answer(&[&format!("{small}, {small}")]), None);
    }

    #[test]
    fn a_list_that_is_not_well_formed_agrees_on_nothing() {
        for list in [
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"15",
            "permessage-deflate; client_max_window_bits=\"15\\",
            "permessage-deflate; client_max_window_bits=\"15 \"",
            "permessage-deflate; client_max_window_bits=\"15\"x",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate, foo bar",
            "permessage-deflate, ;",
            "permessage-deflate, a=b",
            "permessage-deflate, a; b=\"c, d\"",
            "permessage-deflate, é",
        ] {
            assert_eq!(answer(&[list]), None, "{list}");
        }
        assert_eq!(answer(&["permessage-deflate", ";"]), None);
    }

    proptest! {
        #[test]
        fn quotes_and_spaces_change_nothing(bits in 0u8..20, quotes in any::<bool>(), spaces in "[ \t]{0,3}") {
            let value = if quotes { format!("\"{bits}\"") } else { bits.to_string() };
            let offer = format!("permessage-deflate{spaces};{spaces}client_max_window_bits{spaces}={spaces}{value}{spaces}");
            prop_assert_eq!(answer(&[&offer]).is_some(), (8..=15).contains(&bits));
        }
    }
}
