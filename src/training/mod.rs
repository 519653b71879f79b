//! Training: computes gradients from chunks of the training text, and the next adapter from gradients.

pub mod checkpoint;
pub mod conformance;
pub mod optimizer;
mod round;
pub mod saturation;
pub mod session;
pub mod step;
pub mod trial;
pub mod worker;
