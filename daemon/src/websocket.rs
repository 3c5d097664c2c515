//! The server's side of RFC 6455 as pure functions: bytes to frames and back, and nothing that reads or writes.

pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
