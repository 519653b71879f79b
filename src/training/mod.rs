//! Training: from summed gradients to the next adapter.

pub mod optimizer;
