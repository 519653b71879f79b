//! Training: gradients of chunks.

pub mod step;
