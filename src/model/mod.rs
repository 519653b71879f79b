//! The BitNet b1.58 decoder with LoRA adapters, forward and backward, as recordings.

pub mod lora;
