//! The network of `r3mes_wgpu::model` written again in f64: what the integers are held to, and what `quality` measures
//! by. It shares with the integer path nothing but the model's raw tensors.

#![allow(missing_docs, reason = "a file's first line is the formula that its functions compute")]

// in model order
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
