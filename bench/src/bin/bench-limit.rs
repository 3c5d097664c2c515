//! The limit: whatever arrives from the publisher goes to every subscriber as it is, in one write each. No protocol, no
//! checks, no bookkeeping: a server that does anything for its clients cannot be cheaper with these system calls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use broadcastd_bench::wire;

/// More than the largest window has in bytes.
const BUFFER: usize = 256 << 10;

fn main() -> Result<()> {
    let count: usize = std::env::args().nth(1).context("how many subscribers?")?.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let mut subscribers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut subscriber = accept(&listener)?;
        subscriber.write_all(&wire::text_frame(b"welcome"))?;
        subscribers.push(subscriber);
    }
    let mut publisher = accept(&listener)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = publisher.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        for subscriber in &mut subscribers {
            subscriber.write_all(&buffer[..read])?;
        }
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
