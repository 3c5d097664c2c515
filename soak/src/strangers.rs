//! Those who never become clients: they connect and say nothing, half of something, or rubbish, and stay until they are put out.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::http::PATIENCE;
use crate::shared::Shared;
use crate::socket::{self, HANDSHAKE, Temper};

/// A masked text that says it has 100 bytes, and the first ones.
const HALF_A_FRAME: &[u8] = &[0x81, 0x80 | 100, 0, 0, 0, 0, b'{', b'"'];
/// An opcode that there is not.
const RUBBISH: &[u8] = &[0xff, 0x80, 0, 0, 0, 0];

/// Comes again and again until the run settles.
pub fn stray(shared: &Shared, mut random: fastrand::Rng) {
    while shared.is_running() {
        if let Err(error) = stay(shared, &mut random) {
            shared.report(&format!("a stranger: {error:#}"));
        }
        sleep(Duration::from_millis(random.u64(..1000))); // a pace; nothing depends on it
    }
}

/// Says what it has to say, and waits until the daemon ends it, unless it ends it by a reset itself.
fn stay(shared: &Shared, random: &mut fastrand::Rng) -> Result<()> {
    let mut socket = socket::connect(shared.clients, Temper::Slow)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let half = HANDSHAKE.len() / 2;
    let said = match random.u8(..5) {
        0 => Vec::new(),
        1 => HANDSHAKE[..random.usize(1..half)].to_vec(),
        2 => [HANDSHAKE, HALF_A_FRAME].concat(),
        3 => [HANDSHAKE, RUBBISH].concat(),
        _ => HANDSHAKE.to_vec(),
    };
    // It may have been put out before it has said everything.
    _ = socket.write_all(&said);
    if random.bool() {
        socket::reset(&socket);
        return Ok(());
    }
    let mut piece = [0; 4096];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => anyhow::bail!("it said {} bytes and was not put out: {error}", said.len()),
        }
    }
}
