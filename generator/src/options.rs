//! What the command line says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Symbols at once: a market of a usual size, and a round of them stays one small write.
const MAX_SYMBOLS: usize = 10_000;

pub const HELP: &str = "\
broadcastd-generator publishes made-up trades, one of each symbol a round

  --to PATH|http://HOST:PORT  the ingest socket (default: /run/broadcastd/ingest.sock), or a listener
  --stream NAME               the declared stream (default: ticks)
  --symbols A,B,C             (default: AAPL,GOOGL,MSFT)
  --every MS                  milliseconds between rounds (default: 100)
  --rounds N                  how many (default: without end)
  --seed N                    the same seed makes the same market (default: another one each time)

A client listener wants a token that may publish: it is taken from the variable BROADCASTD_TOKEN.
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub to: To,
    pub token: Option<String>,
    pub stream: String,
    pub symbols: Vec<String>,
    pub every: Duration,
    pub rounds: Option<u64>,
    pub seed: u64,
}

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    Socket(PathBuf),
    Http(String),
}

impl Options {
    /// `None`: help is wanted.
    pub fn read(words: impl Iterator<Item = String>, token: Option<String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            to: To::Socket("/run/broadcastd/ingest.sock".into()),
            token,
            stream: "ticks".to_owned(),
            symbols: ["AAPL", "GOOGL", "MSFT"].map(str::to_owned).to_vec(),
            every: Duration::from_millis(100),
            rounds: None,
            seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
        };
        let mut words = words;
        while let Some(name) = words.next() {
            if name == "--help" {
                return Ok(None);
            }
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a whole number, not {value:?}"));
            match name.as_str() {
                "--to" => options.to = To::read(&value)?,
                "--stream" => options.stream = plain(&value)?,
                "--symbols" => options.symbols = symbols(&value)?,
                "--every" => options.every = Duration::from_millis(number()?),
                "--rounds" => options.rounds = Some(number()?),
                "--seed" => options.seed = number()?,
                _ => return Err(format!("there is no option {name:?}")),
            }
        }
        Ok(Some(options))
    }
}

impl To {
    fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) {
            Some(address) if !address.is_empty() && !address.contains('/') => Ok(Self::Http(address.to_owned())),
            None if text.contains('/') => Ok(Self::Socket(text.into())),
            _ => Err(format!("--to needs a path of a socket, or http://HOST:PORT, not {text:?}")),
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "{}", path.display()),
            Self::Http(address) => write!(out, "http://{address}"),
        }
    }
}

fn symbols(text: &str) -> Result<Vec<String>, String> {
    let symbols: Vec<String> = text.split(',').map(plain).collect::<Result<_, _>>()?;
    if symbols.len() > MAX_SYMBOLS {
        return Err(format!("there are at most {MAX_SYMBOLS} symbols"));
    }
    Ok(symbols)
}

/// A word that may stand in JSON and in a path as it is.
fn plain(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    is_plain
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no name: letters, digits and . _ - : make one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Option<Options>, String> {
        Options::read(words.split_whitespace().map(str::to_owned), None)
    }

    #[test]
    fn each_option_is_taken() {
        let all = "--to http://127.0.0.1:9180/ --stream t --symbols A,B:C --every 5 --rounds 3 --seed 7";
        let expected = Options {
            to: To::Http("127.0.0.1:9180".into()),
            token: None,
            stream: "t".into(),
            symbols: vec!["A".into(), "B:C".into()],
            every: Duration::from_millis(5),
            rounds: Some(3),
            seed: 7,
        };
        assert_eq!(read(all), Ok(Some(expected)));
        assert_eq!(read("--to ./a.sock").unwrap().unwrap().to, To::Socket("./a.sock".into()));
        assert_eq!(read("--help"), Ok(None));
    }

    #[test]
    fn mistakes_are_told() {
        let rows = [
            ("--evry 5", "there is no option \"--evry\""),
            ("--every", "--every needs a value"),
            ("--every soon", "--every needs a whole number, not \"soon\""),
            ("--to somewhere", "--to needs a path of a socket, or http://HOST:PORT, not \"somewhere\""),
            ("--to http://a/b", "--to needs a path of a socket, or http://HOST:PORT, not \"http://a/b\""),
            ("--symbols A,\"", "\"\\\"\" is no name: letters, digits and . _ - : make one"),
        ];
        for (words, expected) in rows {
            assert_eq!(read(words).unwrap_err(), expected);
        }
        let many = |count: usize| read(&format!("--symbols {}", vec!["A"; count].join(",")));
        assert!(many(MAX_SYMBOLS).is_ok() && many(MAX_SYMBOLS + 1).is_err());
    }
}
