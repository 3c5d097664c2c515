//! Ten thousand clients on one thread: each hears a topic that all of them hear, and one that few do. They come and go, some read
//! slowly, and every one accounts for every number.

mod member;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{Timespec, epoll};

use self::member::{Member, Over};
use crate::http::PATIENCE;
use crate::shared::Shared;
use crate::socket::{self, Temper};

/// How often some come and some go.
const TICK: Duration = Duration::from_millis(20);
/// Those who come in one tick, at most: fewer than a listener lets wait.
const COME: usize = 50;
/// One in so many reads slowly: its buffer is small, and now and then it does not read at all.
const SLOW_ONE_IN: u64 = 50;
/// How long that lasts, in milliseconds: they come back to reading before they are let go.
const SLEEPS: std::ops::Range<u64> = 500..6000;
/// One in so many who leave does not know afterwards what it heard.
const FORGETS_ONE_IN: u8 = 5;
const READ_BYTES: usize = 64 << 10;

/// Lives until the run settles and everybody has accounted for everything.
pub fn live(shared: &Shared, size: u64, random: fastrand::Rng) {
    let lived = Crowd::new(shared, size, random).and_then(|mut crowd| crowd.live());
    if let Err(error) = lived {
        shared.report(&format!("the crowd: {error:#}"));
    }
}

struct Crowd<'a> {
    shared: &'a Shared,
    random: fastrand::Rng,
    epoll: OwnedFd,
    seats: Vec<Seat>,
    /// The seats of those who are not connected.
    away: VecDeque<usize>,
    /// When one who sleeps reads again, the first to wake in front.
    asleep: VecDeque<(Instant, usize)>,
    buffer: Vec<u8>,
}

struct Seat {
    member: Member,
    socket: Option<TcpStream>,
    temper: Temper,
}

impl<'a> Crowd<'a> {
    fn new(shared: &'a Shared, size: u64, random: fastrand::Rng) -> Result<Self> {
        let seat = |number: u64| {
            let temper = if number.is_multiple_of(SLOW_ONE_IN) { Temper::Slow } else { Temper::Fast };
            Seat { member: Member::new(number, &shared.tally), socket: None, temper }
        };
        let seats: Vec<Seat> = (0..size).map(seat).collect();
        Ok(Self {
            shared,
            random,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            away: (0..seats.len()).collect(),
            seats,
            asleep: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn live(&mut self) -> Result<()> {
        let mut next_tick = Instant::now();
        while self.shared.is_running() {
            if Instant::now() >= next_tick {
                self.some_go()?;
                self.some_come()?;
                next_tick = Instant::now() + TICK;
            }
            self.look()?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = self.shared.crowd.last();
            let mut behind = self.seats.iter().filter(|seat| !seat.member.has_all_up_to(last));
            let Some(first) = behind.next() else { return Ok(()) };
            if Instant::now() > deadline {
                let (first, count) = (first.member.describe(), 1 + behind.count());
                self.shared.report(&format!("{count} of the crowd cannot account for all up to {last}: {first}"));
                return Ok(());
            }
            self.some_come()?;
            self.look()?;
        }
    }

    /// One leaves, by a reset or without a word; a slow one falls asleep.
    fn some_go(&mut self) -> Result<()> {
        let who = self.random.usize(..self.seats.len());
        let seat = &mut self.seats[who];
        let is_asleep = |asleep: &VecDeque<(Instant, usize)>| asleep.iter().any(|(_, sleeper)| *sleeper == who);
        if let Some(socket) = seat.socket.as_ref().filter(|_| !is_asleep(&self.asleep)) {
            if self.random.bool() {
                self.shared.tally.reset.one();
                socket::reset(socket);
            } else {
                self.shared.tally.dropped.one();
            }
            if self.random.u8(..FORGETS_ONE_IN) == 0 {
                seat.member.forget();
            }
            self.leave(who);
        }
        let slow = (who as u64 / SLOW_ONE_IN * SLOW_ONE_IN) as usize;
        if slow != who
            && let Some(socket) = &self.seats[slow].socket
            && !self.asleep.iter().any(|(_, sleeper)| *sleeper == slow)
        {
            epoll::delete(&self.epoll, socket)?;
            let wakes = Instant::now() + Duration::from_millis(self.random.u64(SLEEPS));
            let at = self.asleep.partition_point(|(earlier, _)| *earlier <= wakes);
            self.asleep.insert(at, (wakes, slow));
        }
        Ok(())
    }

    /// Some who are away connect, and sleepers wake.
    fn some_come(&mut self) -> Result<()> {
        for _ in 0..COME.min(self.away.len()) {
            let Some(who) = self.away.pop_front() else { break };
            self.come(who)?;
        }
        let is_over = |wakes: Instant| !self.shared.is_running() || Instant::now() >= wakes;
        while let Some((_, who)) = self.asleep.pop_front_if(|(wakes, _)| is_over(*wakes)) {
            if let Some(socket) = &self.seats[who].socket {
                epoll::add(&self.epoll, socket, epoll::EventData::new_u64(who as u64), epoll::EventFlags::IN)?;
            }
        }
        Ok(())
    }

    fn come(&mut self, who: usize) -> Result<()> {
        let seat = &mut self.seats[who];
        let mut socket = socket::connect(self.shared.clients, seat.temper)?;
        socket.write_all(seat.member.come())?; // a new socket has room for it
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(who as u64), epoll::EventFlags::IN)?;
        seat.socket = Some(socket);
        self.shared.tally.connected.one();
        Ok(())
    }

    /// The socket goes, and with it what epoll knows of it.
    fn leave(&mut self, who: usize) {
        self.seats[who].socket = None;
        self.away.push_back(who);
    }

    /// Reads what is there, for a tick at most.
    fn look(&mut self) -> Result<()> {
        let wait = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let mut ready = Vec::with_capacity(1024);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in ready {
            let who = event.data.u64() as usize;
            match self.read(who) {
                Ok(()) => continue,
                Err(Over::Ended) => self.shared.tally.ended.one(),
                Err(Over::Refused) => self.shared.tally.refused.one(),
                Err(Over::Broken(why)) => {
                    self.shared.report(&format!("number {who} of the crowd: {why}"));
                    self.seats[who].member.forget();
                }
            }
            self.leave(who);
        }
        Ok(())
    }

    fn read(&mut self, who: usize) -> Result<(), Over> {
        let Seat { member, socket, .. } = &mut self.seats[who];
        let Some(socket) = socket else { return Ok(()) };
        let count = match socket.read(&mut self.buffer) {
            Ok(0) => return Err(Over::Ended),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return Err(Over::Ended),
        };
        let mut say = Vec::new();
        member.hear(&self.buffer[..count], &mut say)?;
        // So little that there is always room, unless the daemon has stopped reading: then it is gone.
        if say.is_empty() { Ok(()) } else { socket.write_all(&say).map_err(|_| Over::Ended) }
    }
}
