//! `integer ≈ real`: the network of `src/model` written again in f64, proven by central differences, and the integer path
//! against it: each kernel, the gradient, and two hundred steps of training.
//!
//! The reference (`network` and the layers it imports) shares with the integer path nothing but the model's raw tensors.

#![expect(unreachable_pub, reason = "one crate")]

#[path = "../cases/mod.rs"]
mod cases;

// the reference, in model order
mod attention;
mod feed_forward;
mod head;
mod layer;
mod linear;
mod network;
mod norm;
mod quantize;
mod tensors;
// what is checked
mod descent;
mod gradients;
mod proof;
mod twins;
