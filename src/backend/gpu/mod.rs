//! The GPU backend.

pub mod architecture;
