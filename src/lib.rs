//! Exact-integer LoRA training over frozen BitNet b1.58 backbones.
//!
//! Floors, lowest first; each imports only what is below it.

// floor 0: numbers
pub mod error;
pub mod fixed;
pub mod rng;
pub mod tables;
pub mod ternary;
// floor 1: kernels
pub mod kernels;
// floor 2: players
pub mod backend;
pub mod recording;
// floor 3: the model
pub mod model;
// floor 4: training
pub mod training;
