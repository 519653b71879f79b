//! The neural network of `r3mes_wgpu::model`, computed in f64. The tests and the command `quality` compare the integer
//! implementation with this reference. The two implementations share only the tensors of the model, in the form in
//! which they are stored.

#![allow(missing_docs, reason = "the first line of each file is the formula that its functions compute")]

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
