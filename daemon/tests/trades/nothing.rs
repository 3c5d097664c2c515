//! Nothing: this manifest only brings data.
