//! Training: chunks become gradients, gradients the next adapter.

pub mod optimizer;
pub mod step;
