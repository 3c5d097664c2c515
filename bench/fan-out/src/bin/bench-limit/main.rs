//! The limit: what comes from the publisher goes to a topic's subscribers as it is. No protocol, no checks, no bookkeeping. What
//! is left is nearly all the kernel's, and differs by how often it is asked and what it finds in the cache: a server that asks
//! less often, or at a better moment, may be a little cheaper.

mod uring;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use broadcastd_fan_out::dialect::limit;
use broadcastd_fan_out::wire;
use clap::{Parser, ValueEnum};
use rustix::net::{SendAncillaryBuffer, SendFlags};

/// More than the largest window has in bytes.
const BUFFER: usize = 1 << 20;
/// The most pieces of one system call.
const MOST_PIECES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One call for each event and subscriber.
    Write,
    /// What was read at once is joined for each topic: one call for each subscriber.
    Batch,
    /// The same, as pieces of one call.
    Writev,
    /// As `batch`, and all calls of a turn are one.
    Uring,
}

#[derive(Parser)]
struct Cli {
    #[arg(value_enum)]
    mode: Mode,
}

/// Of one topic: who hears it, and what of this turn is for it.
#[derive(Default)]
struct Topic {
    subscribers: Vec<usize>,
    joined: Vec<u8>,
    /// Where each frame stands in it.
    frames: Vec<Range<usize>>,
}

fn main() -> Result<()> {
    let mode = Cli::parse().mode;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, 4096)?;
    println!("listening on {}", listener.local_addr()?);
    let (mut sockets, mut topics) = (Vec::new(), Vec::<Topic>::new());
    let publisher = loop {
        let (socket, topic) = accept(&listener)?;
        if topic == limit::PUBLISHER {
            break socket;
        }
        let topic = topic as usize;
        ensure!(topic < 1 << 20, "topic {topic}");
        topics.resize_with(topics.len().max(topic + 1), Topic::default);
        topics[topic].subscribers.push(sockets.len());
        sockets.push(socket);
    };
    let ring = if mode == Mode::Uring { Some(uring::Ring::new(&sockets)?) } else { None };
    serve(mode, (publisher, sockets), topics, ring)
}

fn serve(
    mode: Mode,
    (mut publisher, mut sockets): (TcpStream, Vec<TcpStream>),
    mut topics: Vec<Topic>,
    mut ring: Option<uring::Ring>,
) -> Result<()> {
    let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
    let mut touched = Vec::new();
    loop {
        let read = match publisher.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0, // so the load ends
            read => read?,
        };
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let taken = sort(&buffer[..filled], &mut topics, &mut touched)?;
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if let Some(ring) = &mut ring {
            ring.send_all(
                &sockets,
                touched.iter().map(|topic| (&topics[*topic].subscribers[..], &topics[*topic].joined[..])),
            )?;
        } else {
            for topic in &touched {
                send(mode, &topics[*topic], &mut sockets)?;
            }
        }
        for topic in touched.drain(..) {
            topics[topic].joined.clear();
            topics[topic].frames.clear();
        }
    }
}

/// Puts each whole frame to its topic; returns how many bytes they are.
fn sort(bytes: &[u8], topics: &mut [Topic], touched: &mut Vec<usize>) -> Result<usize> {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + limit::HEAD) {
        let number =
            |from: usize| Ok::<_, anyhow::Error>(u32::from_le_bytes(head[from..from + 4].try_into()?) as usize);
        let (index, length) = (number(0)?, number(4)?);
        let Some(frame) = bytes.get(at + limit::HEAD..at + limit::HEAD + length) else { break };
        at += limit::HEAD + length;
        let topic = topics.get_mut(index).with_context(|| format!("nobody hears topic {index}"))?;
        if topic.joined.is_empty() {
            touched.push(index);
        }
        topic.frames.push(topic.joined.len()..topic.joined.len() + length);
        topic.joined.extend_from_slice(frame);
    }
    Ok(at)
}

fn send(mode: Mode, topic: &Topic, sockets: &mut [TcpStream]) -> Result<()> {
    match mode {
        Mode::Write => {
            for frame in &topic.frames {
                for index in &topic.subscribers {
                    sockets[*index].write_all(&topic.joined[frame.clone()])?;
                }
            }
        }
        Mode::Batch => {
            for index in &topic.subscribers {
                sockets[*index].write_all(&topic.joined)?;
            }
        }
        Mode::Writev => {
            for pieces in topic.frames.chunks(MOST_PIECES) {
                let slices: Vec<IoSlice> =
                    pieces.iter().map(|piece| IoSlice::new(&topic.joined[piece.clone()])).collect();
                let length = pieces.iter().map(Range::len).sum::<usize>();
                for index in &topic.subscribers {
                    let socket = &mut sockets[*index];
                    let sent = rustix::net::sendmsg(
                        &*socket,
                        &slices,
                        &mut SendAncillaryBuffer::default(),
                        SendFlags::NOSIGNAL,
                    )?;
                    let begin = pieces[0].start;
                    socket.write_all(&topic.joined[begin + sent..begin + length])?;
                }
            }
        }
        Mode::Uring => bail!("a ring sends for all topics at once"),
    }
    Ok(())
}

/// One connection, and the topic that it says.
fn accept(listener: &TcpListener) -> Result<(TcpStream, u32)> {
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut topic = [0; 4];
    for _ in 0..limit::ASKED {
        socket.read_exact(&mut topic)?;
        socket.write_all(&wire::text_frame(b"ok"))?;
    }
    Ok((socket, u32::from_le_bytes(topic)))
}
