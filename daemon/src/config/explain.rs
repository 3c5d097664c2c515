//! More about each error of the configuration than a line can say, from the page that is in the documentation.

use serde::Serialize;

use super::code;

/// The page: a section for each code.
const PAGE: &str = include_str!("../../../docs/errors.md");

/// The section of a code, in whichever case it is written.
fn section(code: &str) -> Option<&'static str> {
    let heading = format!("\n## {}\n", code.to_ascii_uppercase());
    let start = PAGE.find(&heading)? + 1;
    let rest = &PAGE[start..];
    let end = rest[1..].find("\n## ").map_or(rest.len(), |end| end + 1);
    Some(rest[..end].trim_end())
}

/// An error and all that there is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    pub code: &'static str,
    pub meaning: &'static str,
    /// Its section of the page, as Markdown.
    pub text: &'static str,
}

/// The error with this code, or all; none where no error has it.
pub fn sections(code: Option<&str>) -> Vec<Section> {
    let is_wanted = |known: &str| code.is_none_or(|code| code.eq_ignore_ascii_case(known));
    let wanted = code::ALL.iter().filter(|(code, _)| is_wanted(code));
    wanted.map(|&(code, meaning)| Section { code, meaning, text: section(code).unwrap_or(meaning) }).collect()
}

/// All codes, each with what it means.
pub fn list() -> String {
    code::ALL.iter().map(|(code, meaning)| format!("{code}  {meaning}\n")).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section_that_begins_with_its_meaning() {
        let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, code::ALL.iter().map(|(code, _)| *code).collect::<Vec<_>>());
        for (code, meaning) in code::ALL {
            assert!(section(&code.to_lowercase()).unwrap().starts_with(&format!("## {code}\n\n{meaning}\n")), "{code}");
        }
        assert_eq!(section("C999"), None);
        assert_eq!(section(""), None);
    }
}
