//! An HTTP client of a few lines: one request, one connection, the whole answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use broadcastd::describe::openapi::{Answer as Outcome, Content, Method, Route};
use broadcastd::server::routes::table::{STREAMED, TABLE};
use serde_json::Value;

/// Long enough for a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.head.lines().filter_map(|line| line.split_once(": "));
        named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1"), &[], b"")
}

pub fn post(address: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
    ask(address, &format!("POST {path} HTTP/1.1"), &[("Content-Type", content_type)], body)
}

/// `Host` is the address unless the headers say something else.
pub fn ask(address: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    ask_over(connect(address), address, line, headers, body)
}

/// The same over any socket.
pub fn ask_over(
    mut socket: impl Read + Write,
    host: &str,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    socket.write_all(&request(host, line, headers, body)).unwrap();
    let answer = read(&mut socket);
    assert_is_described(line, &answer);
    answer
}

/// Whatever a route answers to anybody here is in its description: the status and, of a refusal, its code.
fn assert_is_described(line: &str, answer: &Answer) {
    let [method, target, ..] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { return };
    let path = target.split('?').next().unwrap_or_default();
    let is_here = |route: &&Route| {
        let (template, parts) = (route.path.split('/'), path.split('/'));
        let fits = |(known, part): (&str, &str)| known == part || known.starts_with('{') && !part.is_empty();
        template.clone().count() == parts.clone().count() && template.zip(parts).all(fits)
    };
    let here: Vec<_> = TABLE.into_iter().chain([&STREAMED]).filter(is_here).collect();
    let error = serde_json::from_str(&answer.body)
        .map_or(Value::Null, |body: Value| body.get("error").cloned().unwrap_or_default());
    let is_elsewhere = error["message"].as_str().is_some_and(|message| message.contains("; valid paths: "));
    if here.is_empty() || method == "OPTIONS" || is_elsewhere {
        return;
    }
    let (asked, others): (Vec<_>, Vec<_>) = here.into_iter().partition(|route| match route.method {
        Method::Get => method == "GET" || method == "HEAD",
        Method::Post => method == "POST",
        Method::Delete => method == "DELETE",
    });
    let (routes, is_wrong_method) = if asked.is_empty() { (others, true) } else { (asked, false) };
    let is_described = routes.iter().flat_map(|route| route.outcomes()).any(|Outcome(status, means, content)| {
        let is_said = match error["code"].as_str() {
            Some(code) => means.contains(&format!("`{code}`")),
            None => !matches!(content, Content::Refusal),
        };
        *status == answer.status && is_said
    });
    assert!(is_described, "{line} answers {}, which is not described: {}", answer.status, answer.body);
    // Who comes no further than to the door is told so; whoever does is told of the method.
    assert!(!is_wrong_method || answer.status >= 400, "{line} answers {}, and there is no such route", answer.status);
    assert!(is_wrong_method || answer.status != 405, "{line} is what the route is for: {}", answer.body);
}

pub fn request(address: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line}\r\nContent-Length: {}\r\n", body.len());
    let is_given = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    for (name, value) in [("Host", address), ("Connection", "close")] {
        if !is_given(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Reads one answer: its body is as long as it says, or goes on to the end.
pub fn read(socket: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(answer) = parse(&bytes) {
            return answer;
        }
        match socket.read(&mut piece) {
            Ok(0) => panic!("the answer ended early: {}", String::from_utf8_lossy(&bytes)),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    let body = bytes[end + 4..].get(..length)?;
    answer.body = String::from_utf8(body.to_vec()).unwrap();
    Some(answer)
}
