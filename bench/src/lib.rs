//! What the measures share.

pub mod figures;
pub mod histogram;
pub mod load;
pub mod measures;
pub mod page;
pub mod process;
pub mod wire;
