//! Functions that several reference kernels share. `shaders/shared` contains the same functions in WGSL.

pub mod blocks;
pub mod dither;
pub mod heads;
pub mod rms;
pub mod rows;
pub mod scores;
pub mod wide;
