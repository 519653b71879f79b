//! Numbers as integers: fixed point, row scales, lookup tables, dither, packed trits, LoRA matrices.

pub mod fixed;
pub mod lora;
pub mod rng;
pub mod tables;
pub mod ternary;
