//! One request and the head of its answer, over a connection of its own.
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use line::{Line, Trust};

use crate::address::Address;
use crate::answer::Answer;

/// The largest head of an answer; interim ones before it count.
const MAX_HEAD: usize = 32 * 1024;

/// Headers of an answer; a head with more is no answer.
const MAX_HEADERS: usize = 100;

/// What is read behind the head at most, so that the receiver can end in peace. Nobody needs what it says.
const MAX_REST: u64 = 16 * 1024;

/// How long that may take.
const REST_TIME: Duration = Duration::from_millis(200);

/// Posts a body. Everything ends at the deadline.
pub fn post(
    address: &Address,
    trust: Option<&Trust>,
    headers: &str,
    body: &[u8],
    deadline: Instant,
) -> io::Result<Answer> {
    let place = &address.place;
    let mut line = Line::dial(&place.host, place.port, deadline)?;
    if address.is_encrypted() {
        let trust =
            trust.ok_or_else(|| io::Error::other("the system has no trusted certificates; set `ca` to a file"))?;
        line = line.encrypt(trust, &place.host)?;
    }
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        address.target,
        address.authority(),
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    // Whoever refuses a body early may close before all of it is sent, and still has answered.
    let sent = line.write_all(&request).and_then(|()| line.flush());
    let answer = read_answer(&mut line).map_err(|error| sent.err().unwrap_or(error))?;
    line.until(deadline.min(Instant::now() + REST_TIME));
    let _nobody_needs_it = io::copy(&mut line.take(MAX_REST), &mut io::sink());
    Ok(answer)
}

/// The first answer that is final.
fn read_answer(source: &mut impl Read) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Some((answer, length)) = parse(&bytes)? {
            if answer.status >= 200 {
                return Ok(answer);
            }
            bytes.drain(..length);
        }
        if bytes.len() >= MAX_HEAD {
            return Err(no_answer("its answer has too long a head"));
        }
        match source.read(&mut piece)? {
            0 => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without an answer"));
            }
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

/// The answer and the length of its head, once that is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(bytes).map_err(|_| no_answer("what it answers is no HTTP"))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(|value| value.trim().to_owned())
    };
    let answer = Answer {
        status: head.code.unwrap_or_default(),
        location: header("location"),
        retry_after: header("retry-after"),
    };
    Ok(Some((answer, length)))
}

fn no_answer(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Answer> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn the_first_final_answer_counts() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 429 No\r\nretry-AFTER:  7 \r\n\r\nrest";
        let answer = read(text).unwrap();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("7")));
    }

    #[test]
    fn however_it_is_cut_it_is_the_same() {
        struct Drip<'a>(&'a [u8]);
        impl Read for Drip<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut buffer[..1])
            }
        }
        let text = "HTTP/1.0 307 Moved\r\nLocation: /é\r\n\r\n";
        assert_eq!(read_answer(&mut Drip(text.as_bytes())).unwrap(), read(text).unwrap());
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let told = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(told(""), "it closed the connection without an answer");
        assert_eq!(told("HTTP/1.1 200 OK\r\nA: b\r\n"), "it closed the connection without an answer");
        assert_eq!(told("SSH-2.0-x\r\n"), "what it answers is no HTTP");
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(told(&interim.repeat(2_000)), "it closed the connection without an answer");
        let head = |bytes: usize| format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(bytes));
        assert!(read(&head(MAX_HEAD - 4096)).is_ok());
        assert_eq!(told(&head(MAX_HEAD + 4096)), "its answer has too long a head");
        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert!(read(&many(MAX_HEADERS)).is_ok());
        assert_eq!(told(&many(MAX_HEADERS + 1)), "what it answers is no HTTP");
    }
}
