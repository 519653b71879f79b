//! Integer representations of numbers (fixed point, packed trits, LoRA matrices), and the pseudo-random bits and lookup
//! tables that the integer arithmetic needs.

pub mod fixed;
pub mod lora;
pub mod rng;
pub mod tables;
pub mod ternary;
