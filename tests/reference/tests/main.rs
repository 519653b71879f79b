//! `integer ≈ real`: the reference proven by central differences, and the integer path held to it: each kernel, the
//! gradient, and two hundred steps of training.

#[path = "../../cases/mod.rs"]
mod cases;
mod descent;
mod gradients;
mod proof;
mod references;
