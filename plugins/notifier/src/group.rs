//! The name of a group: what messages have in common that keep their order and are held back together.
use std::hash::{DefaultHasher, Hash, Hasher};

/// Divides the parts; it is in no text that people write.
const BETWEEN: char = '\u{1f}';

/// The longest name: thousands of them are kept, and their parts come from outside.
const MAX_BYTES: usize = 256;

/// Digits of the number that stands for a whole name.
const DIGITS: usize = 16;

/// Joins the parts. Of a name that is too long the beginning stays, and a number that stands for the whole.
pub fn name<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut name = parts.into_iter().collect::<Vec<_>>().join(&BETWEEN.to_string());
    if name.len() > MAX_BYTES {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        name.truncate(name.floor_char_boundary(MAX_BYTES - DIGITS));
        name.push_str(&format!("{:0DIGITS$x}", hasher.finish()));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_tell_groups_apart() {
        assert_ne!(name(["a", "bc"]), name(["ab", "c"]));
        let long = |letter: &str, count: usize| name([&letter.repeat(count)[..], "1"]);
        assert_eq!(long("x", MAX_BYTES - 2).trim_start_matches('x'), "\u{1f}1", "it fits");
        let (one, other) = (name(["é".repeat(999).as_str(), "1"]), name(["é".repeat(999).as_str(), "2"]));
        assert!(one.len() <= MAX_BYTES && one.starts_with("éé") && one != other, "{one}");
        assert_eq!(long("x", MAX_BYTES - 1).len(), MAX_BYTES);
        assert_eq!(long("x", MAX_BYTES), long("x", MAX_BYTES), "it is the same each time");
    }
}
