//! Backends: what plays a [`Recording`](crate::recording::Recording).

pub mod cpu;
