//! The doors and what is behind them, together and without sockets.

mod isolation;
