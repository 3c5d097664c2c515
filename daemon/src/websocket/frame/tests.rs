//! Client frames in raw bytes, and what becomes of them.
