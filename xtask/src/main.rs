//! Chores of this repository; users need none of them.

fn main() {}
