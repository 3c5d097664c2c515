//! The publisher of the closed loop: events with a number and a stamp, in the form that each server takes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::crowd::Kind;
use crate::wire;

/// Bytes of each payload.
pub const PAYLOAD: usize = 256;
const NUMBER: &[u8] = b"{\"n\":\"";
const NUMBER_DIGITS: usize = 10;
const STAMP: &[u8] = b"\",\"t\":\"";
const STAMP_DIGITS: usize = 20;

pub struct Publisher {
    kind: Kind,
    socket: TcpStream,
    began: Instant,
    waiting: Vec<u8>,
    answers: Vec<u8>,
}

/// What stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub number: u64,
    /// Nanoseconds since the publisher began.
    pub stamp: u64,
}

impl Publisher {
    pub fn connect(kind: Kind, address: SocketAddr) -> Result<Self> {
        let socket = wire::connect(address, Ipv4Addr::LOCALHOST)?;
        socket.set_nonblocking(true)?;
        Ok(Self { kind, socket, began: Instant::now(), waiting: Vec::new(), answers: Vec::new() })
    }

    /// Publishes events with the next numbers, in one request.
    pub fn publish(&mut self, numbers: std::ops::Range<u64>) -> Result<()> {
        let stamp = self.since(Instant::now());
        let mut body = Vec::new();
        for number in numbers {
            let payload = payload(Mark { number, stamp });
            match self.kind {
                Kind::Daemon | Kind::DaemonBare => {
                    body.extend(format!("{{\"type\":\"tick\",\"topic\":\"ticks:A\",\"data\":{payload}}}\n").bytes());
                }
                Kind::Axum => body.extend(format!("{}\n", delivered(number, &payload)).bytes()),
                Kind::Limit => body.extend(wire::text_frame(delivered(number, &payload).as_bytes())),
            }
        }
        let path = match self.kind {
            Kind::Daemon | Kind::DaemonBare => "/v1/streams/ticks/publish",
            Kind::Axum => "/publish",
            Kind::Limit => {
                self.waiting.append(&mut body);
                return self.flush();
            }
        };
        let form = if self.kind == Kind::Axum { "text/plain" } else { "application/x-ndjson" };
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {form}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.waiting.extend(head.bytes());
        self.waiting.append(&mut body);
        self.flush()
    }

    /// Writes what waits and reads the answers that are there; an answer that is no success is an error.
    pub fn attend(&mut self) -> Result<()> {
        self.flush()?;
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => bail!("the server closed the publisher's connection"),
                Ok(read) => self.answers.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the publisher's connection broke"),
            }
        }
        while let Some(length) = whole_answer(&self.answers)? {
            self.answers.drain(..length);
        }
        Ok(())
    }

    pub fn since(&self, then: Instant) -> u64 {
        u64::try_from(then.duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn flush(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            match self.socket.write(&self.waiting) {
                Ok(written) => _ = self.waiting.drain(..written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the publisher's connection broke"),
            }
        }
        Ok(())
    }
}

/// Reads marks out of delivered texts. They stand at the same place in all texts of a server, so it is looked for once.
#[derive(Debug, Default)]
pub struct Reader {
    at: usize,
}

impl Reader {
    pub fn mark(&mut self, text: &[u8]) -> Option<Mark> {
        if !text.get(self.at..)?.starts_with(NUMBER) {
            self.at = text.windows(NUMBER.len()).position(|window| window == NUMBER)?;
        }
        let number = self.at + NUMBER.len();
        let stamp = number + NUMBER_DIGITS + STAMP.len();
        Some(Mark {
            number: digits(text.get(number..number + NUMBER_DIGITS)?)?,
            stamp: digits(text.get(stamp..stamp + STAMP_DIGITS)?)?,
        })
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

fn payload(mark: Mark) -> String {
    let Mark { number, stamp } = mark;
    let begin = format!("{{\"n\":\"{number:0NUMBER_DIGITS$}\",\"t\":\"{stamp:0STAMP_DIGITS$}\",\"x\":\"");
    let fill = "x".repeat(PAYLOAD - begin.len() - 2);
    format!("{begin}{fill}\"}}")
}

/// The text as the daemon delivers it, so that servers without an envelope of their own send as many bytes.
fn delivered(number: u64, payload: &str) -> String {
    let (seq, prev) = (number + 1, number);
    format!(
        "{{\"type\":\"tick\",\"stream\":\"ticks\",\"session_id\":null,\"data\":{payload},\
         \"timestamp\":\"2026-01-01T00:00:00.000Z\",\"seq\":{seq},\"prev\":{prev},\"topic\":\"ticks:A\"}}"
    )
}

/// The bytes of the first answer, when all of it is there and it says that everything was taken.
fn whole_answer(answers: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answers.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answers[..end]).to_ascii_lowercase();
    let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap_or("0"));
    let whole = end + 4 + length.trim().parse::<usize>()?;
    let Some(answer) = answers.get(..whole) else { return Ok(None) };
    let answer = String::from_utf8_lossy(answer);
    ensure!(answer.starts_with("HTTP/1.1 2") && !answer.contains("\"rejected\":[{"), "refused: {answer}");
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_wherever_it_stands() {
        let mark = Mark { number: 1_234_567_890, stamp: 42 };
        let payload = payload(mark);
        assert_eq!(payload.len(), PAYLOAD);
        let mut reader = Reader::default();
        for text in [delivered(mark.number, &payload), payload, "{}".to_owned()] {
            assert_eq!(reader.mark(text.as_bytes()).is_some(), text.len() > 2, "{text}");
        }
    }

    #[test]
    fn only_a_whole_success_is_an_answer() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP";
        assert_eq!(whole_answer(good).unwrap(), Some(good.len() - 4));
        assert_eq!(whole_answer(&good[..good.len() - 5]).unwrap(), None);
        assert!(whole_answer(b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"rejected\":[{}]").is_err());
    }
}
