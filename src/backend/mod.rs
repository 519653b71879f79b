//! Backends: what plays a [`Recording`](crate::recording::Recording).

#[cfg(feature = "gpu")]
pub mod gpu;
