//! The way into the daemon: a connection to its ingest socket, or one to a listener of its.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::options::{Options, To};

/// A daemon that has not answered after this is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines that are sent before their answers are read: fewer than fill what the kernel holds in either direction.
const LINES_AT_ONCE: usize = 256;
/// The longest line of an answer's head, and of an answer: what is longer comes from no daemon.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

pub enum Door {
    Socket(BufReader<UnixStream>),
    Http { socket: BufReader<TcpStream>, head: String },
}

impl Door {
    pub fn open(options: &Options) -> io::Result<Self> {
        match &options.to {
            To::Socket(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Socket(BufReader::new(socket)))
            }
            To::Http(address) => {
                let socket = TcpStream::connect(address)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.set_nodelay(true)?;
                let token = options.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
                let head = format!(
                    "POST /v1/streams/{}/publish HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n{}",
                    options.stream,
                    token.unwrap_or_default()
                );
                Ok(Self::Http { socket: BufReader::new(socket), head })
            }
        }
    }

    /// Publishes events and says how many of them were refused.
    pub fn publish(&mut self, lines: &[String]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => {
                let mut refused = 0;
                for some in lines.chunks(LINES_AT_ONCE) {
                    socket.get_mut().write_all(some.concat().as_bytes())?;
                    for _ in some {
                        refused += usize::from(!read_line(socket)?.starts_with("{\"accepted\":true"));
                    }
                }
                Ok(refused)
            }
            Self::Http { socket, head } => {
                let body = lines.concat();
                let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                socket.get_mut().write_all(request.as_bytes())?;
                let accepted = read_answer(socket)?;
                Ok(lines.len() - accepted.min(lines.len()))
            }
        }
    }
}

/// Reads one answer over HTTP: how many events were accepted.
fn read_answer(socket: &mut impl BufRead) -> io::Result<usize> {
    let status = read_line(socket)?;
    let mut length = 0;
    loop {
        let line = read_line(socket)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| foreign(&line))?;
        }
    }
    if length > MAX_ANSWER_BYTES {
        return Err(foreign(&status));
    }
    let mut body = String::new();
    socket.take(length).read_to_string(&mut body)?;
    let accepted = body.strip_prefix("{\"accepted\":").and_then(|rest| rest.split(',').next()?.parse().ok());
    // Anything else is a refusal of the whole, and says why.
    accepted.ok_or_else(|| io::Error::other(format!("{} {body}", status.trim())))
}

fn read_line(socket: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match socket.take(MAX_ANSWER_BYTES).read_line(&mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ if !line.ends_with('\n') => Err(foreign(&line)),
        _ => Ok(line),
    }
}

fn foreign(said: &str) -> io::Error {
    let start: String = said.chars().take(60).collect();
    io::Error::new(ErrorKind::InvalidData, format!("this is no broadcastd: it says {start:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<usize, String> {
        read_answer(&mut text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_says_how_many_were_accepted() {
        let answer = |body: &str| answer(&format!("HTTP/1.1 207 x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(answer("{\"accepted\":3,\"rejected\":[]}"), Ok(3));
        let refused = answer("{\"error\":{}}").unwrap_err();
        assert_eq!(refused, "HTTP/1.1 207 x {\"error\":{}}");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(answer("").is_err() && answer("HTTP/1.1 200 OK\r\n").is_err());
        assert!(
            answer("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").unwrap_err().starts_with("this is no broadcastd")
        );
        assert!(answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").is_err());
        let endless = "x".repeat(usize::try_from(MAX_ANSWER_BYTES).unwrap());
        assert!(read_line(&mut endless.as_bytes()).unwrap_err().to_string().starts_with("this is no broadcastd"));
    }
}
