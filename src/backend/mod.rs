//! Backends: what plays a [`Recording`](crate::recording::Recording).

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
