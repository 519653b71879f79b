//! Exact-integer LoRA training over frozen BitNet b1.58 backbones.
//!
//! docs/ARCHITECTURE.md lists the modules by layer; each imports lower layers only.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // clippy.toml says which, and why

/// The specification of the arithmetic, `docs/ARITHMETIC.md`, that this crate computes by.
pub const ARITHMETIC_VERSION: u32 = 1;

pub mod error;
pub mod numbers;

pub mod kernels;

pub mod store;

pub mod protocol;

pub mod dispute;

pub mod tx;

pub mod ledger;

pub mod client;

#[cfg(feature = "compute")]
pub mod compute;

#[cfg(feature = "compute")]
pub mod model;

#[cfg(feature = "compute")]
pub mod training;

#[cfg(feature = "compute")]
pub mod agents;

pub mod simulation;
