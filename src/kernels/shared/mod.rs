//! What several kernels share; `shaders/shared` holds the same in WGSL.

pub mod blocks;
pub mod dither;
pub mod heads;
pub mod rms;
pub mod rows;
pub mod scores;
pub mod wide;
