//! Functions that several kernels share; `shaders/shared` has the same functions in WGSL.

pub mod blocks;
pub mod dither;
pub mod heads;
pub mod rms;
pub mod rows;
pub mod scores;
pub mod wide;
