//! Exact-integer LoRA training of BitNet b1.58 models, whose own weights stay frozen.
//!
//! The modules form layers, which docs/ARCHITECTURE.md lists. Each module imports only modules of lower layers.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))] // clippy.toml lists the methods, with reasons

/// Version of the arithmetic by which this crate computes. `docs/ARITHMETIC.md` specifies this arithmetic.
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
