//! A plain reading of what stands behind the `?` of a request.

/// Names and values in their order, as a form writes them.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |text: &str| String::from_utf8_lossy(&spelled_out(&text.replace('+', " "))).into_owned();
        (text(name), text(value))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

pub fn values<'a>(pairs: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
}

/// What is no two digits behind a percent sign stands for itself.
pub fn spelled_out(text: &str) -> Vec<u8> {
    let (text, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| text[at] == b'%').and_then(|digits| std::str::from_utf8(digits).ok()) {
            Some(digits) => {
                out.push(u8::from_str_radix(digits, 16).expect("they are digits"));
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}
