//! Exact-integer LoRA training over frozen BitNet b1.58 backbones.
//!
//! Floors, lowest first; each imports only what is below it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // clippy.toml says which, and why

/// The specification of the arithmetic, `docs/ARITHMETIC.md`, that this crate computes by.
pub const ARITHMETIC_VERSION: u32 = 1;

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
// floor 5: content addressing
pub mod store;
// floor 6: what crosses the wire
pub mod chain;
pub mod work;
// floor 7: who is right where two disagree; stores elsewhere
pub mod dispute;
pub mod ipfs;
// floor 8: the state machine that all of it is for
pub mod ledger;
// floor 9: the miner's loop, and the roles of nodes with a stake
pub mod mining;
pub mod roles;
