//! Recorded trades from a CSV file, read in bounded steps and paced as they happened or faster.

use std::io::{self, BufRead, Read};

use crate::bar::Trade;
use crate::settings::Speed;

/// The longest line read; a trade takes some forty bytes, and a file without line ends must not fill the memory.
pub const MAX_LINE: usize = 1_024;

/// Trades of a file, in its order.
#[derive(Debug)]
pub struct Replay<R> {
    input: R,
    speed: Speed,
    /// Lines read so far.
    line: u64,
    /// The trade that was read but is not yet due.
    next: Option<Trade>,
    /// The time of the first trade, and the wall clock's when it was played.
    start: Option<(i64, i64)>,
    has_ended: bool,
}

/// What one step has read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    pub trades: Vec<Trade>,
    /// Lines that are no trades; they are skipped.
    pub bad: Vec<BadLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    pub why: &'static str,
}

impl<R: BufRead> Replay<R> {
    /// Starts after `line` lines, 0 for the whole file; see [`Replay::line`].
    pub fn new(mut input: R, speed: Speed, line: u64) -> io::Result<Self> {
        for _ in 0..line {
            input.skip_until(b'\n')?;
        }
        Ok(Self { input, speed, line, next: None, start: None, has_ended: false })
    }

    /// The trades that are due at the wall clock's `now`; reads at most `most` lines.
    pub fn step(&mut self, now: i64, most: usize) -> io::Result<Step> {
        let mut step = Step::default();
        for _ in 0..most {
            if self.next.is_none() {
                self.next = self.read(&mut step.bad)?;
            }
            if self.has_ended || self.due().is_some_and(|due| due > now) {
                break;
            }
            if let Some(trade) = self.next.take() {
                self.start.get_or_insert((trade.ts, now));
                step.trades.push(trade);
            }
        }
        Ok(step)
    }

    /// When [`Replay::step`] has more, as the wall clock shows it; a time in the past means now. `None` at the end.
    pub fn next_deadline(&self) -> Option<i64> {
        if self.has_ended { None } else { Some(self.due().unwrap_or(i64::MIN)) }
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How many lines are done with, from where a restarted broadcaster goes on.
    pub fn line(&self) -> u64 {
        self.line - u64::from(self.next.is_some())
    }

    fn due(&self) -> Option<i64> {
        let (trade, (first, started)) = (self.next?, self.start?);
        match self.speed {
            Speed::Named(_) => None,
            Speed::Factor(factor) => {
                let after = trade.ts.saturating_sub(first) as f64 / factor;
                Some(started.saturating_add(after as i64))
            }
        }
    }

    /// The trade of the next line, unless it holds none.
    fn read(&mut self, bad: &mut Vec<BadLine>) -> io::Result<Option<Trade>> {
        let mut line = Vec::new();
        self.input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            self.has_ended = true;
            return Ok(None);
        }
        self.line += 1;
        let parsed = if line.len() > MAX_LINE && !line.ends_with(b"\n") {
            self.input.skip_until(b'\n')?;
            Err("it is longer than 1024 bytes")
        } else {
            parse(&line)
        };
        match parsed {
            Ok(trade) => Ok(trade),
            Err(_) if self.line == 1 && !starts_with_number(&line) => Ok(None),
            Err(why) => {
                bad.push(BadLine { line: self.line, why });
                Ok(None)
            }
        }
    }
}

/// An empty line is no trade and no fault.
fn parse(line: &[u8]) -> Result<Option<Trade>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let mut fields = text.split(',').map(str::trim);
    let (Some(ts), Some(price), Some(size), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
        return Err("it does not have the three fields timestamp_ms,price,size");
    };
    let ts = ts.trim_start_matches('\u{feff}').parse().map_err(|_| "its time is not an integer of milliseconds")?;
    let price = price.parse().map_err(|_| "its price is not a number")?;
    // A sale is written as a negative size; a bar counts what changed hands.
    let size = size.parse::<f64>().map_err(|_| "its size is not a number")?.abs();
    Ok(Some(Trade { ts, price, size }))
}

fn starts_with_number(line: &[u8]) -> bool {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii_start();
    line.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NamedSpeed;

    const MAX: Speed = Speed::Named(NamedSpeed::Max);

    fn replay(text: &str, speed: Speed) -> Replay<&[u8]> {
        Replay::new(text.as_bytes(), speed, 0).unwrap()
    }

    fn times(step: &Step) -> Vec<i64> {
        step.trades.iter().map(|trade| trade.ts).collect()
    }

    #[test]
    fn a_file_with_all_its_oddities() {
        let long = "9".repeat(MAX_LINE + 1);
        let exact = format!("4,1,{}1", "0".repeat(MAX_LINE - 6));
        let text = format!(
            "\u{feff}time,price,size\r\n1,2.5,-3\r\n\n2,x,1\n3,1\n{long}\n{exact}\n 5 , 1 , 0 \n6,1,1,1\nx,1,1\n7,1,1"
        );
        let mut replay = replay(&text, MAX);
        let step = replay.step(0, 100).unwrap();
        assert_eq!(times(&step), [1, 4, 5, 7]);
        assert_eq!(step.trades[0], Trade { ts: 1, price: 2.5, size: 3.0 });
        let lines: Vec<u64> = step.bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [4, 5, 6, 9, 10]);
        assert!(step.bad[2].why.contains("longer than 1024"));
        assert!(replay.has_ended() && replay.next_deadline().is_none());
    }

    #[test]
    fn a_first_line_of_numbers_is_no_header() {
        let step = replay("1,2\n2,1,1\n", MAX).step(0, 9).unwrap();
        assert_eq!((times(&step), step.bad.len()), (vec![2], 1));
        assert_eq!(times(&replay("\u{feff}1,1,1\n", MAX).step(0, 9).unwrap()), [1]);
    }

    #[test]
    fn a_step_reads_a_bounded_number_of_lines() {
        let text = "x\n".repeat(100);
        let mut replay = replay(&text, MAX);
        assert_eq!(replay.step(0, 10).unwrap().bad.len(), 9, "the first is taken for a header");
        assert_eq!(replay.line(), 10);
        assert_eq!(replay.next_deadline(), Some(i64::MIN));
    }

    #[test]
    fn a_factor_paces_trades_as_they_happened() {
        let mut replay = replay("1000,1,1\n3000,1,1\n2900,1,1\n5000,1,1\n", Speed::Factor(2.0));
        assert_eq!(times(&replay.step(70_000, 9).unwrap()), [1000]);
        assert_eq!(replay.next_deadline(), Some(71_000));
        assert_eq!(replay.line(), 1, "the second is read, but not played");
        assert_eq!(times(&replay.step(70_999, 9).unwrap()), [0i64; 0]);
        assert_eq!(times(&replay.step(71_400, 9).unwrap()), [3000, 2900]);
        assert_eq!(replay.next_deadline(), Some(72_000), "a late step does not slow what follows");
        assert_eq!(times(&replay.step(80_000, 9).unwrap()), [5000]);
        assert!(replay.has_ended());
    }

    #[test]
    fn a_restart_goes_on_at_the_saved_line() {
        let text = "t,p,s\n1,1,1\n2,1,1\nbad\n3,1,1\n";
        for lines in 0..=6 {
            let mut first = replay(text, MAX);
            let mut all = times(&first.step(0, lines).unwrap());
            let mut second = Replay::new(text.as_bytes(), MAX, first.line()).unwrap();
            all.extend(times(&second.step(0, 99).unwrap()));
            assert_eq!(all, [1, 2, 3], "after {lines} lines");
        }
    }
}
