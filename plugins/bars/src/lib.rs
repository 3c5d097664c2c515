//! Open-high-low-close bars from real or mocked trades.
