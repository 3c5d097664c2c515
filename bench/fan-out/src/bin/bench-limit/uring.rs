//! Sends through io_uring: one submission for many sockets, and no completion for what was sent whole.
#![expect(unsafe_code, reason = "the ring takes addresses, and who fills it in has to see to it that they stay")]

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// Sends of one submission.
const ENTRIES: u32 = 4096;

pub struct Ring {
    ring: IoUring,
    /// What was submitted and may have failed: the socket, and which of the turn's texts.
    pending: Vec<(usize, usize)>,
}

impl Ring {
    pub fn new(sockets: &[TcpStream]) -> Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().build(ENTRIES).context("no io_uring here")?;
        let descriptors: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        if !descriptors.is_empty() {
            ring.submitter().register_files(&descriptors)?;
        }
        Ok(Self { ring, pending: Vec::new() })
    }

    /// To each of these sockets its text.
    pub fn send_all<'a>(
        &mut self,
        sockets: &[TcpStream],
        turn: impl Iterator<Item = (&'a [usize], &'a [u8])>,
    ) -> Result<()> {
        let turn: Vec<(&[usize], &[u8])> = turn.collect();
        for (text, (subscribers, bytes)) in turn.iter().enumerate() {
            for &socket in *subscribers {
                if self.pending.len() == ENTRIES as usize {
                    self.submit(sockets, &turn)?;
                }
                // A send that waits for room would keep the ring busy behind our back, a short one would look like a whole one.
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let flags = flags.bits() | RecvFlags::WAITALL.bits();
                let entry = opcode::Send::new(types::Fixed(socket as u32), bytes.as_ptr(), bytes.len() as u32)
                    .flags(flags as i32)
                    .build()
                    .flags(Flags::SKIP_SUCCESS)
                    .user_data(self.pending.len() as u64);
                self.pending.push((socket, text));
                // SAFETY: the bytes are borrowed for this whole call, which submits every entry before it ends; none waits, so
                // the kernel is done with them when the submission returns.
                unsafe { self.ring.submission().push(&entry) }.context("the ring is full")?;
            }
        }
        self.submit(sockets, &turn)
    }

    fn submit(&mut self, sockets: &[TcpStream], turn: &[(&[usize], &[u8])]) -> Result<()> {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the ring takes nothing"),
            }
        }
        let failed: Vec<(u64, i32)> = self.ring.completion().map(|done| (done.user_data(), done.result())).collect();
        for (index, result) in failed {
            let (socket, text) = self.pending[index as usize];
            let sent = match usize::try_from(result) {
                Ok(sent) => sent,
                Err(_) if result == -Errno::AGAIN.raw_os_error() || result == -Errno::INTR.raw_os_error() => 0,
                Err(_) => return Err(std::io::Error::from_raw_os_error(-result)).context("a send failed"),
            };
            // What does not fit is waited for, as the other loops do.
            (&sockets[socket]).write_all(&turn[text].1[sent..])?;
        }
        self.pending.clear();
        Ok(())
    }
}
