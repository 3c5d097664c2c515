//! An endpoint that sends every message back, for conformance tests: the daemon's own listener, limits, handshake,
//! upgrade and codec, with no hub or dialect behind them. It stands in for a shard, and exists only here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use broadcastd::hub::Hub;
use broadcastd::server::{Config, Parts, Server};
use broadcastd::shard::inbox::{Inbound, Inbox, Newcomer};
use broadcastd::websocket::close;
use broadcastd::websocket::deflate::{self, Compression};
use broadcastd::websocket::frame::{self, Decoder, Input, Opcode, Violation};
use tokio::sync::oneshot;

use crate::house;

/// Autobahn's longest message has 16 MiB.
pub const MAX_MESSAGE: usize = 16 << 20;
const READ_BYTES: usize = 64 << 10;

pub struct Echo {
    server: Server,
    _stop: oneshot::Sender<()>,
}

impl Echo {
    pub fn start() -> Self {
        let (runtime, stop) = house::runtime();
        let (inbox, inbounds) = Inbox::new(0, usize::MAX).unwrap();
        let parts = Parts {
            hub: Hub::new(house::EPOCH),
            shards: vec![inbox],
            verifier: Arc::default(),
            given: Default::default(),
        };
        let server = Server::start(config(), parts, runtime).unwrap();
        thread::spawn(move || {
            for inbound in inbounds {
                let Inbound::Adopt(newcomer) = inbound else { continue };
                thread::spawn(move || serve(*newcomer)); // a client that is gone ends its thread
            }
        });
        Self { server, _stop: stop }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.server.addresses()[0])
    }
}

fn config() -> Config {
    Config { max_connections: 10, ..house::config() }
}

fn serve(newcomer: Newcomer) -> io::Result<()> {
    let mut socket = TcpStream::from(newcomer.socket.fd);
    socket.set_nonblocking(false)?;
    socket.write_all(&newcomer.head)?;
    let compression = newcomer.compression;
    let mut decoder = Decoder::new(MAX_MESSAGE).with(compression);
    let mut bytes = newcomer.read_ahead;
    loop {
        let mut answers = Vec::new();
        let goes_on = echo(&mut decoder, compression, &mut bytes, &mut answers);
        socket.write_all(&answers)?;
        if !goes_on {
            // Closing the socket at once would let what the client still sends destroy the close frame on its way.
            socket.shutdown(Shutdown::Write)?;
            return io::copy(&mut socket, &mut io::sink()).map(drop);
        }
        bytes.resize(READ_BYTES, 0);
        let count = socket.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        bytes.truncate(count);
    }
}

/// Answers what the bytes complete; whether the connection goes on.
fn echo(decoder: &mut Decoder, compression: Compression, bytes: &mut [u8], answers: &mut Vec<u8>) -> bool {
    let mut rest = bytes;
    loop {
        match decoder.next(&mut rest) {
            Ok(None) => return true,
            Ok(Some(Input::Text(text))) => say(Opcode::Text, text.as_bytes(), compression, answers),
            Ok(Some(Input::Binary(payload))) => say(Opcode::Binary, payload, compression, answers),
            Ok(Some(Input::Ping(payload))) => answers.extend(frame::pong(payload)),
            Ok(Some(Input::Pong(_))) => {}
            Ok(Some(Input::Close { code, .. })) => {
                answers.extend(frame::close(code.unwrap_or(close::NORMAL), ""));
                return false;
            }
            Err(Violation { code, reason }) => {
                answers.extend(frame::close(code, reason));
                return false;
            }
        }
    }
}

/// The suite wants every answer compressed where that was agreed on, also those that grow by it.
fn say(opcode: Opcode, payload: &[u8], compression: Compression, answers: &mut Vec<u8>) {
    const DEFLATED: u8 = 0x40;
    if compression == Compression::Off {
        return frame::encode(opcode, payload, answers);
    }
    let begin = answers.len();
    frame::encode(opcode, &deflate::compress(payload, 1), answers);
    answers[begin] |= DEFLATED;
}
