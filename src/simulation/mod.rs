//! Simulated networks, for tests, benchmarks and examples. No production code uses them.

#[cfg(feature = "compute")]
pub mod adversary;
mod network;
#[cfg(feature = "compute")]
mod small_job;

pub use network::{CHAIN, COINS, NETWORK, Network, address, genesis, honest, honest_finding, job, key, wrong};
#[cfg(feature = "compute")]
pub use small_job::SmallJob;
