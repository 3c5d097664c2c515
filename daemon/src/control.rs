//! The way from a command to the running daemon: its control socket, and HTTP on it.

mod events;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

pub use self::events::{Block, Events};

use crate::folders::{Env, Folders};

/// A daemon that can be asked.
pub struct Control {
    path: PathBuf,
    runtime: Runtime,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// What it says: the parsed body, or its text where that is not JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

/// What is sent along.
pub enum Body {
    Json(Vec<u8>),
    /// A JSON text on each line.
    Lines(Vec<u8>),
}

/// Why there is no answer; the text says what to do.
#[derive(Debug)]
pub enum Error {
    /// No daemon listens at any of these.
    Nobody(Vec<PathBuf>),
    /// The socket is there, and this user may not use it.
    Denied(PathBuf),
    /// It was there, and is gone or does not speak as it should.
    Lost(PathBuf, String),
    /// It does not show what it was asked for.
    Refused(Answer),
}

impl Control {
    /// The daemon at this socket, else the first one that listens where daemons do.
    pub fn find(socket: Option<&Path>, env: &Env) -> Result<Self, Error> {
        let places = socket.map_or_else(|| Folders::controls(env), |only| vec![only.to_owned()]);
        let mut denied = None;
        for path in &places {
            match Self::open(path) {
                Ok(control) => return Ok(control),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => denied = denied.or(Some(path.clone())),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(error) => return Err(Error::Lost(path.clone(), error.to_string())),
            }
        }
        Err(denied.map_or(Error::Nobody(places), Error::Denied))
    }

    /// Asks, and waits for the whole answer.
    pub fn ask(&mut self, method: Method, path: &str, body: impl Into<Body>) -> Result<Answer, Error> {
        let (form, body) = match body.into() {
            Body::Json(text) => ("application/json", text),
            Body::Lines(text) => ("application/x-ndjson", text),
        };
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, form);
        let response = self.send(request, body)?;
        Ok(Answer { status: response.status(), body: self.whole(response)? })
    }

    /// Asks for server-sent events, from behind the place of the last one that was heard.
    pub fn listen(mut self, path: &str, last: Option<&str>) -> Result<Events, Error> {
        let request = Request::get(path).header("last-event-id", last.unwrap_or_default());
        let response = self.send(request, Vec::new())?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Events::new(self.runtime, response.into_body()));
        }
        let body = self.whole(response)?;
        Err(Error::Refused(Answer { status, body }))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let socket = UnixStream::connect(path).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
            tokio::spawn(connection); // an error of it is one of the request, too
            io::Result::Ok(sender)
        })?;
        Ok(Self { path: path.to_owned(), runtime, sender })
    }

    fn send(&mut self, request: request::Builder, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        let request = request.header(header::HOST, "localhost").body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| self.lost(&error))?;
        let sender = &mut self.sender;
        let sent = self.runtime.block_on(async {
            sender.ready().await?;
            sender.send_request(request).await
        });
        sent.map_err(|error| self.lost(&error))
    }

    fn whole(&self, response: Response<Incoming>) -> Result<Value, Error> {
        let whole = self.runtime.block_on(response.into_body().collect());
        let whole = whole.map_err(|error| self.lost(&error))?.to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&whole).into_owned());
        Ok(serde_json::from_slice(&whole).unwrap_or_else(|_| text()))
    }

    fn lost(&self, error: &dyn fmt::Display) -> Error {
        Error::Lost(self.path.clone(), error.to_string())
    }
}

impl From<Vec<u8>> for Body {
    fn from(json: Vec<u8>) -> Self {
        Self::Json(json)
    }
}

/// One part of a path or a query, percent-encoded, so that it stands for itself there.
pub fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Answer {
    /// What it says against it, where it refuses.
    pub fn refusal(&self) -> String {
        match self.body["error"]["message"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("the daemon answered {}", self.status),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(places) => {
                let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
                write!(
                    out,
                    "no daemon listens at {}; start one: systemctl start broadcastd, or broadcastd run; or name its socket: --socket PATH (its log says which)",
                    places.join(" or ")
                )
            }
            Self::Denied(path) => write!(
                out,
                "{} does not let you in; ask as root (sudo), as the daemon's user, or be of the group that the file has (ls -l shows it, usermod -aG GROUP USER)",
                path.display()
            ),
            Self::Refused(answer) => out.write_str(&answer.refusal()),
            Self::Lost(path, error) => write!(out, "the daemon at {} gave no answer: {error}", path.display()),
        }
    }
}
