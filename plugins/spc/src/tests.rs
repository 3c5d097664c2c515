//! The figures of published data, the whole broadcaster under a virtual clock, and what must hold of any samples.

mod bounds;
mod cases;
mod extremes;
mod fuzzing;
mod made_up;
mod properties;
mod run_length;
mod settings;
mod sources;
mod whole;
