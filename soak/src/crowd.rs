//! Ten thousand clients on one thread: half of them hear a topic that most hear and one that few do, the others one of the two. They
//! come and go, some read slowly, and every one accounts for every number.

mod member;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{Timespec, epoll};

use self::member::{End, Member};
use crate::config::DROP_AFTER_SECONDS;
use crate::http::PATIENCE;
use crate::shared::Shared;
use crate::socket::{self, Temper};

/// How often some come and some go.
const TICK: Duration = Duration::from_millis(20);
/// Those who come in one tick, at most: fewer than a listener lets wait.
const COME: usize = 50;
/// One in so many reads slowly: its buffer is small, and now and then it does not read at all. No divisor of the number of
/// topics, so that fast and slow ones hear the same.
const SLOW_ONE_IN: usize = 49;
/// How long that lasts, in milliseconds: they come back to reading before they are let go.
const SLEEPS: Range<u64> = 500..DROP_AFTER_SECONDS * 750;
/// How long they read in between: a ping is answered.
const AWAKE: Duration = Duration::from_secs(2);
/// One in so many who leave does not know afterwards what it heard.
const FORGETS_ONE_IN: u8 = 5;
const READ_BYTES: usize = 64 << 10;
/// What a fast one who has been there for so long must have heard: all that is older.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// How often the number of the newest event is noted.
const NOTED_EVERY: Duration = Duration::from_secs(1);

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
    /// The number of the newest event at some times, the oldest in front.
    noted: VecDeque<(Instant, u64)>,
    buffer: Vec<u8>,
}

struct Seat {
    member: Member,
    temper: Temper,
    socket: Option<TcpStream>,
    /// Since when it reads.
    since: Instant,
    is_asleep: bool,
}

impl<'a> Crowd<'a> {
    fn new(shared: &'a Shared, size: u64, random: fastrand::Rng) -> Result<Self> {
        let since = Instant::now();
        let seat = |number: u64| {
            let is_slow = (number as usize).is_multiple_of(SLOW_ONE_IN);
            let temper = if is_slow { Temper::Slow } else { Temper::Fast };
            Seat { member: Member::new(number, &shared.tally), temper, socket: None, since, is_asleep: false }
        };
        let seats: Vec<Seat> = (0..size).map(seat).collect();
        Ok(Self {
            shared,
            random,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            away: (0..seats.len()).collect(),
            seats,
            asleep: VecDeque::new(),
            noted: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn live(&mut self) -> Result<()> {
        let mut next_tick = Instant::now();
        while self.shared.is_running() {
            let now = Instant::now();
            if now >= next_tick {
                self.note(now);
                self.one_goes(now);
                self.one_falls_asleep(now)?;
                self.some_come(now)?;
                next_tick = now + TICK;
            }
            self.look()?;
        }
        for socket in
            self.seats.iter().filter(|seat| seat.temper == Temper::Slow).filter_map(|seat| seat.socket.as_ref())
        {
            socket::make_room(socket)?;
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
            self.some_come(Instant::now())?;
            self.look()?;
        }
    }

    /// Remembers how far publishing was.
    fn note(&mut self, now: Instant) {
        if self.noted.back().is_none_or(|(at, _)| now >= *at + NOTED_EVERY) {
            self.noted.push_back((now, self.shared.crowd.last()));
        }
        while self.noted.get(1).is_some_and(|(at, _)| now >= *at + ARRIVES_WITHIN) {
            self.noted.pop_front();
        }
    }

    /// One leaves, by a reset or without a word.
    fn one_goes(&mut self, now: Instant) {
        let who = self.random.usize(..self.seats.len());
        let overdue = self.overdue(who, now);
        let seat = &mut self.seats[who];
        let Some(socket) = seat.socket.as_ref().filter(|_| !seat.is_asleep) else { return };
        if let Some(seq) = overdue {
            let state = seat.member.describe();
            self.shared.report(&format!("number {who} of the crowd has waited too long for all up to {seq}: {state}"));
        }
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

    /// The number up to which a fast one should have heard everything, and has not.
    fn overdue(&self, who: usize, now: Instant) -> Option<u64> {
        let seat = &self.seats[who];
        let is_long_ago = |at: Instant| now >= at + ARRIVES_WITHIN;
        let (_, seq) = self.noted.front().filter(|(at, _)| is_long_ago(*at) && is_long_ago(seat.since))?;
        (seat.temper == Temper::Fast && !seat.member.has_all_up_to(*seq)).then_some(*seq)
    }

    /// A slow one stops reading.
    fn one_falls_asleep(&mut self, now: Instant) -> Result<()> {
        let who = self.random.usize(..self.seats.len().div_ceil(SLOW_ONE_IN)) * SLOW_ONE_IN;
        let seat = &mut self.seats[who];
        let Some(socket) = seat.socket.as_ref().filter(|_| !seat.is_asleep && now >= seat.since + AWAKE) else {
            return Ok(());
        };
        epoll::delete(&self.epoll, socket)?;
        seat.is_asleep = true;
        let wakes = now + Duration::from_millis(self.random.u64(SLEEPS));
        let at = self.asleep.partition_point(|(earlier, _)| *earlier <= wakes);
        self.asleep.insert(at, (wakes, who));
        Ok(())
    }

    /// Some who are away connect, and sleepers wake.
    fn some_come(&mut self, now: Instant) -> Result<()> {
        for _ in 0..COME.min(self.away.len()) {
            let Some(who) = self.away.pop_front() else { break };
            if self.come(who, now).is_err() {
                self.shared.tally.refused.one();
                self.away.push_back(who);
            }
        }
        let is_over = |wakes: Instant| !self.shared.is_running() || now >= wakes;
        while let Some((_, who)) = self.asleep.pop_front_if(|(wakes, _)| is_over(*wakes)) {
            let seat = &mut self.seats[who];
            (seat.is_asleep, seat.since) = (false, now);
            if let Some(socket) = &seat.socket {
                epoll::add(&self.epoll, socket, epoll::EventData::new_u64(who as u64), epoll::EventFlags::IN)?;
            }
        }
        Ok(())
    }

    fn come(&mut self, who: usize, now: Instant) -> Result<()> {
        let seat = &mut self.seats[who];
        let temper = if self.shared.is_running() { seat.temper } else { Temper::Fast }; // then all of it is wanted soon
        let mut socket = socket::connect(self.shared.clients, temper)?;
        socket.write_all(seat.member.come())?; // a new socket has room for it
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(who as u64), epoll::EventFlags::IN)?;
        (seat.socket, seat.since) = (Some(socket), now);
        Ok(())
    }

    /// The socket goes, and with it what epoll knows of it.
    fn leave(&mut self, who: usize) {
        self.seats[who].socket = None;
        self.away.push_back(who);
    }

    /// Reads what is there, and waits for it for a tick at most.
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
                Err(End::LetGo) => self.shared.tally.ended.one(),
                Err(End::Refused) => self.shared.tally.refused.one(),
                Err(End::Broken(why)) => {
                    self.shared.report(&format!("number {who} of the crowd: {why}"));
                    self.seats[who].member.forget();
                }
            }
            self.leave(who);
        }
        Ok(())
    }

    /// Only slow ones are let go, with a word or without one: theirs may not get through.
    fn read(&mut self, who: usize) -> Result<(), End> {
        let Seat { member, socket, temper, .. } = &mut self.seats[who];
        let Some(socket) = socket else { return Ok(()) };
        let let_go = |why: String| if *temper == Temper::Slow { End::LetGo } else { End::Broken(why) };
        let count = match socket.read(&mut self.buffer) {
            Ok(0) => return Err(let_go("the connection ended without a word".into())),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(let_go(format!("the connection ended: {error}"))),
        };
        let mut say = Vec::new();
        match member.hear(&self.buffer[..count], &mut say) {
            Err(End::LetGo) => return Err(let_go("it was let go, and is fast".into())),
            heard => heard?,
        }
        // So little that there is always room for it, unless the daemon reads no more.
        if say.is_empty() { Ok(()) } else { socket.write_all(&say).map_err(|error| let_go(error.to_string())) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);
    /// The first two of a crowd.
    const SLOW: usize = 0;
    const FAST: usize = 1;

    #[test]
    fn whoever_waits_too_long_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(address, address, 1);
        let mut crowd = Crowd::new(&shared, 2, shared.random(0)).unwrap();
        let start = crowd.seats[FAST].since;
        let publish = |up_to: u64| *shared.crowd.hold() = up_to + 1;

        publish(10);
        crowd.note(start);
        publish(20);
        crowd.note(start + NOTED_EVERY);
        assert_eq!(crowd.overdue(FAST, start + ARRIVES_WITHIN - NANOSECOND), None);
        assert_eq!(crowd.overdue(FAST, start + ARRIVES_WITHIN), Some(10));
        assert_eq!(crowd.overdue(SLOW, start + ARRIVES_WITHIN), None);

        let now = start + ARRIVES_WITHIN + NOTED_EVERY;
        crowd.note(now);
        assert_eq!(crowd.overdue(FAST, now), Some(20));
        crowd.seats[FAST].since = start + NOTED_EVERY + NANOSECOND;
        assert_eq!(crowd.overdue(FAST, now), None, "it came later than that was published");

        for seat in &mut crowd.seats {
            seat.socket = Some(TcpStream::connect(address).unwrap());
        }
        while crowd.seats.iter().any(|seat| seat.socket.is_some()) {
            crowd.one_goes(now + SECOND);
        }
        assert_eq!(shared.found(), 1);
    }
}
