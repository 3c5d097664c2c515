//! The state machines of trading sessions, followed as their programs report them.
#![forbid(unsafe_code)]
