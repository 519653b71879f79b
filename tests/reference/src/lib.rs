//! The network of `r3mes_wgpu::model` in f64. Tests compare the integer implementation with it, and `quality` uses it for
//! comparison. It shares only the model's raw tensors with the integer implementation.

#![allow(missing_docs, reason = "the first line of each file is the formula that its functions compute")]

// in the order of the network
pub mod attention;
pub mod feed_forward;
pub mod head;
pub mod layer;
pub mod linear;
pub mod network;
pub mod norm;
pub mod quantize;
pub mod rounding;
pub mod tensors;
