//! An HTTP client of a few lines: one request, one connection, the whole answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Long enough for a busy machine; whoever waits this long has found a defect.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    ask(address, &format!("GET {path} HTTP/1.1\r\n"), "")
}

pub fn post_lines(address: SocketAddr, path: &str, body: &str) -> Result<Answer> {
    ask(address, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"), body)
}

fn ask(address: SocketAddr, head: &str, body: &str) -> Result<Answer> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request = format!("{head}Host: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).with_context(|| format!("no whole answer to {head:?}"))?;
    let text = String::from_utf8(bytes)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without end of its head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without status")?;
    ensure!(!head.to_ascii_lowercase().contains("transfer-encoding"), "an answer in pieces: {head}");
    Ok(Answer { status, body: body.to_owned() })
}
