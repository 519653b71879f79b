//! Training: chunks become gradients, gradients the next adapter.

pub mod checkpoint;
pub mod conformance;
pub mod optimizer;
mod round;
pub mod session;
pub mod step;
pub mod trial;
pub mod worker;
