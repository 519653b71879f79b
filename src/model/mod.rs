//! The BitNet b1.58 decoder with LoRA adapters. Its forward and backward passes are recordings, which are lists of
//! kernel dispatches.

pub mod adapter_mean;
pub mod attention;
pub mod bit_linear;
pub mod config;
pub mod decoder;
pub mod embedding;
pub mod feed_forward;
pub mod file;
mod float_conversion;
pub mod generator;
pub mod linear;
pub mod manifest;
pub mod norm;
pub mod peft;
pub mod sampling;
pub mod transformer;
pub mod vocabulary;
pub mod weights;
