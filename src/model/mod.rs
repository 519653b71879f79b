//! The BitNet b1.58 decoder with LoRA adapters, forward and backward, as recordings.

pub mod attention;
pub mod bit_linear;
pub mod config;
pub mod decoder;
pub mod embedding;
pub mod feed_forward;
pub mod file;
pub mod generator;
pub mod linear;
pub mod manifest;
pub mod mean;
pub mod norm;
pub mod peft;
mod reals;
pub mod sampling;
pub mod transformer;
pub mod vocabulary;
pub mod weights;
