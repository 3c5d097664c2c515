//! A plain reading of the tokens in an address.

/// In their order, with `+` for itself; nothing where one is no text, or a percent sign stands before no digits.
pub fn tokens(query: &str) -> Option<Vec<String>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(name, _)| *name == "token").map(|(_, value)| spelled_out(value)).collect()
}

fn spelled_out(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, left) = match first {
            b'%' => {
                let (digits, left) = behind.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
                (u8::from_str_radix(digits, 16).ok()?, left)
            }
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).ok()
}
