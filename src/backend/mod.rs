//! Backends: what plays a recording.

pub mod gpu;
